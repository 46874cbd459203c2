"""Devices that are not what they should be: `ssh` is a script that runs what it is given here."""

import sys
from pathlib import Path

import pytest
from attrs import frozen

from nas.device.agent_process import SSH
from nas.device.connection import Connection
from nas.device.spec import Address

FAKE_SSH = "import os, sys\nos.execvp('sh', ['sh', '-c', sys.argv[-1]])\n"
PREAMBLE = """
import os, sys, time
from pathlib import Path
from nas.device.machine import Machine
from nas.device.protocol import Refusal, Timed, Welcome, encode, parse_request
from nas.device.timing import Timing, Turns

folder = Path(__file__).parent
machine = Machine("Cortex-A76", "asimddp", 4, "", "Linux aarch64", "1.20.0")
timing = Timing(1.0, 0.0, 1.0, 2.0, 3.0, 5)

def say(text):
    sys.stdout.write(text if isinstance(text, str) else text.decode())
    sys.stdout.flush()

def hear():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return parse_request(line)

def greet(machine=machine, version="VERSION", protocol=1):
    hear()
    say(encode(Welcome(machine, ("CPUExecutionProvider",), version, protocol)))

def times(request, count=None):
    return encode(Timed(request.id, Turns((timing,) * (count or len(request.fragments)), timing, 0.0, 6)))

def life():
    "How often it was started, this time included."
    path = folder / "lives"
    path.write_text(path.read_text() + "x" if path.exists() else "x")
    return len(path.read_text())
"""


@frozen
class Fakes:
    """Makes devices in a folder."""

    folder: Path

    def address(self, program: str, name: str = "board") -> Address:
        """A host whose agent is this program."""
        from nas.version import __version__

        home = self.folder / name
        home.mkdir()
        (home / "agent.py").write_text(PREAMBLE.replace("VERSION", __version__) + program)
        return Address(host=name, python=self.script(f"exec {sys.executable} {home / 'agent.py'}", f"{name}/python"))

    def script(self, command: str, name: str) -> str:
        """The path of a shell script."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)
        return str(path)

    def lives(self, name: str = "board") -> int:
        """How often the device of this name was started."""
        return len((self.folder / name / "lives").read_text())


@pytest.fixture(name="fakes")
def fakes_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """Fake devices, and a fake `ssh` to reach them."""
    (tmp_path / "ssh.py").write_text(FAKE_SSH)
    monkeypatch.setenv(SSH, f"{sys.executable} {tmp_path / 'ssh.py'}")
    return Fakes(tmp_path)


def hasty(address: Address, pauses: list[float] | None = None) -> Connection:
    """A connection that notes its pauses instead of making them."""
    return Connection(address, sleep=(pauses if pauses is not None else []).append)
