"""Latencies of several networks on several devices, measured in turn."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs
from attrs import define, field, frozen

from nas.api.candidates import Candidate
from nas.api.errors import explain_missing
from nas.api.latency import Latency, latency_of, setting_of
from nas.errors import DeviceError

if TYPE_CHECKING:
    from nas.device.client import Connection
    from nas.device.machine import Machine
    from nas.device.spec import Address, Device
    from nas.device.timing import Aim, Ratio, Turns

PASSES = 3
"""Number of measurements of each machine where several machines are compared."""


@frozen
class NetworkLatency(Latency):
    """Hold the measured latency of one network among several.

    Attributes:
        latency_ms: Latency of a batch in milliseconds.
        spread_ms: Standard error of `latency_ms`.
        min_ms: Smallest time of a run.
        median_ms: Median time of a run as the clock showed it.
        p95_ms: 95th percentile of the times.
        repeats: Number of runs that count.
        name: Name of the network.
        precision: Precision of the network; "own" for an ONNX file, which has one of its own.
        resolution: Height of the images in pixels.
        macs: Multiply-adds for one image; None for an ONNX file.
        params: Number of parameters; None for an ONNX file.
        ratio: Latency divided by that of the first network on the first device.
        ratio_spread: Standard error of `ratio`.
        paired: Whether both ran in the same rounds, whose times the ratio compares. On different machines it is the
            quotient of two separate measurements.
    """

    name: str
    precision: str
    resolution: int
    macs: int | None
    params: int | None
    ratio: float
    ratio_spread: float
    paired: bool


@frozen
class LatencyReport:
    """Hold the latencies of networks on one device, and where and how they were measured.

    Attributes:
        device: Device with all its settings, for example "cpu:threads=1,batch=1,precision=fp32".
        provider: Execution provider of ONNX Runtime.
        threads: Number of threads.
        batch: Number of images in a batch.
        precision: Precision of the networks that are no ONNX files.
        cpu: Name of the CPU.
        accelerator: Name of the accelerator; "" if there is none.
        system: Operating system.
        runtime: Version of ONNX Runtime.
        noise: Half the distance of the quartiles of the reference's times, as a share of their median.
        noisy: Whether other work disturbed the machine.
        warmups: Number of runs before the measurement that do not count.
        reference: Latency of the reference network, on the first device of the same machine.
        networks: Latencies of the networks, in the order in which they were given.
        place: Machine that has the device, for example "ssh://me@board"; "" for this machine.
    """

    device: str
    provider: str
    threads: int
    batch: int
    precision: str
    cpu: str
    accelerator: str
    system: str
    runtime: str
    noise: float
    noisy: bool
    warmups: int
    reference: Latency
    networks: tuple[NetworkLatency, ...]
    place: str = ""


@define(eq=False)
class _Machine:
    """Measure all candidates on all devices of one machine, in turn with each other.

    Attributes:
        place: The machine as users write it; "" for this one.
        connection: Connection to the machine, with the first of the devices.
        descriptions: Description of the machine for each device, for example with its GPU.
        entries: Each network with its device, in the order of the measurement.
        passes: Measurements so far.
    """

    place: str
    connection: "Connection"
    descriptions: "dict[Device, Machine]"
    entries: "list[tuple[Candidate, Device]]"
    passes: "list[Turns]" = field(factory=list, init=False)

    def measure(self, aim: "Aim") -> None:
        networks = [candidate.for_device(device) for candidate, device in self.entries]
        self.passes.append(self.connection.measure(networks, aim, [device for _, device in self.entries]))


@explain_missing()
def measure_together(candidates: Sequence[Candidate], devices: Sequence[str], aim: "Aim") -> list[LatencyReport]:
    """Measure networks on devices, in turn with each other and with the reference network.

    On one machine, everything runs once in each round: all networks on all of its devices. Several machines measure
    one after another, in several passes. An ONNX file has a precision of its own: devices that differ in nothing else
    are one device to it.

    Args:
        candidates: The networks.
        devices: Devices as users write them; those of one machine may differ in anything.
        aim: When the measurement of a machine is good enough.

    Returns:
        A report for each device on which something was measured.

    Raises:
        DeviceError: A device cannot be read, reached or used, is given twice, or cannot run a network.
    """
    from nas.device.client import Connection
    from nas.device.spec import parse_address
    from nas.device.timing import joined

    addresses = [parse_address(text) for text in devices]
    if twice := next((each.short for each in addresses if addresses.count(each) > 1), None):
        raise DeviceError(f"the device {twice} is given twice", "give each device once")
    with ExitStack() as stack:
        machines = []
        for own in _by_machine(addresses):
            connection = stack.enter_context(Connection(own[0]))
            descriptions = {own[0].device: connection.machine}
            descriptions |= {each.device: connection.describe(each.device) for each in own[1:]}
            entries = _entries(candidates, [each.device for each in own])
            machines.append(_Machine(own[0].place, connection, descriptions, entries))
        passes = PASSES if len(machines) > 1 else 1
        for _ in range(passes):
            for machine in machines:
                machine.measure(attrs.evolve(aim, seconds=aim.seconds / passes))
    turns = [joined(machine.passes) if passes > 1 else machine.passes[0] for machine in machines]
    return [
        _report(each, device, own, turns[0])
        for each, own in zip(machines, turns, strict=True)
        for device in dict.fromkeys(device for _, device in each.entries)
    ]


def _by_machine(addresses: "Sequence[Address]") -> "list[list[Address]]":
    """Return the addresses of each machine together."""
    groups: dict[tuple[str, str], list[Address]] = {}
    for address in addresses:
        groups.setdefault((address.place, address.python), []).append(address)
    return list(groups.values())


def _entries(candidates: Sequence[Candidate], devices: "Sequence[Device]") -> "list[tuple[Candidate, Device]]":
    """Return what is measured on one machine: files only once on devices that differ in nothing but their precision."""
    entries: dict[tuple[Candidate, Device], tuple[Candidate, Device]] = {}
    for device in devices:
        for each in candidates:
            key = attrs.evolve(device, precision="fp32") if each.file is not None else device
            entries.setdefault((each, key), (each, device))
    return list(entries.values())


def _report(machine: _Machine, device: "Device", turns: "Turns", first: "Turns") -> LatencyReport:
    from nas.cost.analytic import cost

    networks = [
        NetworkLatency(
            **attrs.asdict(latency_of(turns, turns.timings[at])),
            name=candidate.name,
            precision="own" if candidate.file is not None else device.precision,
            resolution=candidate.size[0],
            macs=costs.macs if costs else None,
            params=costs.params if costs else None,
            ratio=ratio.value,
            ratio_spread=ratio.value * ratio.spread,
            paired=turns is first,
        )
        for at, (candidate, its_device) in enumerate(machine.entries)
        if its_device == device
        for ratio, costs in [(_ratio(turns, at, first), cost(candidate.arch) if candidate.arch else None)]
    ]
    return LatencyReport(
        **setting_of(device, machine.descriptions[device], turns),
        reference=latency_of(turns, turns.reference, turns.noise * turns.reference.median_ms),
        networks=tuple(networks),
        place=machine.place,
    )


def _ratio(turns: "Turns", at: int, first: "Turns") -> "Ratio":
    """Return the ratio of a network to the first one of the first machine."""
    from nas.device.timing import Ratio

    if turns is first:
        return turns.ratio(at, 0)
    timing, base = turns.timings[at], first.timings[0]
    value = latency_of(turns, timing).latency_ms / latency_of(first, base).latency_ms
    return Ratio(value, (timing.spread**2 + base.spread**2) ** 0.5)
