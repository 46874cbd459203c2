"""Latencies are measured while nothing trains on this machine, whoever started it.

Every search holds a lock together with the others while its trials run. One that measures says that it wants to, and
waits until it has the lock alone; the others see that within a second, stop their workers, and let it go. Locks end
with their processes, and each stops its own workers alone, so that nobody is left standing.
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


AGAIN_S = 0.05


def _folder() -> Path:
    return Path(tempfile.gettempdir())


@define(eq=False)
class MachineLock:
    """This process's share in the locks of this machine and user; used as a context manager while trials run.

    Attributes:
        workers: whose work is put off.
        check_interrupts: called while it waits; may raise.
        folder: of the locks.
    """

    workers: Workers
    check_interrupts: Callable[[], None]
    folder: Path = field(factory=_folder)
    _working: IO[str] | None = field(default=None, init=False)
    _wanted: IO[str] | None = field(default=None, init=False)

    def __enter__(self) -> "MachineLock":
        """Trials may run here."""
        with suppress(OSError):  # a folder that cannot be written to, or a system without such locks: nobody is told
            self._working, self._wanted = self._open("working"), self._open("wanted")
            self._wait(self._working, "LOCK_SH")
        return self

    def __exit__(self, *_: object) -> None:
        """They have ended."""
        for file in (self._working, self._wanted):
            if file is not None:
                file.close()
        self._working = self._wanted = None

    def give_way(self) -> None:
        """Stop where another search wants to measure, until it has."""
        if self._working is None or self._wanted is None:
            return
        if _try(self._wanted, "LOCK_SH"):
            _let_go(self._wanted)
            return
        with suppress(NasError), self.workers.paused():  # who cannot pause is waited for
            _let_go(self._working)
            self._wait(self._wanted, "LOCK_SH")
            _let_go(self._wanted)
            self._wait(self._working, "LOCK_SH")

    @contextmanager
    def measuring(self, *, idle: bool = False) -> Iterator[None]:
        """Inside it nothing trains on this machine.

        Args:
            idle: whether its own workers have nothing to do.

        Raises:
            NasError: they have, and cannot pause.
        """
        with nullcontext() if idle else self.workers.paused():
            if self._working is None or self._wanted is None:
                yield
                return
            _let_go(self._working)
            self._wait(self._wanted, "LOCK_EX")
            self._wait(self._working, "LOCK_EX")
            try:
                yield
            finally:
                _let_go(self._wanted)
                _let_go(self._working)
                self._wait(self._working, "LOCK_SH")

    def _open(self, name: str) -> IO[str]:
        user = os.getuid() if hasattr(os, "getuid") else ""
        return (self.folder / f"nas-{user}-{name}.lock").open("a")

    def _wait(self, file: IO[str], kind: str) -> None:
        while not _try(file, kind):
            self.check_interrupts()
            time.sleep(AGAIN_S)


def _try(file: IO[str], kind: str) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, getattr(fcntl, kind) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(file: IO[str]) -> None:
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_UN)
