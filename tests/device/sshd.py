"""A real OpenSSH server on this machine for tests."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from attrs import define

from nas.device.spec import Address
from tests.device.processes import eventually
from tests.ports import LOCAL, free_port

ROOT = Path(__file__).parents[2]
SERVER = "/usr/sbin/sshd"


@define
class Sshd:
    """Represent a running server that accepts one key; all its files are in one folder."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def command(self) -> str:
        """Return the value for `NAS_SSH`."""
        return f"ssh -F {self.folder / 'client'}"

    def address(self, python: str = sys.executable) -> Address:
        return Address(host=f"{getpass.getuser()}@127.0.0.1", port=self.port, python=python)

    def sessions(self) -> list[psutil.Process]:
        """Return the processes of open connections."""
        return psutil.Process(self.process.pid).children()

    def stop(self) -> None:
        """End the server and all its connections."""
        processes = [*self.sessions(), psutil.Process(self.process.pid)] if self.process.poll() is None else []
        for process in reversed(processes):
            process.kill()
        self.process.wait(60)


def make_key(path: Path) -> str:
    """Create a key and return its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


def start(folder: Path) -> Sshd:
    """Start a server and wait until it accepts connections."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    host = make_key(folder / "host")
    (folder / "authorized").write_text(make_key(folder / "user") + "\n")
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host}\n")
    (folder / "server").write_text(f"""
ListenAddress 127.0.0.1:{port}
HostKey {folder / "host"}
AuthorizedKeysFile {folder / "authorized"}
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PYTHONPATH={ROOT} OMP_NUM_THREADS=1
""")
    (folder / "client").write_text(f"""
Host *
  IdentityFile {folder / "user"}
  IdentitiesOnly yes
  UserKnownHostsFile {folder / "known"}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
""")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SERVER, "-D", "-e", "-f", str(folder / "server")], stderr=log)
    wait_for(port, process)
    return Sshd(folder, port, process)


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    def accepts() -> bool:
        assert process.poll() is None, "sshd ended"
        with socket.socket() as probe:
            return probe.connect_ex((LOCAL, port)) == 0

    eventually(accepts)


def running(folder: Path) -> Iterator[Sshd]:
    """Yield a server; where OpenSSH is missing, skip the test, or fail it in continuous integration."""
    if not (Path(SERVER).exists() and shutil.which("ssh")):
        missing = "OpenSSH's server and client are not installed"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    server = start(folder)
    try:
        yield server
    finally:
        server.stop()
