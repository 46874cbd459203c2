"""A connection to one device, on this machine or over SSH, that restarts its agent after a loss."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Self, TypeVar

import attrs
import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from nas.device.agent_process import AgentExit, AgentProcess, agent_command, start_agent
from nas.device.logits import DeviceLogits, image_parts, joined_logits, read_logits
from nas.device.machine import Machine
from nas.device.messages import (
    CHUNK_BYTES,
    MAX_FILE_BYTES,
    PROTOCOL,
    Bounds,
    ChunkReply,
    ErrorReply,
    FetchRequest,
    FileRequest,
    HelloReply,
    HelloRequest,
    KeptFile,
    LocalFileRequest,
    LogitsReply,
    MeasureRequest,
    MissingReply,
    ReceivedReply,
    Reply,
    Request,
    RunRequest,
    TimingsReply,
    WorkRequest,
)
from nas.device.model_file import ModelFile, StoredBytes
from nas.device.protocol import encode, parse_reply, protocol_versions
from nas.device.spec import Address, Device
from nas.device.timing import Aim, Turns
from nas.device.validation import REMEDY
from nas.errors import DeviceError, DeviceLostError
from nas.graph.fragment import Fragment
from nas.version import __version__

T = TypeVar("T")
R = TypeVar("R", bound=Reply)
_LOG = logging.getLogger(__name__)
HELLO_SECONDS = 60.0
"""Time limit for connecting and for loading the runtime, which takes long on slow boards."""
REPLY_MARGIN = 30.0
"""Seconds that a reply may take beyond the time limit of its measurement, which the agent itself enforces."""
CHUNK_SECONDS = 120.0
"""Time limit for a part of a file, which has at most 1 MiB."""
IMAGE_SECONDS = 2.0
"""Seconds that each image adds to the time limit of a run."""
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

    def describe(self, device: Device) -> Machine:
        """Return the machine as it is for another device than that of this connection, with its GPU for example.

        Raises:
            DeviceError: The machine does not have the device.
        """
        with self._lock:
            _ = self.machine
            return self._with_retries(lambda agent: self._exchange_hello(agent, device, skip=0)).machine

    def measure(self, candidates: Sequence[Fragment | ModelFile], aim: Aim, devices: Sequence[Device] = ()) -> Turns:
        """Time networks; see `nas.device.client.Meter`.

        Args:
            candidates: Fragments and ONNX files.
            aim: When to stop.
            devices: Device of each network on this machine; by default the device of this connection.

        Raises:
            DeviceError: The device rejects the request, or the machine is another one than before.
            DeviceLostError: The connection was lost, and again in every further attempt.
        """
        files = {each.digest: each.data for each in candidates if isinstance(each, ModelFile)}
        networks = tuple(_kept(each) if isinstance(each, ModelFile) else each for each in candidates)
        # The seconds of the aim limit only the rounds; building the graphs and the warm-up need time as well.
        bounds = attrs.evolve(self.bounds, seconds=self.bounds.seconds + aim.seconds)
        with self._lock:
            # The first contact is outside the attempts: a wrong host name or a missing package fails at once.
            _ = self.machine
            request = MeasureRequest(self._next_id(), self.device, networks, aim, bounds, tuple(devices))
            reply = self._with_retries(lambda agent: self._work(agent, request, files, TimingsReply))
        if len(reply.turns.timings) != len(networks):
            count = f"{len(reply.turns.timings)} networks, and {len(networks)} were asked for"
            self._stop_agent(0.0)
            raise DeviceError(f"the device sent times of {count}", REMEDY)
        return reply.turns

    def logits(self, model: ModelFile, images: NDArray[np.generic]) -> DeviceLogits:
        """Return the logits of images, computed on the device; see `nas.device.client.Meter`.

        Raises:
            DeviceError: The device rejects the file, the images or their number, or has too little memory.
            DeviceLostError: The connection was lost, and again in every further attempt.
        """
        with self._lock:
            _ = self.machine
            return joined_logits([self._part_logits(model, part) for part in image_parts(images)])

    def _part_logits(self, model: ModelFile, images: NDArray[np.generic]) -> DeviceLogits:
        """Return the logits of as many images as one request may have."""
        native = images.astype(images.dtype.newbyteorder("="), copy=False)
        file = ModelFile("images", native.tobytes())
        bounds = attrs.evolve(self.bounds, seconds=self.bounds.seconds + IMAGE_SECONDS * len(images))
        count, *sides = images.shape
        shape = (count, sides[0], sides[1], sides[2])
        request = RunRequest(self._next_id(), self.device, _kept(model), file.digest, shape, images.dtype.name, bounds)
        files = {model.digest: model.data, file.digest: file.data}

        def run(agent: AgentProcess) -> DeviceLogits:
            reply = self._work(agent, request, files, LogitsReply)
            return read_logits(reply, self._fetch(agent, reply, count))

        return self._with_retries(run)

    def measure_each(self, batches: Sequence[Sequence[Fragment | ModelFile]], aim: Aim) -> Iterator[Turns]:
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

    def _next_id(self) -> int:
        self._request_count += 1
        return self._request_count

    def _with_retries(self, work: Callable[[AgentProcess], T]) -> T:
        """Work again after each loss; a request changes nothing but kept files, so that it can be repeated."""
        for pause in self.pauses:
            with suppress(DeviceLostError):
                return self._attempt(work)
            self._sleep(pause)
        return self._attempt(work)

    def _attempt(self, work: Callable[[AgentProcess], T]) -> T:
        """Make one attempt.

        After an error the pipe may still hold an old reply, which must not be read as the reply to a later request. The
        agent is therefore ended, and the next request starts another. A refusal is a complete reply.
        """
        agent = self._agent or self._connect()[0]
        try:
            return work(agent)
        except _RefusedError:
            raise
        except DeviceLostError as lost:
            raise self._lost_error(lost, self._stop_agent()) from None
        except BaseException:
            self._stop_agent(0.0)  # Without a grace period: the agent may still be measuring.
            raise

    def _work(self, agent: AgentProcess, request: WorkRequest, files: Mapping[str, bytes], kind: type[R]) -> R:
        """Return the reply to a request, before which the files that the agent lacks are sent.

        It is asked up to three times: an agent with little room may drop a file that it has while it receives another.
        """
        line = encode(request)
        for _ in range(3):
            reply = self._ask(agent, request, line, (kind, MissingReply), request.bounds.seconds + REPLY_MARGIN)
            if isinstance(reply, kind):
                return reply
            missing = reply.digests if isinstance(reply, MissingReply) else ()
            if not files.keys() >= set(missing):
                raise DeviceError("the device asks for a file that is not part of the request", REMEDY)
            for digest in missing:
                self._send_file(agent, digest, files[digest])
        raise self._device_error(
            ErrorReply(request.id, "the device cannot keep all files of a request", "measure fewer files at a time")
        )

    def _send_file(self, agent: AgentProcess, digest: str, data: bytes) -> None:
        if self._has_opened(agent, digest, data):
            return
        for start in range(0, len(data), CHUNK_BYTES):
            part = FileRequest(self._next_id(), digest, len(data), start, data[start : start + CHUNK_BYTES])
            reply = self._ask(agent, part, encode(part), (ReceivedReply,), CHUNK_SECONDS)
            if reply.received != start + len(part.data):
                raise DeviceError(f"the device received {reply.received} bytes of a file", REMEDY)

    def _has_opened(self, agent: AgentProcess, digest: str, data: object) -> bool:
        """Return whether an agent on this machine has opened a file itself, which takes a tenth of the time."""
        if not isinstance(data, StoredBytes) or self.address.host or data.descriptor is None:
            return False
        request = LocalFileRequest(self._next_id(), digest, len(data), data.descriptor)
        with suppress(_RefusedError):  # The agent may be in a container that does not see this process.
            return self._ask(agent, request, encode(request), (ReceivedReply,), CHUNK_SECONDS).received == len(data)
        return False

    def _fetch(self, agent: AgentProcess, reply: LogitsReply, count: int) -> bytes:
        """Return the bytes of the logits of `count` images that a reply describes."""
        size, found = 4 * reply.count * reply.classes, bytearray()
        if reply.count != count or size > MAX_FILE_BYTES:
            shape = f"({reply.count:,}, {reply.classes:,})"
            raise DeviceError(f"the device sent logits {shape}, and those of {count:,} images were asked for", REMEDY)
        while len(found) < size:
            fetch = FetchRequest(self._next_id(), reply.digest, len(found))
            chunk = self._ask(agent, fetch, encode(fetch), (ChunkReply,), CHUNK_SECONDS).data
            if not chunk or len(found) + len(chunk) > size:
                raise DeviceError("the device sent another number of logits than it described", REMEDY)
            found += chunk
        return bytes(found)

    def _ask(self, agent: AgentProcess, request: Request, line: bytes, kinds: tuple[type[R], ...], seconds: float) -> R:
        """Return the reply to a request.

        Raises:
            _RefusedError: The reply is an error.
            DeviceError: The reply has another number or is of another kind.
        """
        reply = parse_reply(agent.ask(line, seconds))
        number = getattr(request, "id", 0)
        # An agent that could not read the request does not know its number and answers with 0.
        if isinstance(reply, ErrorReply) and reply.id in (0, number):
            raise self._device_error(reply)
        if not isinstance(reply, kinds) or getattr(reply, "id", 0) != number:
            raise DeviceError("the device sent a reply to another request", REMEDY)
        return reply

    def _connect(self) -> tuple[AgentProcess, Machine]:
        if self._closed:
            raise DeviceError(
                f"the connection to {self.place} is closed, and a closed connection measures nothing",
                "open another one",
            )
        agent = self._agent = start_agent(agent_command(self.address, os.environ))
        try:
            welcome = self._exchange_hello(agent, self.device, skip=GREETING_LINES)
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

    def _exchange_hello(self, agent: AgentProcess, device: Device, *, skip: int) -> HelloReply:
        line = agent.ask(encode(HelloRequest(device)), HELLO_SECONDS, skip=skip)
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

    def _device_error(self, refusal: ErrorReply) -> "_RefusedError":
        where = f"{self.place}: " if self.address.host else ""
        return _RefusedError(f"{where}{refusal.problem}", refusal.remedy)

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


class _RefusedError(DeviceError):
    """Report a refusal of the device, which continues to answer."""


def _kept(file: ModelFile) -> KeptFile:
    """Return the name under which an agent keeps a file.

    Raises:
        DeviceError: The file is empty or too large.
    """
    if not 0 < len(file.data) <= MAX_FILE_BYTES:
        raise DeviceError(
            f"{file.name} has {len(file.data):,} bytes, and a device takes files of 1 to {MAX_FILE_BYTES:,} bytes",
            "give a complete and smaller file",
        )
    return KeptFile(file.digest, file.name, file.size)
