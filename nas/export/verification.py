"""Comparison of what a product states with what was measured again, later or elsewhere."""

import math

import attrs
from attrs import frozen

from nas.device.machine import Machine
from nas.device.timing import NOISY
from nas.export.records import Accuracy, Latency, ModelRecord
from nas.noise import difference, quantile

SAME, DIFFERS, NOT_MEASURED, NOT_COMPARED = "same", "differs", "not measured", "not compared"
CONTENT, ACCURACY, LATENCY, MEMORY = "content", "accuracy", "latency", "memory"
REPEATED = 0.03
"""Relative standard deviation of a latency over sessions on one machine, beside its standard error in one session.

It comes from the memory that a process happens to get and from the clock rate; measuring networks twice gave 2 to 3%.
"""
MEMORY_SHARE = 0.25
"""Largest relative difference of two peaks of memory that counts as the same: they depend on the allocator.

The smallest peaks of two times five processes differed by up to 13% (EfficientNet-B0), and mostly not at all.
"""


@frozen
class Check:
    """Hold the comparison of one figure or one file.

    Attributes:
        file: Name of the file.
        what: "content", "accuracy" (shares), "latency" (milliseconds) or "memory" (bytes).
        outcome: "same" or "differs"; "not measured" where a stated figure could not be measured; "not compared" where
            figures are of other images or another device, or where nothing is stated.
        stored: Stated figure; None if there is none.
        found: Figure that was measured now; None if it was not.
        change: Found minus stored accuracy, or found divided by stored figure; None if they are not comparable.
        low: Lower end of the 95% interval of `change`; None if it is unknown.
        high: Upper end of the interval.
        note: Why it has this outcome; "" where the figures say so.
    """

    file: str
    what: str
    outcome: str
    stored: float | None = None
    found: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


def stated_figure(model: ModelRecord, what: str) -> float | None:
    """Return the figure that a product states of a file; None if there is none."""
    if what == MEMORY:
        return model.peak_bytes
    accuracy, latency = model.accuracy, model.latency
    if what == ACCURACY:
        return None if accuracy is None else accuracy.value
    return None if latency is None else latency.milliseconds


def compare_accuracy(file: str, stored: Accuracy | None, found: Accuracy) -> Check:
    """Compare accuracies with a paired interval, which only figures of the same images have.

    >>> import numpy as np
    >>> labels = np.zeros(100, dtype=np.int64)
    >>> stored, found = (
    ...     Accuracy.of(np.arange(100) < n, labels, 1, data="photos", split="test", images_digest="0" * 64)
    ...     for n in (90, 70)
    ... )
    >>> check = compare_accuracy("model.onnx", stored, found)
    >>> check.outcome, round(check.change, 3), round(check.low, 3), round(check.high, 3)
    ('differs', -0.2, -0.281, -0.119)
    """
    check = Check(file, ACCURACY, NOT_COMPARED, None if stored is None else stored.value, found.value)
    if stored is None:
        return attrs.evolve(check, note="the product states no accuracy")
    before, now = stored.correct, found.correct
    is_same = stored.images_digest and stored.images_digest == found.images_digest
    if not is_same or before is None or now is None:
        return attrs.evolve(check, note=f"the accuracy stated is of other images: {stored.images:,} of {stored.data}")
    both = difference([now], [before])
    return attrs.evolve(
        check,
        outcome=DIFFERS if both.is_clear() else SAME,
        change=both.value,
        low=both.value - both.half_width(),
        high=both.value + both.half_width(),
        note=f"{int((before != now).sum()):,} of {len(now):,} images are classified differently",
    )


def compare_latency(file: str, stored: Latency | None, found: Latency) -> Check:
    """Compare latencies as multiples of the reference network's, where both are of one kind of device."""
    check = Check(file, LATENCY, NOT_COMPARED, None if stored is None else stored.milliseconds, found.milliseconds)
    if stored is None:
        return attrs.evolve(check, note="the product states no latency")
    if (stored.device, stored.machine.kind) != (found.device, found.machine.kind):
        return attrs.evolve(check, note=f"the latency stated is of another device: {describe_device(stored)}")
    change = found.timing.ratio / stored.timing.ratio
    # The error of a quotient is that of its logarithm.
    error = math.sqrt(stored.timing.spread**2 + found.timing.spread**2 + 2 * REPEATED**2)
    low, high = (change * math.exp(sign * quantile() * error) for sign in (-1, 1))
    check = attrs.evolve(check, outcome=SAME, change=change, low=low, high=high)
    if low <= 1 <= high:
        return check
    if max(stored.noise, found.noise) > NOISY:
        # A busy machine slows networks of different kinds down by different factors.
        return attrs.evolve(check, outcome=NOT_MEASURED, note="other programs disturb the device; verify again")
    return attrs.evolve(check, outcome=DIFFERS)


def compare_memory(file: str, stored: int | None, found: int | None, *, same_device: bool) -> Check:
    """Compare peaks of memory, where both are of one kind of device."""
    check = Check(file, MEMORY, NOT_COMPARED, stored, found)
    if found is None:
        return attrs.evolve(check, outcome=NOT_MEASURED, note="the device does not report its peak memory")
    if stored is None:
        return attrs.evolve(check, note="the product states no peak memory")
    if not same_device:
        return attrs.evolve(check, note="the peak memory stated is of another device")
    if not stored:
        return attrs.evolve(check, note="the peak memory stated is 0")
    outcome = SAME if abs(found / stored - 1) <= MEMORY_SHARE else DIFFERS
    return attrs.evolve(check, outcome=outcome, change=found / stored)


def describe_device(latency: Latency) -> str:
    """Return the device and the machine of a latency, for messages."""
    return f"{latency.device.short} on {describe_machine(latency.machine)}"


def describe_machine(machine: Machine) -> str:
    """Return the processor and the runtime of a machine, for messages."""
    return f"{machine.accelerator or machine.cpu} with ONNX Runtime {machine.runtime}"
