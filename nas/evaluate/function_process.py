"""A process in which a function of the user is called, so that nothing that it does harms the search.

The function may end its process, crash it, fork it, change its working directory or print to any file descriptor. The
process is not one of `multiprocessing`: it does not import the main module, so that a script needs no guard around its
code, and it may start further processes.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from attrs import define, field, frozen

from nas.errors import EvaluationError, EvaluationLostError, NasError, describe_error
from nas.evaluate.cost_function import find_cost
from nas.evaluate.function import IMPORT_REMEDY, find_function, split_name
from nas.processes import (
    cause_of_end,
    descendants,
    interrupts_blocked,
    is_killed_with_parent,
    kill_all,
    kill_tree,
    signal_name,
)

# The whole search path is set before anything is imported: `nas` itself may be found only in the parent's path.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from nas.evaluate.function_process import serve; serve(*map(int, sys.argv[2:]))"
)
POLL_S = 0.5
EXIT_S = 2.0  # seconds that the process has to exit by itself
# Signals that others send. All other signals that end a process come from what the process itself does.
_FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGHUP")


class Function(Protocol):
    """A function of a user with the check of what it returns."""

    @property
    def name(self) -> str:
        """Return the name of the function, "module:function"."""
        ...

    @property
    def sha256(self) -> str:
        """Return the first digits of the digest of its source file, "" if there is none."""
        ...

    def result(self, argument: Any) -> Any:
        """Call the function and return its checked result."""
        ...


ACCURACY, COST = "accuracy", "cost"
# What a function gives, and how it is imported.
FINDERS: Mapping[str, Callable[[str], Function]] = MappingProxyType({ACCURACY: find_function, COST: find_cost})


class _LateError(Exception):
    """Report that the process has not replied in time, and was killed."""


class _EndedError(Exception):
    """Report that the process has ended instead of replying."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code  # None where it only closed its connection

    @property
    def how(self) -> str:
        """Return how the process ended."""
        if self.code is None:
            return "it closed the connection to nas"
        return f"exit status {self.code}" if self.code >= 0 else signal_name(self.code)

    @property
    def is_from_outside(self) -> bool:
        """Return whether another process has ended it, or the kernel for lack of memory."""
        return self.code is not None and self.code < 0 and signal_name(self.code) in _FROM_OUTSIDE


@frozen(eq=False)
class _Child:
    """Represent the running process; it ends when this object is no longer used.

    Attributes:
        process: The process.
        connection: Connection to it.
        environment: Environment variables that it was started with.
    """

    process: "subprocess.Popen[bytes]"
    connection: Connection
    environment: dict[str, str]

    def __attrs_post_init__(self) -> None:
        weakref.finalize(self, _end, self.process, self.connection)

    @property
    def is_usable(self) -> bool:
        """Return whether it runs in the present environment, which libraries read only once."""
        return self.process.poll() is None and self.environment == dict(os.environ)

    def ask(self, message: object, limit_s: float | None = None) -> Any:
        """Send a message and return the reply.

        Raises:
            _EndedError: There is no reply.
            _LateError: There is no reply within the time limit.
        """
        end = math.inf if limit_s is None else time.monotonic() + limit_s
        try:
            self.connection.send(message)
            # A process that the function has forked may hold the connection open after the end of this one.
            while not self.connection.poll(min(POLL_S, max(0.0, end - time.monotonic()))):
                if self.process.poll() is not None and not self.connection.poll():
                    raise EOFError
                if time.monotonic() >= end:
                    raise _LateError
            return self.connection.recv()
        except (EOFError, OSError):
            raise _EndedError(self._code()) from None
        except BaseException:  # an interrupt or the time limit: what the function does now must not go on
            kill_tree(self.process.pid)
            self.process.wait()
            raise

    def _code(self) -> int | None:
        try:
            return self.process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            kill_tree(self.process.pid)
            self.process.wait()
            return None


@define(eq=False)
class FunctionProcess:
    """Calls a function in a process of its own, which is started when it is needed.

    An object that is sent to another process starts a process there.

    Attributes:
        name: Name of the function, "module:function".
        folder: Folder in which the process works, and in which modules are searched for first.
        gives: What the function gives, a key of `FINDERS`.
        limit_s: Longest duration of a call in seconds, after which the process is ended; None for no limit.
    """

    name: str
    folder: str = field(factory=os.getcwd)
    gives: str = ACCURACY
    limit_s: float | None = None
    _child: _Child | None = field(default=None, init=False)

    def __reduce__(self) -> "tuple[type[FunctionProcess], tuple[str, str, str, float | None]]":
        """Return what pickle sends to another process."""
        return FunctionProcess, (self.name, self.folder, self.gives, self.limit_s)

    def load(self) -> str:
        """Start a process that imports the function, and return the digest of its source file, "" if there is none.

        Raises:
            NasError: There is no such function, or its module cannot be imported.
        """
        self._child = _start(self.folder)
        try:
            reply = self._child.ask((self.gives, self.name))
        except _EndedError as ended:
            module, _ = split_name(self.name)
            raise NasError(
                f"module {module} ended the process while it was imported ({ended.how})",
                f"import it in Python to see why; {IMPORT_REMEDY}",
            ) from None
        if isinstance(reply, NasError):
            raise reply
        return str(reply)

    def call(self, argument: object) -> Any:
        """Return the checked result of the function: an accuracy with its metadata, which may be empty, or a cost.

        Raises:
            EvaluationError: The function failed, ended its process, or took longer than the time limit.
            EvaluationLostError: The process was ended from outside.
            NasError: The function cannot be imported.
        """
        # An idle process may have been ended by a thread or a timer of the function.
        if self._child is None or not self._child.is_usable:
            self.load()
        assert self._child is not None  # noqa: S101 -- `load` sets it or raises
        try:
            reply = self._child.ask(argument, self.limit_s)
        except _LateError:
            raise EvaluationError(f"{self.name} took longer than {self.limit_s:g} s") from None
        except _EndedError as ended:
            if ended.is_from_outside:
                raise EvaluationLostError(f"the process of {self.name} {cause_of_end(ended.code)}") from None
            raise EvaluationError(f"{self.name} ended the process ({ended.how})") from None
        if isinstance(reply, NasError):
            raise reply
        return reply


def _start(folder: str) -> _Child:
    ours, its = Pipe()
    with its, interrupts_blocked():
        process = subprocess.Popen(  # noqa: S603 -- this interpreter
            [sys.executable, "-c", _START, json.dumps(list(map(str, sys.path))), str(its.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            cwd=folder if Path(folder).is_dir() else None,
        )
    return _Child(process, ours, dict(os.environ))


def _end(process: "subprocess.Popen[bytes]", connection: Connection) -> None:
    """End a process that waits for messages, and the programs that the function has started."""
    # Before it ends: then they are no children of it any more. The number of a process that has ended may be another's.
    started = descendants(process.pid) if process.poll() is None else []
    connection.close()
    try:
        process.wait(EXIT_S)
    except subprocess.TimeoutExpired:  # threads that the function has left behind
        kill_tree(process.pid)
        process.wait()
    kill_all(started)


def serve(descriptor: int, parent: int) -> None:
    """Call a function until the other end of the connection is closed; this is the code of the process.

    Args:
        descriptor: File descriptor of the connection.
        parent: Number of the process that started this one.
    """
    _follow(parent)
    os.set_inheritable(descriptor, False)  # a program that the function starts must not hold the connection open
    with suppress(EOFError, OSError):  # the parent has ended, or the function has closed the connection
        _Server(Connection(descriptor)).run()


@frozen
class _Server:
    """Serves a parent process.

    Attributes:
        connection: Connection to the parent.
        pid: Number of this process.
        folder: Folder in which every call begins.
    """

    connection: Connection
    pid: int = field(factory=os.getpid)
    folder: str = field(factory=os.getcwd)

    def run(self) -> None:
        """Import the function that the first message names, then call it with the arguments of all others."""
        # Only now: a file of the folder that has the name of a module of `nas` or Python must not take its place.
        sys.path.insert(0, self.folder)
        try:
            gives, name = self.connection.recv()
            function = FINDERS[gives](name)
        except NasError as error:
            self._reply(error)
            return
        self._reply(function.sha256)
        while True:
            argument = self.connection.recv()
            with suppress(OSError):  # the function may have removed the folder
                os.chdir(self.folder)
            self._reply(_result(function, argument))

    def _reply(self, message: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the function may have closed or replaced them
                stream.flush()
        # A copy of this process that the function has forked comes here as well.
        if os.getpid() != self.pid:
            os._exit(0)
        self.connection.send(message)


def _result(function: Function, argument: object) -> Any:
    try:
        return function.result(argument)
    except EvaluationError as error:
        return error
    except Exception as error:
        return EvaluationError(describe_error(error))
    except BaseException as error:  # in the search itself it would end the process
        return EvaluationError(f"{function.name} ended the process ({describe_error(error)})")


def _follow(parent: int) -> None:
    """Leave interrupts to the parent, and end together with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if not is_killed_with_parent():
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()
    elif os.getppid() != parent:  # it ended before the kernel could know
        os._exit(1)


def _exit_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
