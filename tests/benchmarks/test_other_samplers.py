"""Samplers of other libraries in the comparison: the filter, the first networks, missing libraries and the table."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from efficiency_tasks import Task
from library_samplers import FIRST, LIBRARIES, BoTorchSampler, Library
from made_up_accuracies import SyntheticTask
from optuna.trial import FrozenTrial
from other_samplers import evaluate, first_networks, interval, make_filtered, make_plan, read_rows, report

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.errors import MissingPackageError
from nas.samplers.base import Suggestion
from nas.samplers.cost_range import ChoiceIndices, CostRange

ROOT = Path(__file__).parents[2]
RUN = """
import runpy
import sys

sys.modules[sys.argv[1]] = None
sys.argv = ["other_samplers.py", "run", "--samplers", sys.argv[1], "--out", sys.argv[2]]
runpy.run_path("benchmarks/other_samplers.py", run_name="__main__")
"""


class Stubborn:
    """Suggests the same network of the cost range again and again, and many networks outside it."""

    def __init__(self, cost_range: CostRange) -> None:
        self.cost_range = cost_range
        self.learned: list[int] = []

    def learn(self, trial: FrozenTrial) -> None:
        self.learned.append(trial.number)

    def forget(self, number: int) -> None:
        raise AssertionError(number)

    def outlook(self) -> None:
        pass

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        while True:
            yield Suggestion(first_networks(self.cost_range, 99)[0])
            yield from map(Suggestion, self.cost_range.space.sample(rng, 10))


@cache
def task() -> SyntheticTask:
    return SyntheticTask("mnasnet", "400M", 1)


def evaluated(of: Task, name: str, count: int) -> list[Architecture]:
    planned = make_plan(of, name, 3)
    trials, seconds = evaluate(planned, make_filtered(planned, name, 3), count)
    assert len(seconds) == len(trials) == count
    return [canonical(of.space.architecture(trial.params)) for trial in trials]


@pytest.mark.parametrize("name", ["tpe", "stubborn"])
def test_all_networks_are_new_and_in_the_range_and_the_first_are_shared(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"stubborn": Library("Stubborn", "sys", lambda cost_range, _listing, _seed: Stubborn(cost_range))}
    monkeypatch.setattr("other_samplers.LIBRARIES", made)
    archs = evaluated(task(), name, FIRST + 6)
    costs = [MACS.estimate(arch).value for arch in archs]
    assert min(costs) >= 0.9 * 400e6
    assert max(costs) <= 400e6
    assert len(set(archs)) == FIRST + 6
    shared = first_networks(task().cost_range, 3)
    assert archs[:FIRST] == [canonical(task().space.from_indices(row.tolist())) for row in shared]


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_samplers_of_libraries_suggest_inside_the_range(name: str) -> None:
    pytest.importorskip(LIBRARIES[name].package)
    assert len(set(evaluated(task(), name, FIRST + 3))) == FIRST + 3


def test_steepest_ascent_ends_at_the_best_network_of_its_surroundings() -> None:
    cost_range = task().cost_range
    sampler = BoTorchSampler(cost_range, None)
    start = first_networks(cost_range, 0)[0]
    weights = np.random.default_rng(0).normal(size=len(sampler._inputs(start[None])[0]))
    end, value = sampler._climbed(start, -1e9, lambda inputs: inputs @ weights)
    around = cost_range.neighbours(end)
    inside: ChoiceIndices = around[cost_range.excess(around) == 0]
    assert cost_range.excess(end[None]) == 0
    assert value == pytest.approx(float(sampler._inputs(end[None])[0] @ weights))
    assert value >= (sampler._inputs(inside) @ weights).max()


def test_a_missing_library_is_named_before_anything_runs(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, "smac", tmp_path / "out.jsonl"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "SMAC3 is not installed, and this sampler needs it\n"
        "  run `pip install -r benchmarks/other_samplers.txt` in an environment of its own\n"
    )
    assert not (tmp_path / "out.jsonl").exists()


def test_an_installed_library_passes_the_check() -> None:
    Library("NumPy", "numpy", LIBRARIES["smac"].make).check()
    with pytest.raises(MissingPackageError, match="Nothing is not installed"):
        Library("Nothing", "no_such_package_at_all", LIBRARIES["smac"].make).check()


def line(sampler: str, run: int, last: float, seconds: float = 0.5) -> dict[str, object]:
    name = "made-up accuracy 101 (rugged) over mnasnet, 400M"
    durations = {"seconds": [9.0] * FIRST + [seconds] * 40} if sampler != "surrogate" else {}
    return {"task": name, "sampler": sampler, "run": run, "truth": [80.0] * 24 + [last] * 26} | durations


def test_the_table_holds_mean_regrets_and_paired_differences() -> None:
    rows = [line("surrogate", 0, 90.0), line("surrogate", 1, 92.0), line("surrogate", 2, 94.0)]
    rows += [line("smac + filter", 0, 89.5), line("smac + filter", 1, 91.5, 0.7), line("other + filter", 7, 93.0)]
    best = {str(rows[0]["task"]): 95.0}
    _, title, heading, own, smac, other = "\n".join(report(rows, "surrogate", best)).split("\n")
    assert title.startswith("made-up accuracies (rugged) over mnasnet, 400M: mean regret in points")
    assert heading.split()[:3] == ["sampler", "runs", "s"]
    assert own.split() == ["surrogate", "3", "-", "3.000", "3.000", "-", "-"]
    # Regrets 5.5 and 3.5; both are half a point above those of the same runs, 5 and 3.
    assert smac.split("  ")[0] == "smac + filter"
    assert smac.count("4.500 +0.500 [+0.50, +0.50]") == 2
    assert " 0.600" in smac
    # No run is shared, so there is nothing to compare.
    assert other.split() == ["other", "+", "filter", "1", "0.500", "2.000", "2.000", "-", "-"]


def test_the_interval_is_that_of_students_t_for_many_normal_differences() -> None:
    differences = np.random.default_rng(0).normal(1.0, 2.0, 400)
    mean, low, high = (float(part.strip("[],")) for part in interval(differences).split())
    error = differences.std(ddof=1) / np.sqrt(400)
    assert mean == pytest.approx(differences.mean(), abs=1e-3)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.03)
    assert interval(np.array([0.25])) == "+0.250"


def test_lines_can_be_read_by_the_report_on_sample_efficiency(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    kept = {**line("tpe + filter", 0, 90.0), "objective": "hard"}
    path.write_text("\n".join(json.dumps(row) for row in (kept, {**kept, "objective": "pareto"})))
    assert read_rows([path]) == [kept]
