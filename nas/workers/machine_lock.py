"""Locks of this machine that keep training runs and latency measurements apart, across all processes of a user.

Every search holds a shared lock on the file "working" while its trials run. A search that measures a latency takes an
exclusive lock on the file "wanted" first, and then on "working". The other searches test "wanted" about once a second;
when it is taken they stop their own workers, release "working", and wait until "wanted" is free again. The operating
system releases a lock when its process ends, and each search pauses only its own workers, so that no killed process
leaves another one paused.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from attrs import define, field

from nas.errors import NasError
from nas.workers.base import Workers

if sys.platform != "win32":
    import fcntl


RETRY_S = 0.05


def _folder() -> Path:
    return Path(tempfile.gettempdir())


@define(eq=False)
class MachineLock:
    """Holds this process's part of the machine's locks; used as a context manager while trials run.

    Attributes:
        workers: Workers that are paused while another search measures.
        check_interrupts: Called while this process waits; may raise.
        folder: Folder of the lock files.
    """

    workers: Workers
    check_interrupts: Callable[[], None]
    folder: Path = field(factory=_folder)
    _working: IO[str] | None = field(default=None, init=False)
    _wanted: IO[str] | None = field(default=None, init=False)

    def __enter__(self) -> "MachineLock":
        """Take the shared lock, so that trials may run."""
        with suppress(OSError):  # in a read-only folder, or without file locks, searches are not kept apart
            self._working, self._wanted = self._open("working"), self._open("wanted")
            try:
                self._wait(self._working, "LOCK_SH")
            except BaseException:  # an interrupt while it waits: `__exit__` is not called then
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Release the locks."""
        for file in (self._working, self._wanted):
            if file is not None:
                file.close()
        self._working = self._wanted = None

    def yield_to_measurement(self) -> None:
        """Pause the workers while another search measures a latency on this machine."""
        if self._working is None or self._wanted is None:
            return
        # Shared and released at once, so that searches which only test do not exclude each other.
        if _try(self._wanted, "LOCK_SH"):
            _release(self._wanted)
            return
        with suppress(NasError), self.workers.paused():  # the measuring search waits for workers that cannot be paused
            _release(self._working)
            self._wait(self._wanted, "LOCK_SH")
            _release(self._wanted)
            self._wait(self._working, "LOCK_SH")

    @contextmanager
    def measuring(self, *, idle: bool = False) -> Iterator[None]:
        """Return a context in which nothing trains on this machine.

        Args:
            idle: Whether this process's own workers have nothing to do, and need no pause.

        Raises:
            NasError: Its own workers are busy and cannot be paused.
        """
        with nullcontext() if idle else self.workers.paused():
            if self._working is None or self._wanted is None:
                yield
                return
            _release(self._working)
            # In this order only: two searches that measure would otherwise each hold the lock that the other needs.
            self._wait(self._wanted, "LOCK_EX")
            self._wait(self._working, "LOCK_EX")
            try:
                yield
            finally:
                _release(self._wanted)
                _release(self._working)
                self._wait(self._working, "LOCK_SH")

    def _open(self, name: str) -> IO[str]:
        # Files of another user in the shared folder could not be opened for writing, so each user has their own.
        user = os.getuid() if hasattr(os, "getuid") else ""
        return (self.folder / f"nas-{user}-{name}.lock").open("a")

    def _wait(self, file: IO[str], kind: str) -> None:
        while not _try(file, kind):
            self.check_interrupts()
            time.sleep(RETRY_S)


def _try(file: IO[str], kind: str) -> bool:
    if sys.platform == "win32":
        return True
    try:
        # `flock` locks belong to an open file. Those of `lockf` belong to the process, and closing any handle of the
        # file would release them.
        fcntl.flock(file, getattr(fcntl, kind) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(file: IO[str]) -> None:
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_UN)
