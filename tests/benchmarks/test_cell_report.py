"""Paired comparisons of samplers: intervals, pairs of runs, and hypervolumes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cell_report import area, best_accuracies, cell_tables, columns, compare, front_tables, parallel_tables
from efficiency_report import _needed
from intervals import bounds, mean_of, resample, wilson
from scipy.stats import binomtest

BEST = {"a": 96.0, "b": 95.0}


def row(task: str, sampler: str, run: int, truth: list[float | None], running: int = 1) -> dict[str, Any]:
    """Return a recorded search of one cell."""
    return {"task": task, "cell": "cell", "sampler": sampler, "run": run, "truth": truth, "running": running}


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (5, 20), (13, 20), (20, 20)])
def test_interval_of_a_share(successes: int, trials: int) -> None:
    """The interval is that of SciPy."""
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_interval_of_one_group_is_that_of_the_normal_distribution() -> None:
    """For many values of one group, the bootstrap interval is the mean with 1.96 standard errors on both sides."""
    values = np.random.default_rng(0).normal(3, 2, (400, 1))
    ((low, high),) = bounds(resample([values]))
    error = values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.03)


def test_groups_are_resampled_before_their_rows() -> None:
    """Equal rows inside two groups leave only the variance between the groups: means of 0, 1 and 2, 1/4 and 1/2."""
    means = resample([np.zeros((5, 1)), np.full((3, 1), 2.0)])[:, 0]
    assert [float((means == value).mean()) for value in (0, 1, 2)] == pytest.approx([0.25, 0.5, 0.25], abs=0.04)
    # All groups have the same weight, however many rows they have.
    assert mean_of([np.zeros((5, 1)), np.full((3, 1), 2.0)]).tolist() == [1.0]


def test_difference_of_pairs_has_no_variance_of_the_pairs() -> None:
    """Where one sampler is better by the same amount in every pair, the interval is this amount."""
    new = {("a", run): np.array([float(run)]) for run in range(4)}
    old = {key: values + 0.5 for key, values in new.items()} | {("b", 0): np.array([9.0])}
    found = compare(new, old)
    assert found is not None
    assert (found["pairs"], found["difference"]) == (4, [-0.5])
    assert found["difference_interval"] == [[-0.5, -0.5]]
    assert found["ratio"] == [0.75]  # 1.5 / 2
    assert compare(new, {("b", 0): np.array([9.0])}) is None


def test_ratio_to_no_regret_is_unknown() -> None:
    """A ratio to a regret of zero is neither zero nor one."""
    found = compare({("a", 0): np.zeros(1)}, {("a", 0): np.zeros(1)})
    assert found is not None
    assert (found["ratio"], found["ratio_interval"], found["difference"]) == ([None], [None], [0.0])


def test_regret_by_checkpoint() -> None:
    """The regret is that of the best network so far; a search that ended early keeps its last one."""
    rows = [row("a", "surrogate", 0, [None, 94.0, 93.0, 95.5])]
    (regrets,) = columns(rows, BEST, (1, 2, 3, 4, 9)).values()
    assert regrets.tolist() == [np.inf, 2.0, 2.0, 0.5, 0.5]


def test_visited_network_replaces_a_worse_best_known_one() -> None:
    """No regret is negative."""
    assert best_accuracies([row("a", "x", 0, [97.0, None]), row("b", "x", 0, [94.0])], BEST) == {"a": 97.0, "b": 95.0}
    with pytest.raises(SystemExit, match="'c' is unknown"):
        best_accuracies([row("c", "x", 0, [97.0])], BEST)


def test_table_of_a_cell() -> None:
    """Means are over landscapes, and the best network counts as found within a hundredth of a point."""
    rows = [row("a", "surrogate", 0, [95.0, 95.995]), row("b", "surrogate", 0, [93.0, 94.0])]
    rows += [row("a", "surrogate, before", 0, [94.0, 95.0]), row("b", "surrogate, before", 0, [93.0, 94.0])]
    rows += [row("a", "tpe", 0, [None, 95.0])]
    found = cell_tables(rows, BEST, (1, 2), "surrogate")["cell"]
    assert set(found) == {"surrogate", "surrogate, before"}
    assert found["surrogate"]["regret"] == [1.5, pytest.approx(0.5025, abs=1e-4)]
    assert found["surrogate"]["best_found"][0] == 1
    against = found["surrogate, before"]["against"]
    assert (against["pairs"], against["difference"][0], against["ratio"][0]) == (2, -0.5, 0.75)


def test_trials_at_the_same_time_are_compared_with_one_after_another() -> None:
    """The loss is the paired difference to the search with one running trial."""
    rows = [row("a", "surrogate", 0, [95.0]), row("a", "surrogate", 0, [94.0], running=8)]
    found = parallel_tables(rows, BEST, (1,))["cell"]["surrogate"]
    assert found[8]["against"]["difference"] == [1.0]
    assert found[1]["against"] is None


def test_hypervolume() -> None:
    """The area of two steps above the corner is a sum of two rectangles; networks below the corner add nothing."""
    assert area(np.array([90.0, 95.0, 80.0]), np.array([10.0, 20.0, 5.0]), 40.0, 85.0) == 5 * 10 + 10 * 20
    fronts = {"a": {"least_accuracy": 85.0, "largest_mmacs": 40.0, "front": [[10.0, 90.0], [20.0, 95.0]]}}
    found = front_tables([{**row("a", "x", 0, [95.0, 90.0]), "mmacs": [20.0, 10.0]}], fronts, (1, 2))
    assert found["a"]["x"]["share"] == [0.8, 1.0]


def test_two_versions_are_not_other_samplers() -> None:
    """Without another sampler, there is no number of evaluations that the own one needs for the same regret."""
    task: Any = SimpleNamespace(name="a", best=96.0)
    rows = {name: [row("a", name, 0, [95.0, 96.0])] for name in ("surrogate", "surrogate, before", "tpe + filter")}
    assert _needed(task, rows, (1, 2)).keys() == {"with the filter, 1", "with the filter, 2"}
    assert _needed(task, {name: rows[name] for name in ("surrogate", "surrogate, before")}, (1, 2)) == {}
    assert _needed(task, {name: rows[name] for name in ("surrogate, before", "tpe + filter")}, (1, 2)) == {}
