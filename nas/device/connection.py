"""One device that may be elsewhere: an agent that is asked, and asked again where it is lost."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Self

import attrs
from attrs import define, field

from nas.device.link import Ending, Link, command_for, open_link
from nas.device.machine import Machine
from nas.device.requests import (
    PROTOCOL,
    Bounds,
    Hello,
    Measure,
    Refusal,
    Reply,
    Timed,
    Welcome,
    encode,
    parse_reply,
    spoken_versions,
)
from nas.device.strict import REMEDY
from nas.device.timing import Aim, Turns
from nas.device.words import Address, Device
from nas.errors import DeviceError, DeviceLostError
from nas.graph.fragment import Fragment
from nas.version import __version__

_LOG = logging.getLogger(__name__)
HELLO_SECONDS = 60.0
"""For connecting and loading the runtime, on slow boards too."""
ALLOWANCE = 30.0
"""Seconds that an answer may take longer than the measurement."""
GREETING_LINES = 200
"""What a shell's start files may print before the agent is heard."""


@define(eq=False)
class Connection:
    """An agent here or over SSH, started when first needed and once more where it is lost; to be closed.

    Attributes:
        address: where, and how networks run there.
        bounds: of one measurement, beside the seconds that its aim asks for.
        pauses: seconds before each further attempt after a loss.
    """

    address: Address
    bounds: Bounds = field(factory=Bounds)
    pauses: tuple[float, ...] = (0.5, 2.0)
    _sleep: Callable[[float], None] = time.sleep
    _link: Link | None = field(default=None, init=False)
    _machine: Machine | None = field(default=None, init=False)
    _asked: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    _turn: threading.RLock = field(factory=threading.RLock, init=False)

    @property
    def place(self) -> str:
        """Where, for messages."""
        return self.address.place or "this machine"

    @property
    def device(self) -> Device:
        """See `nas.device.client.Meter`."""
        return self.address.device

    @property
    def machine(self) -> Machine:
        """See `nas.device.client.Meter`; connects where that has not been done.

        Raises:
            DeviceError: there is no agent of this version, or it has no such device.
        """
        with self._turn:
            return self._machine or self._connect()[1]

    def measure(self, fragments: Sequence[Fragment], aim: Aim) -> Turns:
        """See `nas.device.client.Meter`.

        Raises:
            DeviceError: the device refuses, or is another one than before.
            DeviceLostError: it was lost, and again on every further attempt.
        """
        with self._turn:
            _ = self.machine  # what cannot be reached at all is not tried again
            self._asked += 1
            bounds = attrs.evolve(self.bounds, seconds=self.bounds.seconds + aim.seconds)
            request = Measure(self._asked, self.device, tuple(fragments), aim, bounds)
            reply = self._persist(request, encode(request))
        if isinstance(reply, Refusal):
            raise self._refused(reply)
        return reply.turns

    def measure_each(self, batches: Sequence[Sequence[Fragment]], aim: Aim) -> Iterator[Turns]:
        """See `nas.device.client.Meter`."""
        return (self.measure(batch, aim) for batch in batches)

    def close(self) -> None:
        """End the agent; nothing can be asked any more."""
        self._closed = True
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _persist(self, request: Measure, line: bytes) -> Timed | Refusal:
        for pause in self.pauses:
            with suppress(DeviceLostError):
                return self._ask(request, line)
            self._sleep(pause)
        return self._ask(request, line)

    def _ask(self, request: Measure, line: bytes) -> Timed | Refusal:
        """One attempt; after an error nothing is known of the link, so that it is given up."""
        link = self._link or self._connect()[0]
        try:
            return _fitting(request, parse_reply(link.ask(line, request.bounds.seconds + ALLOWANCE)))
        except DeviceLostError as lost:
            raise self._lost(lost, self._drop()) from None
        except BaseException:
            self._drop(0.0)
            raise

    def _connect(self) -> tuple[Link, Machine]:
        if self._closed:
            raise DeviceError(f"the connection to {self.place} is closed", "connect again")
        link = self._link = open_link(command_for(self.address, os.environ))
        try:
            welcome = self._greet(link)
            self._machine = self._same(welcome.machine)
        except DeviceLostError as lost:
            raise self._unreached(lost, self._drop()) from None
        except BaseException:
            self._drop(0.0)
            raise
        _LOG.debug("Connected to %s on %s: %s.", self.device, self.place, describe(welcome.machine))
        return link, welcome.machine

    def _drop(self, grace: float = 2.0) -> Ending:
        link, self._link = self._link, None
        return link.end(grace) if link else Ending(0, ())

    def _greet(self, link: Link) -> Welcome:
        line = link.ask(encode(Hello(self.device)), HELLO_SECONDS, skip=GREETING_LINES)
        self._check_versions(spoken_versions(line))
        reply = parse_reply(line)
        if isinstance(reply, Refusal):
            raise self._refused(reply)
        if not isinstance(reply, Welcome):
            raise DeviceError(f"{self.place} answers a hello with times", REMEDY)
        return reply

    def _check_versions(self, theirs: tuple[int, str] | None) -> None:
        if theirs and (theirs[0], _series(theirs[1])) != (PROTOCOL, _series(__version__)):
            raise DeviceError(
                f"{self.place} has hwnas {theirs[1]} (protocol {theirs[0]}), "
                f"and here is {__version__} (protocol {PROTOCOL})",
                self._install(),
            )

    def _install(self) -> str:
        python = self.address.python if self.address.host else sys.executable
        return f"run there: {python} -m pip install 'hwnas[latency]=={_series(__version__)}.*'"

    def _same(self, machine: Machine) -> Machine:
        before = self._machine or machine
        if machine.kind != before.kind:
            raise DeviceError(
                f"{self.place} is another device than before: {describe(machine)}, not {describe(before)}",
                "times of two machines are not compared; measure again from the start",
            )
        return before

    def _refused(self, refusal: Refusal) -> DeviceError:
        where = f"{self.place}: " if self.address.host else ""
        return DeviceError(f"{where}{refusal.problem}", refusal.remedy)

    def _lost(self, lost: DeviceLostError, ending: Ending) -> DeviceLostError:
        return DeviceLostError(f"{self.place}: {lost.problem} ({ending.last})", "see that it is on and can be reached")

    def _unreached(self, lost: DeviceLostError, ending: Ending) -> DeviceError:
        """Why no agent answered, as far as its end tells."""
        if missing := [line for line in ending.said if "No module named" in line]:
            problem = f"{self.place} has no agent to measure with: {missing[-1]}"
            return DeviceError(problem, f"hwnas, onnx and onnxruntime are needed; {self._install()}")
        if self.address.host and ending.code in _NOT_RUN:
            remedy = "name an interpreter like ssh://user@host?cpu,python=/opt/nas/bin/python"
            return DeviceError(f"{self.place} cannot run {self.address.python}: {ending.last}", remedy)
        if self.address.host and ending.code == _SSH_FAILED:
            port = f"-p {self.address.port} " if self.address.port else ""
            remedy = f"see that `ssh {port}{self.address.host} true` works without a password"
            return DeviceLostError(f"ssh to {self.place} failed: {ending.last}", remedy)
        return self._lost(lost, ending)


_NOT_RUN = (126, 127)  # of a shell: no such command, or none that can be run
_SSH_FAILED = 255


def _series(version: str) -> str:
    return ".".join(version.split(".")[:2])


def describe(machine: Machine) -> str:
    """What makes its times comparable, for messages."""
    return ", ".join(filter(None, machine.kind))


def _fitting(request: Measure, reply: Reply) -> Timed | Refusal:
    """The reply, if it belongs to the request."""
    if isinstance(reply, Refusal) and reply.id in (0, request.id):
        return reply
    if not isinstance(reply, Timed) or reply.id != request.id:
        raise DeviceError("the device answers something else than was asked", REMEDY)
    if len(reply.turns.timings) != len(request.fragments):
        count = f"{len(reply.turns.timings)} networks, and {len(request.fragments)} were asked for"
        raise DeviceError(f"the device gives times of {count}", REMEDY)
    return reply
