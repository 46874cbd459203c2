"""Locks of this machine that keep training runs and latency measurements apart, across all processes of a user.

Every search holds a shared lock on the file "working" while its trials run. A search that measures a latency takes an
exclusive lock on the file "wanted" first, and then on "working". The other searches test "wanted" about once a second;
when it is taken they stop their own workers, release "working", and wait until "wanted" is free again. The operating
system releases a lock when its process ends, and each search pauses only its own workers, so that no killed process
leaves another one paused.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path

from attrs import define, field

from nas.errors import NasError
from nas.workers.base import Workers
from nas.workers.lock_file import Kind, LockFile, lock_folders

RETRY_S = 0.05
REPORT_S = 30.0  # between two reports of one wait
# A process that trains releases its lock after an epoch at the latest, and one that measures after some minutes. But an
# epoch may be long, and a supernet is trained without a release, so only a wait for an unknown process has an end.
MAX_WAIT_S = 3600.0
REMEDY = "stop that process if it hangs, or delete the file to go on without waiting for it"
_LOG = logging.getLogger(__name__)


@define(eq=False)
class MachineLock:
    """Holds this process's part of the machine's locks; used as a context manager while trials run.

    Where no file can be locked, searches are not kept apart, and a warning says so.

    Attributes:
        workers: Workers that are paused while another search measures.
        check_interrupts: Called while this process waits; may raise.
        folders: Folders of which the first is used in which files can be locked.
        report_s: Seconds after which a wait is reported, and reported again.
        max_wait_s: Seconds after which a wait ends with an error, if no living process is known to hold the lock.
    """

    workers: Workers
    check_interrupts: Callable[[], None]
    folders: tuple[Path, ...] = field(factory=lambda: tuple(lock_folders()))
    report_s: float = REPORT_S
    max_wait_s: float = MAX_WAIT_S
    _files: tuple[LockFile, LockFile] | None = field(default=None, init=False)

    def __enter__(self) -> "MachineLock":
        """Take the shared lock, so that trials may run.

        Raises:
            NasError: An unknown process has held the lock for too long.
        """
        self._files = self._open()
        if self._files is not None:
            try:
                self._wait(self._files[0], "LOCK_SH")
            except BaseException:  # an interrupt while it waits: `__exit__` is not called then
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Release the locks."""
        for file in self._files or ():
            file.close()
        self._files = None

    def yield_to_measurement(self) -> None:
        """Pause the workers while another search measures a latency on this machine.

        Raises:
            NasError: An unknown process has held the lock for too long.
        """
        if self._files is None:
            return
        working, wanted = self._files
        # Others would not see the lock of a file that was removed or replaced.
        if not working.is_current:
            self._wait(working, "LOCK_SH")
        # Shared and released at once, so that searches which only test do not exclude each other.
        if self._attempt(wanted, "LOCK_SH"):
            wanted.release()
            return
        with ExitStack() as paused:
            try:
                paused.enter_context(self.workers.paused())
            except NasError:  # the measuring search waits for workers that cannot be paused
                return
            working.release()
            self._wait(wanted, "LOCK_SH")
            wanted.release()
            self._wait(working, "LOCK_SH")

    @contextmanager
    def measuring(self, *, idle: bool = False) -> Iterator[None]:
        """Return a context in which nothing trains on this machine.

        Args:
            idle: Whether this process's own workers have nothing to do, and need no pause.

        Raises:
            NasError: Its own workers are busy and cannot be paused, or an unknown process has held the lock for too
                long.
        """
        with nullcontext() if idle else self.workers.paused():
            if self._files is None:
                yield
                return
            working, wanted = self._files
            working.release()
            try:
                # In this order only: two searches that measure would otherwise each hold the lock that the other needs.
                self._wait(wanted, "LOCK_EX")
                self._wait(working, "LOCK_EX")
                yield
            finally:
                wanted.release()
                working.release()
                self._wait(working, "LOCK_SH")

    def _open(self) -> tuple[LockFile, LockFile] | None:
        """Return the two files in the first folder where files can be locked, None where there is no such folder."""
        reasons = []
        for folder in self.folders:
            with ExitStack() as failed:
                try:
                    working = failed.enter_context(closing(LockFile(folder, "working")))
                    wanted = failed.enter_context(closing(LockFile(folder, "wanted")))
                    # Whether it succeeds does not matter here: an error means that files there cannot be locked.
                    if wanted.attempt("LOCK_SH"):
                        wanted.release()
                except OSError as error:
                    reasons.append(f"{folder}: {error.strerror or error}")
                else:
                    failed.pop_all()
                    return working, wanted
        why = "; ".join(reasons)
        _LOG.warning("searches on this machine are not kept apart, because no file can be locked: %s", why)
        return None

    def _attempt(self, file: LockFile, kind: Kind) -> bool:
        """Take a lock if it is free; go on without any lock from the first failure of the file system."""
        if self._files is None:
            return True
        try:
            return file.attempt(kind)
        except OSError as error:
            _LOG.warning("%s cannot be locked, so searches on this machine are not kept apart: %s", file.path, error)
            self.__exit__()
            return True

    def _wait(self, file: LockFile, kind: Kind) -> None:
        """Take a lock as soon as it is free, and report a long wait.

        Raises:
            NasError: It was not free for `max_wait_s` seconds, and no living process is known to hold it.
        """
        begun, reported = time.monotonic(), 0
        while not self._attempt(file, kind):
            self.check_interrupts()
            waited = time.monotonic() - begun
            if waited >= self.max_wait_s and not file.holders():
                raise NasError(
                    f"{_describe(file)} has not released the lock {file.path} for {waited:.0f} s",
                    f"{REMEDY}; the same command continues, and all trials are kept",
                )
            if waited >= self.report_s * (reported + 1):
                reported += 1
                what = f"waiting for {_describe(file)}, which holds the lock {file.path}: {waited:.0f} s so far"
                _LOG.warning("%s", f"{what}; {REMEDY}" if waited >= self.max_wait_s else what)
            time.sleep(RETRY_S)


def _describe(file: LockFile) -> str:
    """Return the processes that hold a lock in words."""
    holders = file.holders()
    return f"process {', '.join(map(str, holders))}" if holders else "another search on this machine"
