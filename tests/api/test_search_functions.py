"""`nas.search` with a function object, which is called in this process: what it may do to the search."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas
from tests.api.interpreter import ROOT
from tests.search.fakes import TINY

HERE: dict[str, Any] = {"space": "tiny.yaml", "target": "flops=2M", "band": 0.1, "study": "demo"}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)


def throwing(error: BaseException) -> Callable[[nas.Architecture], float]:
    def accuracy(arch: nas.Architecture) -> float:
        if arch.stages[0].channels == 8:
            raise error
        return 1 / (1 + len(arch.stages))

    return accuracy


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "the evaluation ended the process (SystemExit: 3)"),
        (KeyboardInterrupt(), "the evaluation ended the process (KeyboardInterrupt)"),
    ],
)
def test_a_function_that_leaves_the_process_fails_its_trials(error: BaseException, reason: str) -> None:
    study = nas.search(**HERE, evaluator=throwing(error), trials=4, sampler="random")
    failed = [trial for trial in study.trials if trial.state == "failed"]
    assert 0 < len(failed) < 4
    assert {trial.reason for trial in failed} == {reason}


def test_a_search_whose_trials_all_fail_is_an_error_and_its_study_stays() -> None:
    def broken(_arch: nas.Architecture) -> float:
        raise ValueError("no data")

    with pytest.raises(nas.StudyError, match="all 3 trials of study demo failed with: ValueError: no data"):
        nas.search(**HERE, evaluator=broken, trials=3)
    assert [trial.state for trial in nas.open_study("demo").trials] == ["failed"] * 3


def test_a_search_of_a_single_trial_that_fails_says_so() -> None:
    def broken(_arch: nas.Architecture) -> float:
        raise ValueError("no data")

    with pytest.raises(nas.StudyError, match="the only trial of study demo failed with: ValueError: no data"):
        nas.search(**HERE, evaluator=broken, trials=1)


def test_a_function_that_changes_the_working_directory_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    def wandering(_arch: nas.Architecture) -> float:
        os.chdir(tmp_path / "elsewhere")
        return 0.5

    nas.search(**HERE, evaluator=wandering, trials=3)
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    os.chdir(tmp_path)
    assert len(nas.open_study("demo").trials) == 3
    assert len((tmp_path / "nas-trials" / "demo.jsonl").read_text().splitlines()) > 3


def test_a_time_limit_needs_a_function_that_can_be_sent() -> None:
    with pytest.raises(nas.StudyError, match="cannot be sent to another process") as caught:
        nas.search(**HERE, evaluator=throwing(SystemExit()), trials=2, trial_timeout="1m")
    assert "--trial-timeout" in caught.value.remedy


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan"), "soon", True])
def test_a_time_limit_is_a_duration(value: Any) -> None:
    with pytest.raises(nas.NasError, match="is not a duration above zero"):
        nas.search(**HERE, evaluator="zero-cost:params", trial_timeout=value)


SCRIPT = """
import nas

def accuracy(arch):
    return 0.5

try:
    print(len(nas.search("tiny.yaml", "flops=2M", evaluator=accuracy, trials={trials}, band=0.1).trials))
except nas.StudyError as error:
    print(error)
"""


@pytest.mark.slow
def test_two_scripts_do_not_share_a_study_by_chance(tmp_path: Path) -> None:
    def run(script: str, trials: int) -> str:
        (tmp_path / script).write_text(SCRIPT.format(trials=trials))
        environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run("one.py", 2) == "2\n"
    assert "is defined in one.py, not in other.py\n  choose another name for the study" in run("other.py", 2)
    assert run("one.py", 3) == "3\n"  # its text has changed since
