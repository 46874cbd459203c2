"""Measurements of latency on a device."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.errors import NasError

# ONNX Runtime is an optional package, so it is imported when a function is called.
if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.device.client import Meter
    from nas.device.timing import Aim, Timing, Turns

SPREAD = 0.005
SECONDS = 5.0
MOST_ROUNDS = 10_000


@frozen
class Latency:
    """Hold the measured latency of one network, for one batch.

    Attributes:
        latency_ms: Latency in milliseconds: the median ratio to the reference network, which ran in turn with it, times
            the median time of the reference.
        spread_ms: Standard error of `latency_ms`; for the reference, half the distance of the quartiles.
        min_ms: Smallest time of a run.
        median_ms: Median time of a run as the clock showed it.
        p95_ms: 95th percentile of the times.
        repeats: Number of runs that count.
    """

    latency_ms: float
    spread_ms: float
    min_ms: float
    median_ms: float
    p95_ms: float
    repeats: int


@frozen
class LatencyReport:
    """Hold the latencies of networks that were measured in turn with each other, and where they were measured.

    Attributes:
        device: Device with all its settings, for example "cpu:threads=1,batch=1,precision=fp32".
        provider: Execution provider of ONNX Runtime.
        threads: Number of threads.
        batch: Number of images in a batch.
        precision: Precision of the network.
        cpu: Name of the CPU.
        accelerator: Name of the accelerator; "" if there is none.
        system: Operating system.
        runtime: Version of ONNX Runtime.
        noise: Half the distance of the quartiles of the reference's times, as a share of their median.
        noisy: Whether other work disturbed the machine.
        warmups: Number of runs before the measurement that do not count.
        reference: Latency of the reference network.
        networks: Latencies of the networks, in the order in which they were given.
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
    networks: tuple[Latency, ...]


@frozen
class LatencyMeasurement(Latency):
    """Hold the measured latency of one network, and where and how it was measured.

    Attributes:
        latency_ms: Latency of a batch in milliseconds.
        spread_ms: Standard error of `latency_ms`.
        min_ms: Smallest time of a run.
        median_ms: Median time of a run as the clock showed it.
        p95_ms: 95th percentile of the times.
        repeats: Number of runs that count.
        device: Device with all its settings, for example "cpu:threads=1,batch=1,precision=fp32".
        provider: Execution provider of ONNX Runtime.
        threads: Number of threads.
        batch: Number of images in a batch.
        precision: Precision of the network.
        cpu: Name of the CPU.
        accelerator: Name of the accelerator; "" if there is none.
        system: Operating system.
        runtime: Version of ONNX Runtime.
        noise: Half the distance of the quartiles of the reference's times, as a share of their median.
        noisy: Whether other work disturbed the machine.
        warmups: Number of runs before the measurement that do not count.

    >>> import nas
    >>> measured = nas.measure_latency(nas.load_architecture("mnasnet-small"), seconds=0.5)
    >>> measured.precision, measured.batch, measured.spread_ms < measured.latency_ms
    ('fp32', 1, True)
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


@check_arguments
@explain_missing()
def measure_latency(
    arch: "Architecture",
    device: str | Sequence[str] = "cpu",
    *,
    spread: float = SPREAD,
    seconds: float = SECONDS,
) -> LatencyMeasurement:
    """Measure the latency of a network in ONNX Runtime.

    The network runs with random weights, in turn with a small reference network, until the standard error is small
    enough or the time is over.

    Args:
        arch: The architecture; use `arch.adapted(resolution=…, classes=…)` to measure it with other images.
        device: Device, for example "cpu", "cpu:threads=4,batch=8", "cpu:precision=int8" or "ssh://me@board"; several
            equal ones share the work.
        spread: Standard error to reach, as a share of the latency.
        seconds: Time limit in seconds.

    Returns:
        The latency of a batch in milliseconds, its standard error, and the device, the runtime and the settings.

    Raises:
        DeviceError: The device cannot be read or reached, or it cannot run the network.
        MissingPackageError: ONNX or ONNX Runtime is not installed.

    >>> import nas
    >>> measured = nas.measure_latency(nas.load_architecture("mnasnet-small"), "cpu:threads=1", seconds=0.5)
    >>> measured.latency_ms > 0, measured.threads, measured.device
    (True, 1, 'cpu:threads=1,batch=1,precision=fp32')
    """
    from nas.api.architectures import check_architecture
    from nas.api.devices import connected

    check_architecture(arch)
    aim = make_aim(spread, seconds)
    with connected([device] if isinstance(device, str) else device) as meter:
        report = measure_in_turn([arch], meter, aim)
    (latency,) = report.networks
    where = {name: value for name, value in attrs.asdict(report).items() if name not in ("reference", "networks")}
    return LatencyMeasurement(**attrs.asdict(latency), **where)


def make_aim(spread: float, seconds: float) -> "Aim":
    """Return when a measurement is good enough.

    Raises:
        NasError: The standard error or the time limit is outside its range.
    """
    from nas.device.timing import Aim

    for name, value, low, high in (("spread", spread, 0.0005, 1), ("seconds", seconds, 0.1, 3600)):
        if not low <= value <= high:
            raise NasError(f"{name} is {value!r}", f"give a number from {low:g} to {high:,}")
    return Aim(spread=spread, seconds=seconds, most=MOST_ROUNDS)


def measure_in_turn(archs: "Sequence[Architecture]", meter: "Meter", aim: "Aim") -> LatencyReport:
    """Measure networks in turn with each other and with the reference network.

    Args:
        archs: The architectures.
        meter: The device.
        aim: When the measurement is good enough.

    Raises:
        DeviceError: The device fails.
    """
    from nas.graph.fragment import whole

    turns = meter.measure([whole(arch) for arch in archs], aim)
    device, machine = meter.device, meter.machine
    return LatencyReport(
        device=str(device),
        provider=device.provider,
        threads=device.threads,
        batch=device.batch,
        precision=device.precision,
        cpu=machine.cpu,
        accelerator=machine.accelerator,
        system=machine.system,
        runtime=machine.runtime,
        noise=turns.noise,
        noisy=turns.noisy,
        warmups=turns.warmups,
        reference=_latency(turns, turns.reference, turns.noise * turns.reference.median_ms),
        networks=tuple(_latency(turns, timing) for timing in turns.timings),
    )


def _latency(turns: "Turns", timing: "Timing", spread_ms: float | None = None) -> Latency:
    latency_ms = timing.ratio * turns.reference.median_ms
    return Latency(
        latency_ms,
        timing.spread * latency_ms if spread_ms is None else spread_ms,
        timing.min_ms,
        timing.median_ms,
        timing.p95_ms,
        timing.repeats,
    )
