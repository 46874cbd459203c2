"""Searches for costs of a user's own: what a study holds of them, and what every view of the study shows."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import onnx
import pytest

import nas
from nas.cli.search.result import result_row
from nas.cost.analytic import cost
from nas.cost.own_target import TAKEN
from nas.errors import CostError, NasError, StudyError, TargetError
from nas.report.files import csv_bytes
from nas.report.points import pareto
from nas.studies.opening import open_storage
from nas.studies.study import read_study
from tests.search.fakes import TINY

MODULE = """
import onnx

def weights(path):
    return sum(len(each.raw_data) for each in onnx.load(path).graph.initializer) / 1e3
"""
DEPTH: dict[str, Any] = {"evaluator": "zero-cost:depth", "trials": 6, "study": "demo", "band": 0.1}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "own.py").write_text(MODULE)


def energy(arch: nas.Architecture) -> float:
    """Return a made-up energy in millijoules."""
    return cost(arch).macs / 1e6 + cost(arch).params / 1e5


def meter(spread: float) -> Callable[[nas.Architecture], float]:
    random = Random(3)  # noqa: S311 -- a simulated meter

    def measured(arch: nas.Architecture) -> float:
        return energy(arch) * random.gauss(1, spread)

    return measured


def search(function: Any = energy, target: Any = "energy=2mJ", **more: Any) -> nas.Study:
    return nas.search("tiny.yaml", target=target, costs={"energy": function}, **{**DEPTH, **more})


def test_trials_hold_exact_costs_with_their_source_and_the_study_its_function_and_unit() -> None:
    study = search()
    assert study.settings["targets"] == ["energy=2mJ"]
    (limit,) = study.settings["limits"]
    name = f"python:{__name__}:energy"
    assert limit == {"cost": "energy", "unit": "mJ", "low": 0.2, "high": 2.0, "basis": {"function": name}}
    for trial in study.trials:
        assert trial.costs["energy"] == energy(trial.architecture) <= 2.0
    assert study.baseline is None
    frame = study.trials_dataframe()
    assert frame["energy"].tolist() == [trial.costs["energy"] for trial in study.trials]
    assert frame["energy_spread"].isna().all()
    stored = open_storage("sqlite:///nas.db").get_all_trials(1)[0].user_attrs
    assert stored["cost_sources"]["energy"].startswith(f"returned by {name} (file ")


def test_names_that_trials_and_rows_hold_are_taken() -> None:
    search()
    storage = open_storage("sqlite:///nas.db")
    view = read_study(storage, "demo")
    names = {name for trial in storage.get_all_trials(1) for name in trial.user_attrs}
    row = result_row(view, view.records[0])
    assert row is not None
    assert {*names, *row} - {"energy"} <= TAKEN


def test_a_noisy_cost_has_its_spread_and_the_best_are_measured_again() -> None:
    study = search(meter(0.02), objective="pareto")
    for trial in study.trials:
        spread = trial.cost_spreads["energy"]
        assert spread is not None
        assert 0.005 < spread / trial.costs["energy"] < 0.06
    measured = [trial for trial in study.trials if trial.measured_costs]
    assert len(measured) >= 1
    for trial in measured:
        assert trial.measured_costs["energy"] == pytest.approx(energy(trial.architecture), rel=0.08)
        assert trial.measured_ms is None
        assert trial.meets_target == (trial.measured_costs["energy"] <= 2.0)
    frame = study.trials_dataframe()
    assert frame["measured_ms"].isna().all()
    assert frame["energy_measured"].notna().sum() == len(measured)
    assert "energy" in str(study)
    assert " mJ, within" in str(study)
    (header, *_) = csv.reader(io.StringIO(csv_bytes(frame).decode()))
    assert header[-4:] == ["energy", "energy_spread", "energy_measured", "energy_measured_spread"]


def test_the_figure_has_the_cost_on_its_axis_with_its_unit() -> None:
    search(meter(0.02), target=["energy=2mJ", "params=1M"])
    info = pareto(read_study(open_storage("sqlite:///nas.db"), "demo"))
    assert (info.axis.title, info.limit) == ("Energy (mJ)", 2.0)
    assert all(point.x_margin > 0 for point in info.front)
    assert " mJ ± " in info.front[0].hover
    assert len(info.measured) == len(info.predicted) >= 1


def test_a_cost_may_be_a_further_target_of_a_file_without_a_unit() -> None:
    study = nas.search(
        "tiny.yaml", target=["flops=2M", "flash=30k"], costs={"flash": "python-onnx:own:weights"}, **DEPTH
    )
    assert study.settings["targets"] == ["flops=2M", "flash=30000"]
    for trial in study.trials:
        initializers = nas.to_onnx(trial.architecture).graph.initializer
        expected = sum(len(onnx.numpy_helper.to_array(each).tobytes()) for each in initializers) / 1e3
        assert trial.costs["flash"] == pytest.approx(expected)


def test_the_same_search_continues_and_another_function_or_unit_does_not() -> None:
    assert len(search().trials) == 6
    assert len(search(trials=8).trials) == 8
    with pytest.raises(StudyError, match=r"limits.1.basis.function .*energy, not .*measured"):
        search(named(meter(0.01)))
    with pytest.raises(StudyError, match="targets"):
        search(target="energy=2J")
    assert len(nas.open_study("demo").trials) == 8


def named(function: Callable[[nas.Architecture], float]) -> Callable[[nas.Architecture], float]:
    function.__qualname__ = "measured"
    return function


@pytest.mark.parametrize(
    ("target", "costs", "problem"),
    [
        ("flops=2M", {"energy": energy}, "no target limits the cost energy"),
        ("energy=2mJ", {}, "unknown target 'energy'"),
        ("energy=2mJ", {"flops": energy}, "'flops' cannot be the name"),
        ("seed=2", {"seed": energy}, "'seed' cannot be the name"),
        (["energy=2mJ", "energy=3mJ"], {"energy": energy}, "energy is given twice"),
        ("energy=mJ", {"energy": energy}, "is not a number with a unit"),
        ("energy=2mJ", {"energy": "own:weights"}, "not of the form python:MODULE:FUNCTION"),
        ("energy=2mJ", {"energy": "python:"}, "not of the form python:MODULE:FUNCTION"),
        ("energy=2mJ", {"energy": "python:absent:f"}, "module absent cannot be imported"),
        ("energy=2mJ", {"energy": lambda _arch: 1}, "is no function with a name"),
        ("energy=2mJ", {"energy": 3}, "costs is {'energy': 3}"),
        ("energy=2mJ", {"energy": search}, "failed for 5 networks in a row"),
        ("energy=999mJ", {"energy": energy}, "cannot be met in space tiny"),
    ],
)
def test_what_cannot_be_a_cost_is_one_error_and_no_study(target: Any, costs: Any, problem: str) -> None:
    with pytest.raises(NasError) as caught:
        nas.search("tiny.yaml", target=target, costs=costs, **DEPTH)
    assert problem in caught.value.problem
    assert caught.value.remedy
    assert not Path("nas.db").exists()


def test_a_time_limit_is_for_functions_of_other_processes() -> None:
    with pytest.raises(TargetError, match="time limit for costs"):
        search(cost_timeout="1m")
    with pytest.raises(NasError, match="'soon' is not a duration"):
        search(cost_timeout="soon")


def test_a_function_that_stops_working_ends_the_search_and_the_trials_are_kept() -> None:
    works = [True]

    def fragile(arch: nas.Architecture) -> float:
        if not works[0]:
            raise OSError("the meter is gone")
        return energy(arch)

    fragile.__qualname__ = "fragile"
    assert len(search(fragile, trials=3).trials) == 3
    calls = iter(range(21))

    def until_gone(arch: nas.Architecture) -> float:
        works[0] = next(calls, None) is not None
        return fragile(arch)

    until_gone.__qualname__ = "fragile"
    with pytest.raises(CostError, match="the meter is gone"):
        search(until_gone, trials=60)
    assert [trial.state for trial in nas.open_study("demo").trials[:3]] == ["complete"] * 3
