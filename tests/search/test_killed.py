"""Searches in processes of their own that are ended at every kind of moment, and go on as if they had not been."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.search.run import search
from nas.search.settings import Settings
from nas.studies.opening import open_storage
from nas.studies.records import StudyView
from nas.studies.study import read_study
from tests.search.fakes import FakeEvaluator, level, make_space, outcome

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.search.searched_once"])
TRIALS = 6


def go(url: str, epochs: int = 2, on_evaluation: Callable[[], None] = lambda: None) -> StudyView:
    """Six trials, some of which fail; those of one epoch are written when they have ended."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = Settings([parse_target("flops=1.2M")], trials=TRIALS, epochs=epochs, band=0.5)

    def fails(arch: Architecture) -> bool:
        on_evaluation()
        return level(arch) < 0.5

    return search(make_space(), FakeEvaluator(fails), settings, COUNTED, study_name="demo", storage=url)


def go_until(url: str, commits: int, number: int, epochs: int = 2, *, from_start: bool = False) -> None:
    """Search, and send this process a signal when that many transactions are about to be finished.

    They are counted from the first evaluation, so that the signal arrives while trials are stored, or from the start.
    """
    left, counts = commits, from_start

    def begin() -> None:
        nonlocal counts
        counts = True

    def count(_connection: object) -> None:
        nonlocal left
        if counts:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    event.listen(Engine, "commit", count)
    with contextlib.suppress(KeyboardInterrupt):
        go(url, epochs, begin)


def end_at(url: str, commits: int, number: signal.Signals, epochs: int = 2, *, from_start: bool = False) -> bool:
    """Whether the process was ended by the signal before its search was over."""
    process = PROCESSES.Process(target=go_until, args=(url, commits, number, epochs), kwargs={"from_start": from_start})
    process.start()
    process.join(60)
    assert process.exitcode in (0, -number)
    return process.exitcode == -number


def complete(url: str) -> int:
    """How many trials are complete: some after the search was ended among its trials, and not yet all."""
    number = sum(record.state == "complete" for record in read_study(open_storage(url), "demo").records)
    assert 0 < number < TRIALS
    return number


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
    before = 0
    for commits in (14, 17, 21):  # a trial is about nine commits
        assert end_at(url, commits, signal.SIGKILL)
        assert complete(url) > before
        before = complete(url)
    check(url, reference)


def test_interrupted_time_after_time(tmp_path: Path, reference: StudyView) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    for commits in (14, 17, 21):
        end_at(url, commits, signal.SIGINT)
        assert complete(url)
    check(url, reference)


@pytest.mark.parametrize("commits", [11, 14, 17])
def test_trials_that_are_written_when_they_have_ended_are_all_or_not_there(tmp_path: Path, commits: int) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    assert end_at(url, commits, signal.SIGKILL, epochs=1)
    assert complete(url)
    end_at(url, commits + 3, signal.SIGINT, epochs=1)
    check(url, go("sqlite://", epochs=1), epochs=1)


MOMENTS = (
    *((commits, True) for commits in range(1, 52, 10)),  # the database and the study are made
    *((commits, False) for commits in range(1, 47, 5)),  # trials are stored
)


# A kill leaves anything half done, so it comes at every moment. Both other signals are obeyed at safe moments only, and
# take turns.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("commits", "from_start", "number"),
    [
        *((*moment, signal.SIGKILL) for moment in MOMENTS),
        *((*moment, (signal.SIGINT, signal.SIGTERM)[i % 2]) for i, moment in enumerate(MOMENTS)),
    ],
)
def test_ended_at_any_moment(
    tmp_path: Path, reference: StudyView, commits: int, from_start: bool, number: signal.Signals
) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    end_at(url, commits, number, from_start=from_start)
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
