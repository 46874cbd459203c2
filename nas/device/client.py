"""Measurements on local or remote devices, over one connection or a pool of several."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Protocol, Self, TypeVar

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from nas.device.connection import Connection, describe
from nas.device.logits import DeviceLogits
from nas.device.machine import Machine
from nas.device.model_file import ModelFile
from nas.device.spec import Address, Device
from nas.device.timing import Aim, Turns
from nas.errors import DeviceError, DeviceLostError
from nas.graph.fragment import Fragment

__all__ = ["Connection", "DeviceLogits", "Meter", "ModelFile", "Pool", "connect"]
T = TypeVar("T")


class Meter(Protocol):
    """Time networks and compute logits on one kind of machine.

    Several threads may call one meter at the same time; their measurements do not overlap on one machine. A failure
    raises a `DeviceError` and never gives a time.
    """

    @property
    def device(self) -> Device:
        """Return the device, which specifies how networks run."""
        ...

    @property
    def machine(self) -> Machine:
        """Return the machine; its kind is the same for every measurement of this meter."""
        ...

    def measure(self, candidates: Sequence[Fragment | ModelFile], aim: Aim) -> Turns:
        """Time fragments and ONNX files in turn with the reference and with each other."""
        ...

    def measure_each(self, batches: Sequence[Sequence[Fragment | ModelFile]], aim: Aim) -> Iterator[Turns]:
        """Time several batches and yield the results in their order."""
        ...

    def logits(self, model: ModelFile, images: NDArray[np.generic]) -> DeviceLogits:
        """Return the logits of images: uint8 `(N, H, W, C)` or fp32 `(N, C, H, W)`, as the model takes them.

        The images are split by the model's batch, the last one of which is filled up, or by 16 where it is open.
        """
        ...


def _to_tuple(connections: Sequence[Connection]) -> tuple[Connection, ...]:
    return tuple(connections)


@define(eq=False)
class Pool:
    """Share batches among several devices of one kind, one batch at a time on each. The user closes the pool.

    A device that is lost in all attempts leaves the pool, and another device measures its batch.

    Attributes:
        connections: Connections in any order; the pool closes them.

    Raises:
        DeviceError: A device cannot be reached, or two devices differ.
    """

    connections: tuple[Connection, ...] = field(converter=_to_tuple)
    _machine: Machine = field(init=False)
    _idle: deque[Connection] = field(init=False)
    _alive_count: int = field(init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)

    def __attrs_post_init__(self) -> None:
        if not self.connections:
            raise DeviceError("no device is given, and a measurement needs one", "give at least one")
        try:
            self._machine = self._common_machine()
        except BaseException:
            self.close()
            raise
        self._idle, self._alive_count = deque(self.connections), len(self.connections)

    def _common_machine(self) -> Machine:
        first = self.connections[0]
        # Connections open in parallel: each takes seconds, and longer on a slow board.
        with ThreadPoolExecutor(len(self.connections)) as threads:
            machines: list[Machine] = list(threads.map(lambda each: each.machine, self.connections))
        for each, machine in zip(self.connections, machines, strict=True):
            if (each.device, machine.kind) != (first.device, machines[0].kind):
                one, other = _describe_connection(first, machines[0]), _describe_connection(each, machine)
                raise DeviceError(
                    f"{one} and {other} differ, and latencies of different machines cannot be compared",
                    "give only machines of one type with the same version of ONNX Runtime",
                )
        return machines[0]

    @property
    def device(self) -> Device:
        """Return the device that all machines have; see `Meter`."""
        return self.connections[0].device

    @property
    def machine(self) -> Machine:
        """Return the machine of the first connection; see `Meter`."""
        return self._machine

    def measure(self, candidates: Sequence[Fragment | ModelFile], aim: Aim) -> Turns:
        """Time networks on the next idle device; see `Meter`.

        Raises:
            DeviceError: A device rejects the request, or its machine is another one than before.
            DeviceLostError: All devices are lost.
        """
        return self._on_idle(lambda connection: connection.measure(candidates, aim))

    def logits(self, model: ModelFile, images: NDArray[np.generic]) -> DeviceLogits:
        """Return the logits of images, computed on the next idle device; see `Meter`.

        Raises:
            DeviceError: A device rejects the request, or its machine is another one than before.
            DeviceLostError: All devices are lost.
        """
        return self._on_idle(lambda connection: connection.logits(model, images))

    def _on_idle(self, ask: Callable[[Connection], T]) -> T:
        last_loss: DeviceLostError | None = None
        for _ in self.connections:
            connection = self._acquire(last_loss)
            try:
                found = ask(connection)
            except DeviceLostError as error:
                last_loss = error
                self._discard(connection)
                continue
            except BaseException:
                # The device works, although it rejected this request.
                self._release(connection)
                raise
            self._release(connection)
            return found
        raise self._no_device_left(last_loss)

    def measure_each(self, batches: Sequence[Sequence[Fragment | ModelFile]], aim: Aim) -> Iterator[Turns]:
        """Time several batches in parallel; see `Meter`.

        After an error or an early end, batches that have not started are canceled, and the others are waited for.
        """
        # The stack is left before the executor, so that waiting batches are canceled before it joins its threads.
        with ThreadPoolExecutor(len(self.connections)) as threads, ExitStack() as undo:
            waiting = [threads.submit(self.measure, batch, aim) for batch in batches]
            for future in waiting:
                undo.callback(future.cancel)
            for future in waiting:
                yield future.result()

    def close(self) -> None:
        """End all agents; later requests raise a `DeviceError`."""
        # In parallel: each agent that is at work has two seconds to end, and there may be one for each core.
        with ThreadPoolExecutor(len(self.connections)) as threads:
            list(threads.map(Connection.close, self.connections))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _acquire(self, last_loss: DeviceLostError | None) -> Connection:
        """Wait for an idle connection and take it.

        Raises:
            DeviceLostError: All devices are lost.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._idle or not self._alive_count)
            if not self._idle:
                raise self._no_device_left(last_loss)
            return self._idle.popleft()

    def _release(self, connection: Connection) -> None:
        with self._changed:
            self._idle.append(connection)
            self._changed.notify()

    def _discard(self, connection: Connection) -> None:
        connection.close()
        with self._changed:
            self._alive_count -= 1
            # All waiting threads wake up: if this was the last device, each of them has to raise.
            self._changed.notify_all()

    @staticmethod
    def _no_device_left(last_loss: DeviceLostError | None) -> DeviceLostError:
        last = f"; the last one: {last_loss.problem}" if last_loss else ""
        return DeviceLostError(
            f"no device of the pool is left{last}",
            "check that the machines are switched on and that the network reaches them",
        )


def _describe_connection(connection: Connection, machine: Machine) -> str:
    return f"{connection.place} ({describe(machine)}; {connection.device})"


def connect(addresses: Sequence[Address]) -> Connection | Pool:
    """Return a meter over all addresses, which the user closes.

    Args:
        addresses: Different machines of one type, all with the same device.

    Raises:
        DeviceError: There is no address, a machine is given twice, cannot be reached, or differs from another.
    """
    places = [address.place for address in addresses]
    if twice := [place for place in places if places.count(place) > 1]:
        raise DeviceError(
            f"{twice[0] or 'this machine'} is given twice, and a machine runs one measurement at a time",
            "give each machine once",
        )
    if len(addresses) == 1:
        return Connection(addresses[0])
    return Pool([Connection(address) for address in addresses])
