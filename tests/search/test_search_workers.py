"""Who evaluates: this process, or several beside it that end when they should."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.search.workers import Here, Processes, Workers, make_workers
from tests.contracts.workers import OTHER, SMALL, WorkersContract, finish
from tests.device.processes import eventually, is_gone
from tests.search.fake_trainings import Stuck, call, dying, final, rising

# Two workers that have begun and do not end.
PARENT = """
import pathlib, sys
from nas.search.workers import Processes
from tests.contracts.workers import SMALL
from tests.search.fake_trainings import Stuck, call

if __name__ == "__main__":
    with Processes(2) as workers:
        for seed in (0, 1):
            workers.start(("", seed), call(Stuck(pathlib.Path(sys.argv[1])), SMALL, seed))
        while True:
            workers.poll()
"""


class TestHere(WorkersContract):
    most = 1

    def make(self) -> Workers:
        return Here()


class TestProcesses(WorkersContract):
    most = 2

    def make(self) -> Workers:
        return Processes(2)


def test_there_are_as_many_as_are_asked_for() -> None:
    assert isinstance(make_workers(1), Here)
    several = make_workers(3)
    assert isinstance(several, Processes)
    assert several.number == 3
    with pytest.raises(StudyError, match="0 workers"):
        make_workers(0)


def test_here_a_poll_is_one_epoch_and_leaving_closes_the_training() -> None:
    said: list[str] = []

    def course(_arch: Architecture, _resolution: int, _seed: int, epochs: int) -> Iterator[float]:
        try:
            for epoch in range(epochs):
                said.append(f"epoch {epoch}")
                yield 0.5
        finally:
            said.append("closed")

    with Here() as workers:
        workers.start(("a", 0), call(course, SMALL, epochs=9))
        assert workers.poll() == workers.poll() == []
        assert said == ["epoch 0", "epoch 1"]
    assert said == ["epoch 0", "epoch 1", "closed"]


def test_here_an_interrupt_is_no_reason() -> None:
    def course(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
        raise KeyboardInterrupt

    with Here() as workers, pytest.raises(KeyboardInterrupt):
        finish(workers, {("a", 0): call(course, SMALL)})


def test_a_worker_that_dies_ends_it_after_what_had_finished() -> None:
    with Processes(2) as workers:
        workers.start(("good", 0), call(rising, SMALL))
        eventually(lambda: all(future.done() for future in workers._running), 60)
        workers.start(("bad", 0), call(dying, SMALL))
        eventually(lambda: all(future.done() for future in workers._running), 60)
        ((key, outcome),) = workers.poll()
        assert (key, outcome.accuracies[-1]) == (("good", 0), final(SMALL, 16, 0))
        with pytest.raises(StudyError, match="a worker died") as told:
            workers.poll()
        assert "fewer --workers" in told.value.remedy
    assert not multiprocessing.active_children()


def test_that_a_worker_died_is_also_told_when_the_next_call_is_started() -> None:
    with Processes(2) as workers:
        workers.start(("bad", 0), call(dying, SMALL))
        eventually(lambda: all(future.done() for future in workers._running), 60)
        assert workers.free
        with pytest.raises(StudyError, match="a worker died"):
            workers.start(("next", 0), call(rising, OTHER))


@pytest.mark.slow
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    script, begun = tmp_path / "parent.py", tmp_path / "begun"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script), str(begun)], env=environment)
    workers: list[psutil.Process] = []
    try:
        eventually(lambda: all(Path(f"{begun}-{seed}").exists() for seed in (0, 1)), 60)
        workers += psutil.Process(parent.pid).children(recursive=True)
        assert len(workers) >= 2
        parent.kill()
        parent.wait()
        eventually(lambda: all(map(is_gone, workers)), 20)
    finally:
        for process in (psutil.Process(parent.pid), *workers) if parent.poll() is None else workers:
            with contextlib.suppress(psutil.Error):
                process.kill()
        parent.wait()


def test_workers_leave_an_interrupt_to_their_parent(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with Processes(2) as workers:
        workers.start(("a", 0), call(Stuck(begun), SMALL))
        eventually(Path(f"{begun}-0").exists, 60)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        workers.start(("b", 0), call(rising, SMALL))
        ((key, _),) = workers.poll()
        assert key == ("b", 0)
        assert worker.is_alive()
