"""Tokens of processes, and whether the process of a token is alive."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from nas.studies.process_identity import _start_time, is_alive, this_process


@pytest.fixture(name="process")
def _process() -> Any:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started
    with contextlib.suppress(ProcessLookupError):
        started.kill()
    started.wait()


def token_of(pid: int) -> str:
    node = this_process().rsplit(" ", 2)[0]
    return f"{node} {pid} {_start_time(pid)}"


def test_this_process_is_alive() -> None:
    assert is_alive(this_process())
    assert this_process() == token_of(os.getpid())


def test_a_process_is_alive_until_it_ends_even_if_nobody_asks_about_it(process: "subprocess.Popen[bytes]") -> None:
    token = token_of(process.pid)
    assert is_alive(token)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still listed
    assert psutil.pid_exists(process.pid)
    assert not is_alive(token)
    process.wait()
    assert not is_alive(token)


def test_a_process_that_ends_while_it_is_looked_at_is_dead(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux opens `/proc/PID/stat` of a process that lives, and fails to read it once the process has ended."""
    token, real = token_of(process.pid), Path.open

    def open_then_end(path: Path, *arguments: Any, **named: Any) -> Any:
        opened = real(path, *arguments, **named)
        if path == Path(f"/proc/{process.pid}/stat"):
            process.kill()
            process.wait()
        return opened

    monkeypatch.setattr(Path, "open", open_then_end)
    assert is_alive(token) is False


def test_another_process_of_the_same_number_is_not_it() -> None:
    node, pid, start = this_process().rsplit(" ", 2)
    assert not is_alive(f"{node} {pid} {int(start) - 100}")


def test_processes_of_other_hosts_cannot_be_seen() -> None:
    assert is_alive("elsewhere 1 1.00") is None
    assert is_alive("a host with spaces 1 1.00") is None


@pytest.mark.parametrize("token", ["", "x", "a b", "host one 2", f"{this_process().rsplit(' ', 2)[0]} one 2"])
def test_what_is_no_token_is_nobodys(token: str) -> None:
    assert is_alive(token) is (None if token == "host one 2" else False)  # noqa: S105 -- of another host
