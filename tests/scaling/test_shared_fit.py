"""One fit in several processes at the same time: they share its training runs and end with the same result."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from attrs import frozen
from optuna.trial import FrozenTrial, TrialState

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.scaling.fit import Fit, FitSettings, candidates, fit, fit_settings
from nas.search.job_study import open_job_study
from nas.search.session import open_session
from nas.workers.base import Here
from tests.device.processes import eventually
from tests.scaling.trainings import BASE, PROXY, Hill
from tests.search.fake_trainings import FakeEvaluators

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.search.searched_once"])
SETTINGS = FitSettings(proxy_resolution=PROXY, step=0.2)
HILL = Hill((1.2, 1.1, 1.2), noise=0.01)
NAME = "fit"


@frozen
class Logged:
    """Training runs that write into a file which process did what, and begin together.

    Attributes:
        log: The file.
        processes: Number of processes that have to begin a training run before any of them is done.
        killed_in: Number of the training run in which the process kills itself; 0 for none.
    """

    log: Path
    processes: int = 1
    killed_in: int = 0

    def __call__(self, arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}|{hash_of(arch)} {resolution} {seed}\n")
        eventually(lambda: len({owner for owner, _ in read_log(self.log)}) >= self.processes)
        if self.killed_in and Counter(owner for owner, _ in read_log(self.log))[str(os.getpid())] == self.killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from HILL(arch, resolution, seed, epochs)


def hash_of(arch: Architecture) -> str:
    return format_text(arch).replace("\n", "; ")


def read_log(log: Path) -> list[tuple[str, str]]:
    """Process and training run of each line."""
    return [(line.split("|")[0], line.split("|")[1]) for line in log.read_text().splitlines()]


def run(url: str, course: Any = HILL) -> Fit:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kept = fit_settings(BASE, SETTINGS, ())
    with (
        open_session(Here()) as session,
        open_job_study(NAME, kept, FakeEvaluators(course), 1, session, storage=url) as study,
    ):
        return fit(candidates(BASE, SETTINGS), SETTINGS, study, MACS, lambda archs: [MACS.estimate(a) for a in archs])


def run_there(url: str, logged: Logged, start: Any, answers: Any) -> None:
    start.wait(60)
    answers.put(run(url, logged))


def run_all(url: str, log: Path, *killed_in: int) -> tuple[list[Fit], list[int | None]]:
    """Results of processes that begin at the same moment, and all exit codes."""
    start, answers = PROCESSES.Barrier(len(killed_in)), PROCESSES.Queue()
    courses = [Logged(log, len(killed_in), each) for each in killed_in]
    processes = [PROCESSES.Process(target=run_there, args=(url, each, start, answers)) for each in courses]
    for process in processes:
        process.start()
    results = [answers.get(timeout=120) for each in killed_in if not each]
    for process in processes:
        process.join(60)
    return results, [process.exitcode for process in processes]


def trials(url: str) -> list[FrozenTrial]:
    return optuna.load_study(storage=url, study_name=NAME).trials


def lasting(url: str) -> list[tuple[str, int]]:
    """What the trials that count have trained, with its seed."""
    kept = [trial.user_attrs for trial in trials(url) if "killed" not in trial.user_attrs]
    return [(attributes["trained"], attributes["seed"]) for attributes in kept]


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nas.db'}"
    url: str = request.getfixturevalue("server").url
    if NAME in optuna.get_all_study_names(url):
        optuna.delete_study(storage=url, study_name=NAME)
    return url


@pytest.fixture(name="reference", scope="module")
def _reference() -> Fit:
    return run("sqlite://")


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_that_begin_together_train_everything_once(
    url: str, tmp_path: Path, reference: Fit, count: int
) -> None:
    results, codes = run_all(url, tmp_path / "log", *[0] * count)
    assert codes == [0] * count
    assert results == [reference] * count
    log = read_log(tmp_path / "log")
    assert len({process for process, _ in log}) == count
    assert set(Counter(done for _, done in log).values()) == {1}
    assert {trial.state for trial in trials(url)} == {TrialState.COMPLETE}
    assert len(trials(url)) == len(set(lasting(url))) == len(log)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_what_a_killed_process_leaves_is_trained_by_the_others(
    url: str, tmp_path: Path, reference: Fit, count: int
) -> None:
    results, codes = run_all(url, tmp_path / "log", 1, *[0] * (count - 1))
    assert codes == [-signal.SIGKILL, *[0] * (count - 1)]
    assert results == [reference] * (count - 1)
    # The run that was cut short appears twice, once under each process.
    assert sorted(Counter(done for _, done in read_log(tmp_path / "log")).values())[-2:] == [1, 2]
    assert len(lasting(url)) == len(set(lasting(url))) == len(trials(url)) - 1
    (cut,) = [trial for trial in trials(url) if "killed" in trial.user_attrs]
    assert cut.user_attrs["reason"] == "its process ended before it did"
    assert not [trial for trial in trials(url) if not trial.state.is_finished()]


def test_the_last_process_to_begin_finds_everything_done(tmp_path: Path, reference: Fit) -> None:
    url, log = f"sqlite:///{tmp_path / 'nas.db'}", tmp_path / "log"
    assert run(url, Logged(log)) == reference
    count = len(read_log(log))
    assert run(url, Logged(log)) == reference
    assert len(read_log(log)) == count
