"""Who evaluates: this process, or several beside it that end when they should."""

import contextlib
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.workers.base import Deadline, Here, Workers
from nas.workers.processes import Place, Processes, make_workers, share_out
from tests.contracts.workers import OTHER, SMALL, WorkersContract, finish
from tests.device.processes import eventually, is_gone
from tests.search.fake_trainings import Stuck, Ticking, call, dying, final, rising

# Two workers that have begun and do not end.
PARENT = """
import pathlib, sys
from nas.workers.processes import Processes
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

    def make(self, limit_s: float | None = None) -> Workers:  # noqa: ARG002 -- it cannot stop itself
        return Here()


class TestProcesses(WorkersContract):
    most = 2

    def make(self, limit_s: float | None = None) -> Workers:
        return Processes(2, limit_s=limit_s)


def test_there_are_as_many_as_are_asked_for() -> None:
    assert isinstance(make_workers(1), Here)
    several = make_workers(3)
    assert isinstance(several, Processes)
    assert several.number == 3
    single = make_workers(1, limit_s=60.0)  # only another process can be stopped
    assert isinstance(single, Processes)
    assert (single.number, single.limit_s) == (1, 60.0)
    with pytest.raises(StudyError, match="the number of workers is 0"):
        make_workers(0)


def test_a_deadline_leaves_out_pauses_and_begins_once() -> None:
    deadline = Deadline(1000.0)
    deadline.extend(500.0)
    assert deadline.seconds_left == math.inf
    deadline.begin()
    assert 900 < deadline.seconds_left <= 1000
    deadline.extend(500.0)
    deadline.begin()
    assert 1400 < deadline.seconds_left <= 1500
    unlimited = Deadline(None)
    unlimited.begin()
    assert unlimited.seconds_left == math.inf


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


def test_a_worker_that_dies_is_told_and_another_one_takes_its_place() -> None:
    with Processes(2) as workers:
        back = dict(finish(workers, {("good", 0): call(rising, SMALL), ("bad", 0): call(dying, SMALL)}))
        assert back["good", 0].accuracies[-1] == final(SMALL, 16, 0)
        assert (back["bad", 0].lost, back["bad", 0].accuracies) == (True, ())
        assert "was ended by SIGKILL; it may have been out of memory" in back["bad", 0].reason
        calls = {(str(seed), seed): call(rising, OTHER, seed) for seed in range(4)}
        assert all(not outcome.lost for _, outcome in finish(workers, calls))
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_while_it_waits_is_replaced() -> None:
    with Processes(1) as workers:
        finish(workers, {("a", 0): call(rising, SMALL)})
        (child,) = multiprocessing.active_children()
        child.kill()
        child.join()
        ((_, outcome),) = finish(workers, {("b", 0): call(rising, SMALL)})
        assert outcome.accuracies[-1] == final(SMALL, 16, 0)


def test_processors_cards_and_memory_are_shared_out() -> None:
    assert share_out(2, (4, 5, 6, 7), ("0", "1"), 1000) == [Place((4, 5), 2, "0"), Place((6, 7), 2, "1")]
    one, two = (Place((core,), 1, None, 300) for core in (0, 1))
    assert share_out(3, (0, 1), (), 1000) == [one, two, one]


def surroundings(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
    """Fails with where it runs."""
    yield 0.5
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    raise ValueError(f"{sorted(os.sched_getaffinity(0))} {os.environ['OMP_NUM_THREADS']} {limit}")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPU cores cannot be chosen on this system")
def test_a_worker_stays_in_its_place() -> None:
    core = min(os.sched_getaffinity(0))
    with Processes(1, [Place((core,), 3, None, 2**33)]) as workers:
        ((_, outcome),) = finish(workers, {("a", 0): call(surroundings, SMALL)})
    assert outcome.reason == f"ValueError: [{core}] 3 {2**33}"


def test_paused_workers_do_nothing(tmp_path: Path) -> None:
    with Processes(1) as workers:
        workers.start(("a", 0), call(Ticking(tmp_path / "ticks"), SMALL))
        eventually((tmp_path / "ticks").exists)
        with workers.paused():
            (worker,) = multiprocessing.active_children()
            eventually(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
            before = (tmp_path / "ticks").stat().st_size
            time.sleep(0.3)
            assert (tmp_path / "ticks").stat().st_size == before
        eventually(lambda: (tmp_path / "ticks").stat().st_size > before)


@pytest.mark.slow
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    script, begun = tmp_path / "parent.py", tmp_path / "begun"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script), str(begun)], env=environment)
    workers: list[psutil.Process] = []
    try:
        eventually(lambda: all(Path(f"{begun}-{seed}").exists() for seed in (0, 1)))
        workers += psutil.Process(parent.pid).children(recursive=True)
        assert len(workers) >= 2
        parent.kill()
        parent.wait()
        eventually(lambda: all(map(is_gone, workers)))
    finally:
        for process in (psutil.Process(parent.pid), *workers) if parent.poll() is None else workers:
            with contextlib.suppress(psutil.Error):
                process.kill()
        parent.wait()


def test_workers_leave_an_interrupt_to_their_parent(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with Processes(2) as workers:
        workers.start(("a", 0), call(Stuck(begun), SMALL))
        eventually(Path(f"{begun}-0").exists)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        workers.start(("b", 0), call(rising, SMALL))
        ((key, _),) = workers.poll()
        assert key == ("b", 0)
        assert worker.is_alive()
