"""A connection to one device, on this machine or over SSH, that restarts its agent after a loss."""

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

from nas.device.agent_process import AgentExit, AgentProcess, agent_command, start_agent
from nas.device.machine import Machine
from nas.device.protocol import (
    PROTOCOL,
    Bounds,
    ErrorReply,
    HelloReply,
    HelloRequest,
    MeasureRequest,
    Reply,
    TimingsReply,
    encode,
    parse_reply,
    protocol_versions,
)
from nas.device.spec import Address, Device
from nas.device.timing import Aim, Turns
from nas.device.validation import REMEDY
from nas.errors import DeviceError, DeviceLostError
from nas.graph.fragment import Fragment
from nas.version import __version__

_LOG = logging.getLogger(__name__)
HELLO_SECONDS = 60.0
"""Time limit for connecting and for loading the runtime, which takes long on slow boards."""
REPLY_MARGIN = 30.0
"""Seconds that a reply may take beyond the time limit of its measurement, which the agent itself enforces."""
GREETING_LINES = 200
"""Number of lines that the start files of a remote shell may print before the first reply."""


@define(eq=False)
class Connection:
    """Connect to one agent; it starts with the first request, and again after a loss. The user closes the connection.

    Attributes:
        address: Machine and device.
        bounds: Limits of one measurement; the seconds of its aim are added to the time limit.
        pauses: Seconds to wait before each further attempt after a loss.
    """

    address: Address
    bounds: Bounds = field(factory=Bounds)
    pauses: tuple[float, ...] = (0.5, 2.0)
    _sleep: Callable[[float], None] = time.sleep
    _agent: AgentProcess | None = field(default=None, init=False)
    _machine: Machine | None = field(default=None, init=False)
    _request_count: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    # Reentrant, because `measure` reads `machine` while it holds the lock.
    _lock: threading.RLock = field(factory=threading.RLock, init=False)

    @property
    def place(self) -> str:
        """Return the name of the machine for messages."""
        return self.address.place or "this machine"

    @property
    def device(self) -> Device:
        """Return the device; see `nas.device.client.Meter`."""
        return self.address.device

    @property
    def machine(self) -> Machine:
        """Return the machine, after connecting where necessary; see `nas.device.client.Meter`.

        Raises:
            DeviceError: The machine has no agent of this version, or does not have the device.
        """
        with self._lock:
            return self._machine or self._connect()[1]

    def measure(self, fragments: Sequence[Fragment], aim: Aim) -> Turns:
        """Time fragments; see `nas.device.client.Meter`.

        Raises:
            DeviceError: The device rejects the request, or the machine is another one than before.
            DeviceLostError: The connection was lost, and again in every further attempt.
        """
        with self._lock:
            # The first contact is outside the attempts: a wrong host name or a missing package fails at once.
            _ = self.machine
            self._request_count += 1
            # The seconds of the aim limit only the rounds; building the graphs and the warm-up need time as well.
            bounds = attrs.evolve(self.bounds, seconds=self.bounds.seconds + aim.seconds)
            request = MeasureRequest(self._request_count, self.device, tuple(fragments), aim, bounds)
            reply = self._ask_with_retries(request, encode(request))
        if isinstance(reply, ErrorReply):
            raise self._device_error(reply)
        return reply.turns

    def measure_each(self, batches: Sequence[Sequence[Fragment]], aim: Aim) -> Iterator[Turns]:
        """Time batches one after another; see `nas.device.client.Meter`."""
        return (self.measure(batch, aim) for batch in batches)

    def close(self) -> None:
        """End the agent; later requests raise a `DeviceError`.

        This takes no lock, so that it also ends a measurement that another thread is waiting for.
        """
        self._closed = True
        self._stop_agent()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_with_retries(self, request: MeasureRequest, line: bytes) -> TimingsReply | ErrorReply:
        """Ask again after each loss; a measurement changes nothing on the device, so that it can be repeated."""
        for pause in self.pauses:
            with suppress(DeviceLostError):
                return self._ask(request, line)
            self._sleep(pause)
        return self._ask(request, line)

    def _ask(self, request: MeasureRequest, line: bytes) -> TimingsReply | ErrorReply:
        """Make one attempt.

        After an error the pipe may still hold an old reply, which must not be read as the reply to a later request. The
        agent is therefore ended, and the next request starts another.
        """
        agent = self._agent or self._connect()[0]
        try:
            return _matching_reply(request, parse_reply(agent.ask(line, request.bounds.seconds + REPLY_MARGIN)))
        except DeviceLostError as lost:
            raise self._lost_error(lost, self._stop_agent()) from None
        except BaseException:
            self._stop_agent(0.0)  # Without a grace period: the agent may still be measuring.
            raise

    def _connect(self) -> tuple[AgentProcess, Machine]:
        if self._closed:
            raise DeviceError(
                f"the connection to {self.place} is closed, and a closed connection measures nothing",
                "open another one",
            )
        agent = self._agent = start_agent(agent_command(self.address, os.environ))
        try:
            welcome = self._exchange_hello(agent)
            self._machine = self._check_same_machine(welcome.machine)
        except DeviceLostError as lost:
            raise self._unreachable_error(lost, self._stop_agent()) from None
        except BaseException:
            self._stop_agent(0.0)
            raise
        _LOG.debug("Connected to %s on %s: %s.", self.device, self.place, describe(welcome.machine))
        return agent, welcome.machine

    def _stop_agent(self, grace: float = 2.0) -> AgentExit:
        agent, self._agent = self._agent, None
        return agent.end(grace) if agent else AgentExit(0, ())

    def _exchange_hello(self, agent: AgentProcess) -> HelloReply:
        line = agent.ask(encode(HelloRequest(self.device)), HELLO_SECONDS, skip=GREETING_LINES)
        self._check_versions(protocol_versions(line))
        reply = parse_reply(line)
        if isinstance(reply, ErrorReply):
            raise self._device_error(reply)
        if not isinstance(reply, HelloReply):
            raise DeviceError(f"{self.place} answers a hello with times instead of its description", REMEDY)
        return reply

    def _check_versions(self, versions: tuple[int, str] | None) -> None:
        # Patch versions of one minor version use the same protocol and the same graphs.
        if versions and (versions[0], _minor_version(versions[1])) != (PROTOCOL, _minor_version(__version__)):
            raise DeviceError(
                f"{self.place} has hwnas {versions[1]} (protocol {versions[0]}), "
                f"and here is {__version__} (protocol {PROTOCOL}); both machines need the same minor version",
                self._install_command(),
            )

    def _install_command(self) -> str:
        python = self.address.python if self.address.host else sys.executable
        return f"run on that machine: {python} -m pip install 'hwnas[latency]=={_minor_version(__version__)}.*'"

    def _check_same_machine(self, machine: Machine) -> Machine:
        before = self._machine or machine
        if machine.kind != before.kind:
            raise DeviceError(
                f"{self.place} is another device than before: {describe(machine)}, not {describe(before)}",
                "latencies of two types of machine cannot be compared; start all measurements again on one of them",
            )
        return before

    def _device_error(self, refusal: ErrorReply) -> DeviceError:
        where = f"{self.place}: " if self.address.host else ""
        return DeviceError(f"{where}{refusal.problem}", refusal.remedy)

    def _lost_error(self, lost: DeviceLostError, exited: AgentExit) -> DeviceLostError:
        problem = f"{self.place}: {lost.problem} ({exited.summary})"
        return DeviceLostError(problem, "check that the machine is switched on and that the network reaches it")

    def _unreachable_error(self, lost: DeviceLostError, exited: AgentExit) -> DeviceError:
        """Return the error for an agent that never answered; the exit of its process shows the cause."""
        if missing := [line for line in exited.stderr_lines if "No module named" in line]:
            problem = f"{self.place} cannot run the agent: {missing[-1]}"
            return DeviceError(problem, f"hwnas, onnx and onnxruntime are needed; {self._install_command()}")
        if self.address.host and exited.code in _SHELL_CANNOT_RUN:
            remedy = "name an interpreter like ssh://user@host?cpu,python=/opt/nas/bin/python"
            return DeviceError(f"{self.place} cannot run {self.address.python}: {exited.summary}", remedy)
        if self.address.host and exited.code == _SSH_FAILED_CODE:
            port = f"-p {self.address.port} " if self.address.port else ""
            remedy = f"make sure that `ssh {port}{self.address.host} true` works without a password"
            return DeviceLostError(f"ssh to {self.place} failed: {exited.summary}", remedy)
        return self._lost_error(lost, exited)


_SHELL_CANNOT_RUN = (126, 127)  # POSIX shells: the command was found but is not executable, or was not found.
_SSH_FAILED_CODE = 255  # ssh(1): an error occurred; any other code is that of the remote command.


def _minor_version(version: str) -> str:
    return ".".join(version.split(".")[:2])


def describe(machine: Machine) -> str:
    """Return the properties of a machine that its latencies depend on, for messages."""
    return ", ".join(filter(None, machine.kind))


def _matching_reply(request: MeasureRequest, reply: Reply) -> TimingsReply | ErrorReply:
    """Return the reply if it belongs to the request.

    Raises:
        DeviceError: It has another number, or times of another number of fragments.
    """
    # An agent that could not read the request does not know its number and answers with 0.
    if isinstance(reply, ErrorReply) and reply.id in (0, request.id):
        return reply
    if not isinstance(reply, TimingsReply) or reply.id != request.id:
        raise DeviceError("the device sent a reply to another request", REMEDY)
    if len(reply.turns.timings) != len(request.fragments):
        count = f"{len(reply.turns.timings)} networks, and {len(request.fragments)} were asked for"
        raise DeviceError(f"the device sent times of {count}", REMEDY)
    return reply
