"""The process of an agent, on this machine or behind `ssh`, with its pipes and its exit."""

import os
import re
import reprlib
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, cast

from attrs import define, field, frozen

from nas.device.protocol import REPLY_MARK
from nas.device.spec import Address
from nas.device.validation import MAX_LINE, REMEDY, printable
from nas.errors import DeviceError, DeviceLostError

SSH = "NAS_SSH"
"""Environment variable for a command that replaces `ssh`; it may contain options."""
# Without a terminal nobody could answer a question for a password or a host key, so that BatchMode turns each into an
# error. ServerAlive detects a dead connection after about 15 seconds; TCP alone may take hours.
SSH_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_MODULE = ("-m", "nas.device")
_GRACE_SECONDS = 2.0  # An agent has this time to end by itself before it is killed.


def agent_command(address: Address, environment: Mapping[str, str]) -> list[str]:
    """Return the command that starts an agent at an address.

    Args:
        address: Device and machine.
        environment: Environment variables, in which `NAS_SSH` may replace `ssh`.

    Raises:
        DeviceError: The command in `NAS_SSH` cannot be split into words.
    """
    if not address.host:
        return [sys.executable, *_MODULE]
    options = [word for option in SSH_OPTIONS for word in ("-o", option)]
    port = ["-p", str(address.port)] if address.port else []
    # "--" ends the options of ssh, and the remote shell receives the rest as one string, which it splits again.
    return [*_ssh(environment), *options, *port, "--", address.host, " ".join([quoted_path(address.python), *_MODULE])]


def _ssh(environment: Mapping[str, str]) -> list[str]:
    text = environment.get(SSH, "") or "ssh"
    try:
        return shlex.split(text)
    except ValueError as error:
        raise DeviceError(
            f"the environment variable {SSH} is {text!r}, which is no command of a shell: {error}",
            f"write it like {SSH}='ssh -F my_config'",
        ) from None


def quoted_path(path: str) -> str:
    """Quote a path as one word of the remote shell, which still expands `~/` or `~name/` at its start."""
    home, slash, rest = path.partition("/")
    if slash and re.fullmatch(r"~[A-Za-z0-9_.-]*", home):
        return f"{home}/{shlex.quote(rest)}"
    return shlex.quote(path)


@frozen
class AgentExit:
    """Describe how an agent's process ended.

    Attributes:
        code: Exit code of the process, or of ssh for a remote agent; a negative code is the number of a signal.
        stderr_lines: Last lines of stderr.
    """

    code: int
    stderr_lines: tuple[str, ...]

    @property
    def summary(self) -> str:
        """Return the last line of stderr, or the exit code where stderr was empty."""
        return self.stderr_lines[-1] if self.stderr_lines else f"exit code {self.code}"


@define(eq=False)
class AgentProcess:
    """Represent a running agent; one thread at a time may use it."""

    _process: "subprocess.Popen[bytes]"
    _requests: IO[bytes]
    _replies: IO[bytes]
    _errors: IO[bytes]
    _stderr_lines: deque[str] = field(factory=lambda: deque(maxlen=50), init=False)
    _stderr_reader: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._stderr_reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._stderr_reader.start()

    def _read_stderr(self) -> None:
        """Read stderr until it ends; an agent would block in a write once the pipe is full."""
        with self._errors:
            while line := self._errors.readline(4096):
                self._stderr_lines.append(printable(line.decode(errors="replace")))

    def ask(self, request: bytes, seconds: float, *, skip: int = 0) -> bytes:
        """Send a request and return the line of its reply.

        Args:
            request: Line of the request.
            seconds: Time limit for the reply; after it the agent is killed.
            skip: Number of other lines that may precede the reply.

        Raises:
            DeviceLostError: The connection ended, or the time limit was reached.
            DeviceError: The agent sent a line that is no reply.
        """
        with self._time_limit(seconds) as expired:
            with suppress(OSError):  # A write to an agent that has ended fails, but its last reply can still be read.
                self._requests.write(request)
                self._requests.flush()
            found = self._first_reply(skip)
        if not found:
            raise DeviceLostError(f"no reply came in {seconds:g} s" if expired.is_set() else "the connection ended")
        return found

    @contextmanager
    def _time_limit(self, seconds: float) -> Iterator[threading.Event]:
        """Kill the process after a time; the event tells whether that happened.

        A blocking read from a pipe has no portable time limit. Killing the process ends the read.
        """
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            self._kill()

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()
            timer.join()

    def _first_reply(self, skip: int) -> bytes:
        """Return the first line with a reply, or nothing where the connection ended before it."""
        line = b""
        for _ in range(skip + 1):
            line = self._replies.readline(MAX_LINE + 1)
            if not line.endswith(b"\n"):
                return self._incomplete_reply(line)
            start = line.find(REPLY_MARK)
            # Text before the mark is accepted only where a shell may have printed it, which is before the first reply.
            if start == 0 or (skip and start > 0):
                return line[start:]
        raise DeviceError(f"the device answers with something else than a reply: {_excerpt(line)}", REMEDY)

    @staticmethod
    def _incomplete_reply(line: bytes) -> bytes:
        if len(line) > MAX_LINE:
            raise DeviceError(f"the device sent a line of more than {MAX_LINE} bytes, and no reply is longer", REMEDY)
        return b""

    def _kill(self) -> None:
        """Kill the process and all processes that it started: any of them could hold the pipes open."""
        if hasattr(os, "killpg"):
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def end(self, grace: float = _GRACE_SECONDS) -> AgentExit:
        """End the agent and return how it ended; it is killed after `grace` seconds. Repeated calls are allowed."""
        with suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._kill()
        finally:
            code = self._process.wait()
        self._replies.close()
        self._stderr_reader.join(_GRACE_SECONDS)
        return AgentExit(code, tuple(filter(None, self._stderr_lines)))


def _excerpt(line: bytes) -> str:
    return printable(reprlib.repr(line.decode(errors="replace")))


def start_agent(command: Sequence[str]) -> AgentProcess:
    """Start an agent.

    Raises:
        DeviceError: The command cannot be run.
    """
    pipe = subprocess.PIPE
    try:
        # In a separate session the agent does not receive a Ctrl-C of this terminal: this process handles it and then
        # ends the agent. The session is also the process group that `_kill` ends as a whole.
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)  # noqa: S603
    except OSError as error:
        remedy = f"install OpenSSH's client, or name another one in {SSH}"
        raise DeviceError(f"{command[0]} cannot be run: {error.strerror or error}", remedy) from None
    requests, replies, errors = (cast(IO[bytes], each) for each in (process.stdin, process.stdout, process.stderr))
    return AgentProcess(process, requests, replies, errors)
