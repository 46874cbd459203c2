"""Files that processes lock with `flock`, and the folder where the processes of a user find them.

The folder belongs to the user: programs that clean the folder of temporary files do not look there, and no other user
can hold back the searches of this one. So searches of several users on one machine do not see each other. The folder
may be on a file system that several machines share, so the names of the files hold the name of the machine.
"""

import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from attrs import define, field

if sys.platform != "win32":
    import fcntl

Kind = Literal["LOCK_SH", "LOCK_EX"]


def lock_folders() -> Iterator[Path]:
    """Yield the folders in which lock files may lie, the preferred one first; all processes of a user get the same."""
    # First the folder that is the same whether a command was started in a session, by cron or in a container.
    with suppress(RuntimeError):  # there is no home folder
        yield Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "nas"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "nas"
    yield Path(tempfile.gettempdir()) / f"nas-{os.getuid() if hasattr(os, 'getuid') else ''}"


@define(eq=False)
class LockFile:
    """A file whose locks processes share; opened again where it was removed or replaced.

    Attributes:
        folder: Folder of the file, which is made if it does not exist.
        name: What the lock is for.

    Raises:
        OSError: The file cannot be opened, or its folder belongs to another user.
    """

    folder: Path
    name: str
    _file: IO[str] = field(init=False)

    @_file.default
    def _opened(self) -> IO[str]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and self.folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{self.folder} belongs to another user")
        return self.path.open("a")

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        machine = re.sub(r"[^\w.-]", "-", platform.node())
        return self.folder / f"{machine}-{self.name}.lock"

    @property
    def is_current(self) -> bool:
        """Return whether other processes find this file under its path."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except OSError:  # it was removed, or its folder cannot be read now
            return False

    def attempt(self, kind: Kind) -> bool:
        """Take a shared or an exclusive lock if no other process holds one that excludes it.

        Raises:
            OSError: The file system has no locks, or the file cannot be opened again.
        """
        while True:
            if not self.is_current:
                opened = self._opened()  # first: if it fails, the old file can still be released
                self.close()
                self._file = opened
            if not self._try(kind):
                return False
            # A file that was replaced between the two steps is locked for nobody.
            if self.is_current:
                return True

    def _try(self, kind: Kind) -> bool:
        if sys.platform == "win32":
            return True
        try:
            # `flock` locks belong to an open file. Those of `lockf` belong to the process, and closing any handle of
            # the file would release them.
            fcntl.flock(self._file, getattr(fcntl, kind) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release the lock if it is held."""
        if sys.platform != "win32":
            with suppress(OSError, ValueError):  # ValueError: it is closed
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the lock and close the file."""
        self._file.close()

    def holders(self) -> tuple[int, ...]:
        """Return the numbers of the other living processes that hold a lock of the file; none if they are not known."""
        with suppress(OSError, ValueError, IndexError):  # only Linux lists locks
            inode = os.fstat(self._file.fileno()).st_ino
            # The fields are number, kind, mode, access, process, device:device:inode, start and end; see proc(5).
            rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
            held = {int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].endswith(f":{inode}")}
            # A lock is listed under the process that took it, which may have ended and left it to a child.
            return tuple(sorted(pid for pid in held - {0, os.getpid()} if Path(f"/proc/{pid}").exists()))
        return ()
