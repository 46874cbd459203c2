"""Searches in processes of their own that are ended at every kind of moment, and go on as if they had not been."""

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.search.run import search
from nas.search.settings import Settings
from nas.studies.records import StudyView
from tests.search.fakes import FakeEvaluator, level, make_space, outcome

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.search.searched_once"])
TRIALS = 6


def go(url: str, epochs: int = 2) -> StudyView:
    """Six trials, some of which fail; those of one epoch are written when they have ended."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = Settings([parse_target("flops=1.2M")], trials=TRIALS, epochs=epochs, band=0.5)
    evaluator = FakeEvaluator(lambda arch: level(arch) < 0.5)
    return search(make_space(), evaluator, settings, COUNTED, study_name="demo", storage=url)


def go_until(url: str, commits: int, number: int, epochs: int = 2) -> None:
    """Search, and send this process a signal when that many transactions are about to be finished."""
    left = commits

    def count(_connection: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)

    event.listen(Engine, "commit", count)
    with contextlib.suppress(KeyboardInterrupt):
        go(url, epochs)


def end_at(url: str, commits: int, number: signal.Signals, epochs: int = 2) -> bool:
    """Whether the process was ended by the signal before its search was over."""
    process = PROCESSES.Process(target=go_until, args=(url, commits, number, epochs))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -number)
    return process.exitcode == -number


def check(url: str, reference: StudyView, epochs: int = 2) -> None:
    view = go(url, epochs)
    assert view.counted == TRIALS
    assert outcome(view) == outcome(reference)
    assert not [record for record in view.records if record.state == "running"]
    states = {trial.state.name for trial in optuna.load_study(storage=url, study_name="demo").trials}
    assert states <= {"COMPLETE", "PRUNED", "FAIL"}
    assert go(url, epochs) == view


@pytest.fixture(name="reference", scope="module")
def _reference() -> StudyView:
    return go("sqlite://")


def test_the_study_has_failures_too(reference: StudyView) -> None:
    assert {record.state for record in reference.records} == {"complete", "failed"}


def test_killed_time_after_time(tmp_path: Path, reference: StudyView) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    assert all(end_at(url, commits, signal.SIGKILL) for commits in (14, 17, 21))
    check(url, reference)


def test_interrupted_time_after_time(tmp_path: Path, reference: StudyView) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    for commits in (14, 17, 21):
        end_at(url, commits, signal.SIGINT)
    check(url, reference)


@pytest.mark.parametrize("commits", [11, 14, 17])
def test_trials_that_are_written_when_they_have_ended_are_all_or_not_there(tmp_path: Path, commits: int) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    assert end_at(url, commits, signal.SIGKILL, epochs=1)
    end_at(url, commits + 3, signal.SIGINT, epochs=1)
    check(url, go("sqlite://", epochs=1), epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("commits", range(1, 60, 4))
def test_ended_at_any_moment(tmp_path: Path, reference: StudyView, commits: int, number: signal.Signals) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    end_at(url, commits, number)
    end_at(url, commits // 2 + 8, number)
    check(url, reference)


@pytest.mark.slow
def test_two_at_once_end_with_no_more_than_asked_for_and_nothing_running(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    both = [PROCESSES.Process(target=go_until, args=(url, 0, signal.SIGTERM)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    view = go(url)
    assert not [record for record in view.records if record.state == "running"]
    assert TRIALS <= view.counted <= TRIALS + 1
