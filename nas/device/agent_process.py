"""A running agent: its process, lines to it and from it, and how it ended."""

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
from nas.device.validation import MAX_LINE, REMEDY, plain
from nas.errors import DeviceError, DeviceLostError

SSH = "NAS_SSH"
"""The environment variable that holds another command than `ssh`, with options if need be."""
OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_MODULE = ("-m", "nas.device")
_GRACE = 2.0  # seconds in which an agent should end by itself


def command_for(address: Address, environment: Mapping[str, str]) -> list[str]:
    """What to run for an agent there.

    Raises:
        DeviceError: the environment's command for SSH cannot be read.
    """
    if not address.host:
        return [sys.executable, *_MODULE]
    options = [word for option in OPTIONS for word in ("-o", option)]
    port = ["-p", str(address.port)] if address.port else []
    return [*_ssh(environment), *options, *port, "--", address.host, " ".join([quoted(address.python), *_MODULE])]


def _ssh(environment: Mapping[str, str]) -> list[str]:
    text = environment.get(SSH, "") or "ssh"
    try:
        return shlex.split(text)
    except ValueError as error:
        raise DeviceError(f"{SSH} is {text!r}: {error}", f"write it like {SSH}='ssh -F my_config'") from None


def quoted(path: str) -> str:
    """A path as one word of the remote shell, which still puts a home folder for `~` or `~name` in front."""
    home, slash, rest = path.partition("/")
    if slash and re.fullmatch(r"~[A-Za-z0-9_.-]*", home):
        return f"{home}/{shlex.quote(rest)}"
    return shlex.quote(path)


@frozen
class Ending:
    """How an agent's process ended.

    Attributes:
        code: its exit code, of ssh's process for a remote one; below 0 the signal that ended it.
        said: the last lines of its stderr.
    """

    code: int
    said: tuple[str, ...]

    @property
    def last(self) -> str:
        """What it said last, or else its code."""
        return self.said[-1] if self.said else f"exit code {self.code}"


@define(eq=False)
class Link:
    """One agent under way, used by one thread at a time."""

    _process: "subprocess.Popen[bytes]"
    _requests: IO[bytes]
    _replies: IO[bytes]
    _errors: IO[bytes]
    _said: deque[str] = field(factory=lambda: deque(maxlen=50), init=False)
    _listener: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """Stderr is read all the time, or an agent that says much would stand still."""
        with self._errors:
            while line := self._errors.readline(4096):
                self._said.append(plain(line.decode(errors="replace")))

    def ask(self, request: bytes, seconds: float, *, skip: int = 0) -> bytes:
        """Send a line and give the one that answers it.

        Args:
            request: the line.
            seconds: for the answer; after them the agent is killed.
            skip: lines of other things that may stand before the answer.

        Raises:
            DeviceLostError: the connection ended, or the time was up.
            DeviceError: something else than an answer came.
        """
        with self._killed_after(seconds) as late:
            with suppress(OSError):  # what it said before it ended is still to be read
                self._requests.write(request)
                self._requests.flush()
            found = self._first_reply(skip)
        if not found:
            raise DeviceLostError(f"no answer came in {seconds:g} s" if late.is_set() else "the connection ended")
        return found

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[threading.Event]:
        """Ends the process where that is the only way to end a read; the event says whether it came to that."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._kill()

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            timer.join()

    def _first_reply(self, skip: int) -> bytes:
        """Nothing where the connection ended before it."""
        line = b""
        for _ in range(skip + 1):
            line = self._replies.readline(MAX_LINE + 1)
            if not line.endswith(b"\n"):
                return self._unended(line)
            start = line.find(REPLY_MARK)
            if start == 0 or (skip and start > 0):
                return line[start:]
        raise DeviceError(f"the device answers with something else: {_shown(line)}", REMEDY)

    @staticmethod
    def _unended(line: bytes) -> bytes:
        if len(line) > MAX_LINE:
            raise DeviceError(f"the device answers with more than {MAX_LINE} bytes in a line", REMEDY)
        return b""

    def _kill(self) -> None:
        """End it with all that it began and that would keep the pipes open."""
        if hasattr(os, "killpg"):
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def end(self, grace: float = _GRACE) -> Ending:
        """End the agent, by force where it does not in `grace` seconds; may be done again."""
        with suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._kill()
        finally:
            code = self._process.wait()
        self._replies.close()
        self._listener.join(_GRACE)
        return Ending(code, tuple(filter(None, self._said)))


def _shown(line: bytes) -> str:
    return plain(reprlib.repr(line.decode(errors="replace")))


def open_link(command: Sequence[str]) -> Link:
    """Start an agent.

    Raises:
        DeviceError: its command cannot be run.
    """
    pipe = subprocess.PIPE
    try:
        # In a session of its own, a Ctrl-C here reaches this process alone, which then ends the agent.
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)  # noqa: S603
    except OSError as error:
        remedy = f"install OpenSSH's client, or name another one in {SSH}"
        raise DeviceError(f"{command[0]} cannot be run: {error.strerror or error}", remedy) from None
    requests, replies, errors = (cast(IO[bytes], each) for each in (process.stdin, process.stdout, process.stderr))
    return Link(process, requests, replies, errors)
