"""Measurements of latency on a device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.errors import NasError

# ONNX Runtime is an optional package, so it is imported when a function is called.
if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.device.machine import Machine
    from nas.device.spec import Device
    from nas.device.timing import Aim, Timing, Turns
    from nas.weights.base import TrainedNetwork

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
        precision: Precision of the network, unless it is an ONNX file, which has one of its own.
        cpu: Name of the CPU.
        accelerator: Name of the accelerator; "" if there is none.
        system: Operating system.
        runtime: Version of ONNX Runtime.
        noise: Half the distance of the quartiles of the reference's times, as a share of their median.
        noisy: Whether other work disturbed the machine.
        warmups: Number of runs before the measurement that do not count.

    >>> import nas
    >>> measured = nas.measure_latency(nas.load_architecture("mnasnet-small"), seconds=0.5)
    >>> measured.precision, measured.batch, measured.min_ms <= measured.median_ms <= measured.p95_ms
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
    arch: "Architecture | TrainedNetwork | str | Path",
    device: str | Sequence[str] = "cpu",
    *,
    spread: float = SPREAD,
    seconds: float = SECONDS,
) -> LatencyMeasurement:
    """Measure the latency of a network in ONNX Runtime.

    The network runs in turn with a small reference network until the standard error is small enough or the time is
    over.

    Args:
        arch: An architecture, which runs with random weights; use `arch.adapted(resolution=…, classes=…)` to measure it
            with other images. Or a network with trained weights from `nas.load_weights`, or the path of an ONNX file.
        device: Device, for example "cpu", "cpu:threads=4,batch=8", "cpu:precision=int8" or "ssh://me@board"; several
            equal ones share the work. An ONNX file has a precision of its own.
        spread: Standard error to reach, as a share of the latency.
        seconds: Time limit in seconds.

    Returns:
        The latency of a batch in milliseconds, its standard error, and the device, the runtime and the settings.

    Raises:
        DeviceError: The device cannot be read or reached, or it cannot run the network.
        WeightsError: The ONNX file cannot be read, or has something that is not allowed.
        MissingPackageError: ONNX or ONNX Runtime is not installed.

    >>> import nas
    >>> measured = nas.measure_latency(nas.load_architecture("mnasnet-small"), "cpu:threads=1", seconds=0.5)
    >>> measured.latency_ms > 0, measured.threads, measured.device
    (True, 1, 'cpu:threads=1,batch=1,precision=fp32')
    """
    from nas.api.candidates import as_candidate  # It imports what studies need, and a measurement often does not.
    from nas.api.devices import connected

    candidate = as_candidate(arch)
    aim = make_aim(spread, seconds)
    with connected([device] if isinstance(device, str) else device) as meter:
        turns = meter.measure([candidate.for_device(meter.device)], aim)
        where = setting_of(meter.device, meter.machine, turns)
    return LatencyMeasurement(**attrs.asdict(latency_of(turns, turns.timings[0])), **where)


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


def setting_of(device: "Device", machine: "Machine", turns: "Turns") -> dict[str, Any]:
    """Return where and how networks were measured, as the fields of a `LatencyMeasurement`."""
    return {
        "device": str(device),
        "provider": device.provider,
        "threads": device.threads,
        "batch": device.batch,
        "precision": device.precision,
        "cpu": machine.cpu,
        "accelerator": machine.accelerator,
        "system": machine.system,
        "runtime": machine.runtime,
        "noise": turns.noise,
        "noisy": turns.noisy,
        "warmups": turns.warmups,
    }


def latency_of(turns: "Turns", timing: "Timing", spread_ms: float | None = None) -> Latency:
    """Return a latency in milliseconds: the ratio to the reference times the median time of the reference.

    Args:
        turns: The measurement.
        timing: The network's part of it.
        spread_ms: Standard error that replaces that of the ratio.
    """
    latency_ms = timing.ratio * turns.reference.median_ms
    return Latency(
        latency_ms,
        timing.spread * latency_ms if spread_ms is None else spread_ms,
        timing.min_ms,
        timing.median_ms,
        timing.p95_ms,
        timing.repeats,
    )
