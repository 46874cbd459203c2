"""Fake devices that misbehave on purpose, and a fake `ssh` that runs their agents on this machine."""

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
from nas.device.messages import *
from nas.device.protocol import encode, parse_request
from nas.device.timing import Timing, Turns

folder = Path(__file__).parent
machine = Machine("Cortex-A76", "asimddp", 4, "", "Linux aarch64", "1.20.0")
timing = Timing(1.0, 0.0, 1.0, 2.0, 3.0, 5)

def send(text):
    sys.stdout.write(text if isinstance(text, str) else text.decode())
    sys.stdout.flush()

def receive():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return parse_request(line)

def send_hello(machine=machine, version="VERSION", protocol=PROTOCOL):
    receive()
    send(encode(HelloReply(machine, ("CPUExecutionProvider",), version, protocol)))

def times(request, count=None):
    return encode(TimingsReply(request.id, Turns((timing,) * (count or len(request.networks)), timing, 0.0, 6)))

def start_count():
    "Return how often this device was started, including this time."
    path = folder / "starts"
    path.write_text(path.read_text() + "x" if path.exists() else "x")
    return len(path.read_text())
"""


@frozen
class Fakes:
    """Create fake devices in a folder."""

    folder: Path

    def address(self, program: str, name: str = "board") -> Address:
        """Return the address of a host whose agent runs this program."""
        from nas.version import __version__

        home = self.folder / name
        home.mkdir()
        (home / "agent.py").write_text(PREAMBLE.replace("VERSION", __version__) + program)
        return Address(host=name, python=self.script(f"exec {sys.executable} {home / 'agent.py'}", f"{name}/python"))

    def script(self, command: str, name: str) -> str:
        """Write a shell script and return its path."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)
        return str(path)

    def starts(self, name: str = "board") -> int:
        """Return how often the device of this name was started."""
        return len((self.folder / name / "starts").read_text())


@pytest.fixture(name="fakes")
def fakes_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """Provide fake devices and a fake `ssh` that reaches them."""
    (tmp_path / "ssh.py").write_text(FAKE_SSH)
    monkeypatch.setenv(SSH, f"{sys.executable} {tmp_path / 'ssh.py'}")
    return Fakes(tmp_path)


def without_pauses(address: Address, pauses: list[float] | None = None) -> Connection:
    """Return a connection that records its pauses instead of waiting."""
    return Connection(address, sleep=(pauses if pauses is not None else []).append)
