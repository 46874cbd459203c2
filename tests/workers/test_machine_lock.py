"""Nothing trains while a latency is measured, in this process or in another one."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

from nas.workers.base import Here
from nas.workers.machine_lock import MachineLock
from tests.device.processes import eventually

PROCESSES = multiprocessing.get_context("spawn")


@define(eq=False)
class Pausing(Here):
    """Says when its work is put off."""

    said: list[str] = field(factory=list)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.said.append("paused")
        yield
        self.said.append("goes on")


def nothing() -> None:
    return


def machine_lock(folder: Path, workers: Here | None = None) -> MachineLock:
    return MachineLock(workers or Here(), nothing, folder)


def _train(folder: Path) -> None:
    """Give way until told to end, and say what is done."""
    workers = Pausing()
    with machine_lock(folder, workers) as share:
        (folder / "trains").touch()
        while not (folder / "end").exists():
            share.yield_to_measurement()
            (folder / "said").write_text(" ".join(workers.said))
            time.sleep(0.02)


@contextmanager
def training(folder: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    process = PROCESSES.Process(target=_train, args=(folder,))
    process.start()
    try:
        eventually((folder / "trains").exists, 60)
        yield process
    finally:
        (folder / "end").touch()
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGCONT)
        process.join(60)


def test_own_workers_are_paused(tmp_path: Path) -> None:
    workers = Pausing()
    with machine_lock(tmp_path, workers) as share, share.measuring():
        assert workers.said == ["paused"]
    assert workers.said == ["paused", "goes on"]


def test_another_process_gives_way_and_goes_on(tmp_path: Path) -> None:
    with training(tmp_path) as other, machine_lock(tmp_path) as share:
        with share.measuring():
            time.sleep(0.3)
            assert (tmp_path / "said").read_text() == ""  # it waits inside
        eventually(lambda: (tmp_path / "said").read_text() == "paused goes on", 20)
        assert other.is_alive()


def test_it_waits_as_long_as_another_one_trains(tmp_path: Path) -> None:
    with training(tmp_path) as other, machine_lock(tmp_path) as share:
        os.kill(other.pid or 0, signal.SIGSTOP)  # in the middle of an epoch
        asked = []

        def check_interrupts() -> None:
            asked.append(time.monotonic())
            if len(asked) > 5:
                raise KeyboardInterrupt

        share.check_interrupts = check_interrupts
        with pytest.raises(KeyboardInterrupt), share.measuring():
            raise AssertionError("it did not wait")


def test_locks_end_with_their_process(tmp_path: Path) -> None:
    with training(tmp_path) as other, machine_lock(tmp_path) as share:
        other.kill()
        other.join()
        with share.measuring():
            pass


def test_without_a_folder_for_locks_own_workers_are_paused_all_the_same(tmp_path: Path) -> None:
    workers = Pausing()
    with machine_lock(tmp_path / "absent", workers) as share:
        share.yield_to_measurement()
        with share.measuring():
            assert workers.said == ["paused"]
