"""Nothing trains while a latency is measured, in this process or in another one."""

import errno
import fcntl
import multiprocessing
import os
import platform
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest
from attrs import define, field

from nas.errors import NasError
from nas.workers import machine_lock as module
from nas.workers.base import Here
from nas.workers.lock_file import LockFile, lock_folders
from nas.workers.machine_lock import MachineLock
from tests.clock import Clock
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
    return MachineLock(workers or Here(), nothing, (folder,), report_s=0.2, max_wait_s=60)


def _train(folder: Path) -> None:
    """Give way until told to end, and say what is done."""
    workers = Pausing()
    with machine_lock(folder, workers) as share:
        (folder / "said").touch()
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
        eventually((folder / "trains").exists)
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
            time.sleep(0.3)  # a process that does not wait writes in this time
            assert (tmp_path / "said").read_text() == ""
        eventually(lambda: (tmp_path / "said").read_text() == "paused goes on")
        assert other.is_alive()


def test_it_waits_as_long_as_another_one_trains(tmp_path: Path) -> None:
    with training(tmp_path) as other, machine_lock(tmp_path) as share:
        os.kill(other.pid or 0, signal.SIGSTOP)  # in the middle of an epoch
        eventually(lambda: psutil.Process(other.pid).status() == psutil.STATUS_STOPPED)
        asked = []

        def check_interrupts() -> None:
            asked.append("")
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


def test_without_a_folder_for_locks_own_workers_are_paused_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workers = Pausing()
    (tmp_path / "file").touch()
    with machine_lock(tmp_path / "file" / "folder", workers) as share:
        assert "are not kept apart" in caplog.text
        share.yield_to_measurement()
        with share.measuring():
            assert workers.said == ["paused"]


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the locks in this process."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def _hold(path: Path, kind: str, ready: Path) -> None:
    """Hold a lock of a file as any other program may."""
    with path.open("a") as file:
        fcntl.flock(file, getattr(fcntl, kind))
        ready.touch()
        time.sleep(600)


@contextmanager
def held(path: Path, kind: str) -> Iterator[multiprocessing.process.BaseProcess]:
    ready = path.with_suffix(".ready")
    process = PROCESSES.Process(target=_hold, args=(path, kind, ready))
    process.start()
    try:
        eventually(ready.exists)
        yield process
    finally:
        process.kill()
        process.join()


def path_of(folder: Path, name: str) -> Path:
    with closing(LockFile(folder, name)) as file:
        return file.path


@pytest.mark.parametrize(("name", "kind"), [("working", "LOCK_SH"), ("wanted", "LOCK_EX")])
def test_a_wait_for_a_living_process_is_reported_with_a_choice_and_goes_on(
    tmp_path: Path, name: str, kind: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tmp_path, name)

    def give_up() -> None:
        if len(caplog.messages) >= 3:
            path.unlink(missing_ok=True)

    with held(path, kind) as other, machine_lock(tmp_path) as share:
        share.check_interrupts, share.max_wait_s = give_up, 0.3
        with share.measuring():
            pass
    assert 0.6 <= clock.now < 1  # three reports, 0.2 seconds apart
    first, *further = [text for text in caplog.messages if text.startswith(f"waiting for process {other.pid}")]
    assert "delete the file" not in first
    assert len(further) == 2
    assert all("stop that process if it hangs, or delete the file" in text for text in further)


@pytest.mark.usefixtures("clock")
def test_a_wait_for_an_unknown_process_ends_with_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LockFile, "holders", lambda _file: ())
    path = path_of(tmp_path, "working")
    with held(path, "LOCK_SH"), machine_lock(tmp_path) as share:
        share.max_wait_s = 0.3
        with pytest.raises(NasError) as told, share.measuring():
            raise AssertionError("it did not wait")
    assert f"another search on this machine has not released the lock {path}" in told.value.problem
    assert "delete the file" in told.value.remedy


@pytest.mark.usefixtures("clock")
def test_a_search_that_gives_way_reports_its_wait_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workers = Pausing()
    monkeypatch.setattr(LockFile, "holders", lambda _file: ())
    with held(path_of(tmp_path, "wanted"), "LOCK_EX"), machine_lock(tmp_path, workers) as share:
        share.max_wait_s = 0.5
        with pytest.raises(NasError, match="has not released"):
            share.yield_to_measurement()
    assert workers.said == ["paused"]
    assert "waiting for another search" in caplog.text


def test_a_file_that_was_deleted_ends_the_wait(tmp_path: Path) -> None:
    path = path_of(tmp_path, "working")
    with held(path, "LOCK_SH"), machine_lock(tmp_path) as share:
        share.check_interrupts = lambda: path.unlink(missing_ok=True)
        with share.measuring():
            pass


@pytest.mark.parametrize("by", ["nothing", "another file"])
def test_searches_see_each_other_after_their_files_were_removed_or_replaced(tmp_path: Path, by: str) -> None:
    with training(tmp_path) as other, machine_lock(tmp_path) as share:
        for path in tmp_path.glob("*.lock"):
            path.unlink()
            if by == "another file":
                path.touch()
        with closing(LockFile(tmp_path, "working")) as new:
            eventually(lambda: other.pid in new.holders())  # it has looked again
        share.yield_to_measurement()
        with share.measuring():
            time.sleep(0.3)  # a process that does not wait writes in this time
            assert (tmp_path / "said").read_text() == ""
        eventually(lambda: (tmp_path / "said").read_text() == "paused goes on")


def test_a_file_system_without_locks_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, without = fcntl.flock, tmp_path / "without"

    def flock(file: IO[str], operation: int) -> None:
        if Path(file.name).parent == without:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    for folders in ((without,), (without, tmp_path / "with")):
        workers = Pausing()
        with MachineLock(workers, nothing, folders) as share:
            share.yield_to_measurement()
            with share.measuring():
                assert workers.said == ["paused"]
    assert len([text for text in caplog.messages if "are not kept apart" in text]) == 1
    assert path_of(tmp_path / "with", "working").exists()


def test_locks_that_fail_later_end_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(_file: object, _operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with machine_lock(tmp_path) as share:
        monkeypatch.setattr(fcntl, "flock", flock)
        share.yield_to_measurement()
        with share.measuring():
            pass
    assert "are not kept apart" in caplog.text


@pytest.mark.parametrize("now", ["nothing", "a file"])
def test_a_folder_that_fails_later_ends_no_search_and_is_told_once(
    tmp_path: Path, now: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    folder = tmp_path / "locks"
    with machine_lock(folder) as share:
        shutil.rmtree(folder)
        if now == "a file":
            folder.touch()
        monkeypatch.setattr(Path, "mkdir", fail)
        for _ in range(3):
            share.yield_to_measurement()
            with share.measuring():
                pass
    assert len([text for text in caplog.messages if "are not kept apart" in text]) == 1


def test_lock_files_lie_in_folders_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    folders = list(lock_folders())
    assert folders[:2] == [tmp_path / "state" / "nas", tmp_path / "runtime" / "nas"]
    with MachineLock(Here(), nothing) as share:
        share.yield_to_measurement()
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == [f"{platform.node()}-wanted.lock", f"{platform.node()}-working.lock"]
    assert folders[0].stat().st_mode & 0o077 == 0
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert next(lock_folders()) == tmp_path / "home" / ".local" / "state" / "nas"
