"""Intervals of searches contain the true accuracies, also that of the selected network; the full count is a benchmark.

Accuracies are simulated on validation splits of few images, which all networks of a search share; see
`benchmarks/calibration.py`, whose evaluator this is.
"""

from statistics import fmean

import numpy as np
import optuna
import pytest
from calibration import SimulatedEvaluator, check_intervals, is_inside, run_search

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.space.files import find_space
from tests.search.fakes import all_indices

MACRO = find_space("nasbench_macro")
SEARCHES = 16


def made_up() -> dict[Architecture, float]:
    """True accuracies around 90% that are a sum over layers, with a standard deviation of 1 point."""
    rng = np.random.default_rng(0)
    indices = all_indices(MACRO)
    totals = rng.normal(size=(8, 3))[np.arange(8), indices].sum(axis=1)
    true: dict[Architecture, float] = {}
    for row, total in zip(indices, 0.9 + 0.01 * (totals - totals.mean()) / totals.std(), strict=True):
        true.setdefault(canonical(MACRO.from_indices(row.tolist())), float(total))
    return true


@pytest.mark.slow
def test_intervals_contain_the_true_accuracies() -> None:
    """With the older ± of the model's standard deviation, about half of them did."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    true = made_up()
    found = []
    for split in range(SEARCHES):
        evaluator = SimulatedEvaluator(true, noise=0.002, images=60, split=split)
        found.append(check_intervals(run_search(MACRO, evaluator, 20, sampler="random"), true))
    # The networks of a search share their split, so these are 16 independent intervals: 13 of 16 at 95% is a 1% event.
    assert sum(is_inside(each["shown"][0]) for each in found) >= 13
    assert fmean(is_inside(row) for each in found for row in each["shown"]) >= 0.8
    assert all(each["selected"] in each["retrained"] for each in found)
    # The selected network's accuracy is less than one standard error of 60 images (3.9 points) too high on average.
    assert abs(fmean(each["shown"][0]["accuracy"] - each["shown"][0]["true"] for each in found)) < 0.039
