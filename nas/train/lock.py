"""Exclusive locks of files that hold the result of a training run, so that two processes never train the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import NasError
from nas.train.tensor_file import FileKind


@contextmanager
def training_lock(path: Path, kind: FileKind, notify: Callable[[str], None]) -> Iterator[None]:
    """Hold the exclusive lock of a file, so that two processes never train what it holds at the same time.

    It waits while another process holds the lock. The operating system releases the lock when its process ends, however
    it ends.

    Args:
        path: Path of the file.
        kind: Kind of the file.
        notify: Callback for the message that this process waits.

    Raises:
        NasError: The folder cannot be created or written to.
    """
    kind.make_folder(path.parent)
    # The lock is a separate file, since the file of weights is replaced by every write.
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    # Training the same weights twice would take at least as long as waiting, so the wait has no time limit.
    waits = f"another process is training the {kind.content} {path}; this process waits for it"
    try:
        _acquire(lock, lambda: notify(waits))
    except OSError as error:
        problem = f"folder {path.parent} cannot be written to: {error.strerror or error}"
        raise NasError(problem, kind.folder_remedy) from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, before_waiting: Callable[[], None]) -> None:
    with suppress(Timeout):
        lock.acquire(timeout=0)
        return
    before_waiting()
    lock.acquire()
