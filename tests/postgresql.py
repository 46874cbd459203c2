"""A PostgreSQL server of our own, on loopback, that may be killed."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from attrs import define, field

from tests.device.processes import eventually
from tests.ports import free_port

SECONDS = 60
SERVICE = "postgres"  # whom the server runs as where we are root, which it refuses


def find_program(name: str) -> str | None:
    """Where a program of the server lies; Debian keeps them off the path."""
    debian = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))  # noqa: PTH207 -- an absolute pattern
    return debian[-1] if debian else shutil.which(name)


def require_programs() -> None:
    """Skip without them, and fail with CI=true."""
    missing = [name for name in ("initdb", "postgres") if find_program(name) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"no {missing[0]} of PostgreSQL here")
    assert not missing, f"no {missing[0]} of PostgreSQL here"


@define
class Server:
    """A server with its own data.

    Attributes:
        folder: of the data.
        port: on loopback.
    """

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://nas:secret-word@127.0.0.1:{self.port}/postgres"

    def start(self, *options: str, answers: bool = True) -> None:
        """With further options; until it answers, or without waiting for that."""
        flags = ("-D", str(self.folder / "data"), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1")
        more = ("-c", f"unix_socket_directories={self.folder}", "-c", "max_connections=300", "-c", "fsync=off")
        self.process = subprocess.Popen(
            [*_as_service(), _program("postgres"), *flags, *more, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        if answers:
            eventually(lambda: self.answer() == "", SECONDS)

    def start_as_standby(self) -> None:
        """It recovers, and refuses connections until it is promoted."""
        self._touch("standby.signal")
        self.start("-c", "hot_standby=off", answers=False)
        eventually(lambda: "FATAL" in self.answer(), SECONDS)  # it listens, and refuses

    def promote(self) -> None:
        """End the recovery of a standby."""
        self._touch("promote")
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGUSR1)

    def _touch(self, name: str) -> None:
        path = self.folder / "data" / name
        path.touch()
        if os.geteuid() == 0:
            shutil.chown(path, SERVICE, SERVICE)

    def kill(self) -> None:
        """End all of it, as a power cut would."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = psutil.Process(postmaster).children(recursive=True)
        os.kill(postmaster, signal.SIGKILL)
        self._wait()
        # They end by themselves when they find it gone; a new one refuses to begin before.
        _, left = psutil.wait_procs(children, SECONDS)
        assert not left
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it in good order."""
        pid = self.folder / "data" / "postmaster.pid"
        if pid.exists():
            os.kill(int(pid.read_text().splitlines()[0]), signal.SIGINT)
        self._wait()

    def _wait(self) -> None:
        if self.process is not None:
            self.process.wait(SECONDS)

    def answer(self) -> str:
        """Return why it refuses a connection; "" where it accepts one."""
        import psycopg

        assert self.process is not None
        assert self.process.poll() is None, "the server ended"
        try:
            psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return str(error)
        return ""


@contextmanager
def running() -> Iterator[Server]:
    """A new server, gone in the end."""
    require_programs()
    with TemporaryDirectory(prefix="nas-pg-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, SERVICE, SERVICE)
        (folder / "word").write_text("secret-word")
        (folder / "word").chmod(0o644)
        made = ("-D", str(folder / "data"), "-U", "nas", "--auth=scram-sha-256", f"--pwfile={folder / 'word'}")
        subprocess.run(
            [*_as_service(), _program("initdb"), *made, "--no-sync"], check=True, capture_output=True, cwd=folder
        )
        server = Server(folder, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _program(name: str) -> str:
    found = find_program(name)
    assert found is not None
    return found


def _as_service() -> Sequence[str]:
    """Words before a command that make it run as somebody whom the server accepts."""
    if os.geteuid() != 0:
        return ()
    pwd.getpwnam(SERVICE)
    return ("runuser", "-u", SERVICE, "--")
