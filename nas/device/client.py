"""Times from devices that may be elsewhere: one connection to an agent, or a pool of several."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Protocol, Self

from attrs import define, field

from nas.device.connection import Connection, describe
from nas.device.machine import Machine
from nas.device.spec import Address, Device
from nas.device.timing import Aim, Turns
from nas.errors import DeviceError, DeviceLostError
from nas.graph.fragment import Fragment

__all__ = ["Connection", "Meter", "Pool", "connect"]


class Meter(Protocol):
    """Times fragments on one kind of machine; several threads may ask at once and get what one would.

    A failure is a `DeviceError` and never a time.
    """

    @property
    def device(self) -> Device:
        """How networks run there."""
        ...

    @property
    def machine(self) -> Machine:
        """The machine; equal in kind for every measurement of this meter."""
        ...

    def measure(self, fragments: Sequence[Fragment], aim: Aim) -> Turns:
        """Time fragments in turn with the reference and with each other."""
        ...

    def measure_each(self, batches: Sequence[Sequence[Fragment]], aim: Aim) -> Iterator[Turns]:
        """Times of several batches, in their order."""
        ...


def _tuple(connections: Sequence[Connection]) -> tuple[Connection, ...]:
    return tuple(connections)


@define(eq=False)
class Pool:
    """Several devices of one kind that share the work, each with one batch at a time; to be closed.

    One that is lost for good is left out, and its batch is measured by another.

    Attributes:
        connections: in any order; the pool ends them.

    Raises:
        DeviceError: one cannot be reached, or two differ.
    """

    connections: tuple[Connection, ...] = field(converter=_tuple)
    _machine: Machine = field(init=False)
    _idle: deque[Connection] = field(init=False)
    _living: int = field(init=False)
    _change: threading.Condition = field(factory=threading.Condition, init=False)

    def __attrs_post_init__(self) -> None:
        if not self.connections:
            raise DeviceError("a pool has no device", "give at least one")
        try:
            self._machine = self._one_kind()
        except BaseException:
            self.close()
            raise
        self._idle, self._living = deque(self.connections), len(self.connections)

    def _one_kind(self) -> Machine:
        first = self.connections[0]
        with ThreadPoolExecutor(len(self.connections)) as threads:
            machines: list[Machine] = list(threads.map(lambda each: each.machine, self.connections))
        for each, machine in zip(self.connections, machines, strict=True):
            if (each.device, machine.kind) != (first.device, machines[0].kind):
                one, other = _told(first, machines[0]), _told(each, machine)
                raise DeviceError(f"{one} and {other} differ", "a pool is of equal machines; measure others apart")
        return machines[0]

    @property
    def device(self) -> Device:
        """See `Meter`."""
        return self.connections[0].device

    @property
    def machine(self) -> Machine:
        """See `Meter`; the first one's."""
        return self._machine

    def measure(self, fragments: Sequence[Fragment], aim: Aim) -> Turns:
        """See `Meter`.

        Raises:
            DeviceError: a device refuses, or is another one than before.
            DeviceLostError: all are lost.
        """
        lost: DeviceLostError | None = None
        for _ in self.connections:
            connection = self._take(lost)
            try:
                turns = connection.measure(fragments, aim)
            except DeviceLostError as error:
                lost = error
                self._leave_out(connection)
                continue
            except BaseException:
                self._put_back(connection)
                raise
            self._put_back(connection)
            return turns
        raise self._none_left(lost)

    def measure_each(self, batches: Sequence[Sequence[Fragment]], aim: Aim) -> Iterator[Turns]:
        """See `Meter`; after an error, what has begun is waited for."""
        with ThreadPoolExecutor(len(self.connections)) as threads, ExitStack() as undo:
            waiting = [threads.submit(self.measure, batch, aim) for batch in batches]
            for future in waiting:
                undo.callback(future.cancel)
            for future in waiting:
                yield future.result()

    def close(self) -> None:
        """End all agents; nothing can be asked any more."""
        for connection in self.connections:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, lost: DeviceLostError | None) -> Connection:
        """One that has nothing to do, when there is one."""
        with self._change:
            self._change.wait_for(lambda: self._idle or not self._living)
            if not self._idle:
                raise self._none_left(lost)
            return self._idle.popleft()

    def _put_back(self, connection: Connection) -> None:
        with self._change:
            self._idle.append(connection)
            self._change.notify()

    def _leave_out(self, connection: Connection) -> None:
        connection.close()
        with self._change:
            self._living -= 1
            self._change.notify_all()

    @staticmethod
    def _none_left(lost: DeviceLostError | None) -> DeviceLostError:
        last = f"; the last one: {lost.problem}" if lost else ""
        return DeviceLostError(f"no device of the pool is left{last}", "see that they are on and can be reached")


def _told(connection: Connection, machine: Machine) -> str:
    return f"{connection.place} ({describe(machine)}; {connection.device})"


def connect(addresses: Sequence[Address]) -> Connection | Pool:
    """A meter over all of these, to be closed; each machine stands there once, and all have the same device.

    Raises:
        DeviceError: there is none, one cannot be reached, or they differ.
    """
    places = [address.place for address in addresses]
    if twice := [place for place in places if places.count(place) > 1]:
        raise DeviceError(f"{twice[0] or 'this machine'} is given twice", "a machine measures one thing at a time")
    if len(addresses) == 1:
        return Connection(addresses[0])
    return Pool([Connection(address) for address in addresses])
