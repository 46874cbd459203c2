"""The speed of an int8 file compared with that of the fp32 file on a device, and what follows from it."""

import math
from typing import Any

from attrs import asdict, frozen

from nas.device.timing import BLOCKS, Turns
from nas.noise import quantile

LEAST_SPEED_UP = 1.2
"""Speed-up from which int8 is recommended."""


@frozen
class SpeedUp:
    """Represent how many times as fast the int8 file is, with its 95% interval.

    Attributes:
        value: Median over the rounds of the time of the fp32 file divided by that of the int8 file.
        low: Lower end of the interval.
        high: Upper end of the interval.
        fp32_ms: Latency of the fp32 file in milliseconds, as everywhere: its ratio to the reference network times the
            median time of that.
        int8_ms: Latency of the int8 file in milliseconds.
        cpu: Name of the processor.
    """

    value: float
    low: float
    high: float
    fp32_ms: float
    int8_ms: float
    cpu: str

    @property
    def worthwhile(self) -> bool:
        """Return whether int8 is recommended."""
        return self.value >= LEAST_SPEED_UP

    def recommendation(self) -> str:
        """Return a sentence that recommends the int8 file or the fp32 file, with the figures."""
        figures = (
            f"{self.value:.2f} times as fast as fp32 on {self.cpu} (95% interval {self.low:.2f} to {self.high:.2f}; "
            f"{self.int8_ms:.2f} ms and {self.fp32_ms:.2f} ms)"
        )
        if self.low < LEAST_SPEED_UP <= self.high:
            figures += f"; the measurement is too noisy to say whether it is at least {LEAST_SPEED_UP:g} times"
        if self.worthwhile:
            return f"The int8 file is {figures}."
        return (
            f"The int8 file is only {figures}. At least {LEAST_SPEED_UP:g} times is worth its loss: use the fp32 file."
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures and the recommendation as plain values."""
        return asdict(self) | {"worthwhile": self.worthwhile, "recommendation": self.recommendation()}


def speed_up_of(turns: Turns, cpu: str, *, fp32: int = 0, int8: int = 1) -> SpeedUp:
    """Return the speed-up from a measurement in which both files ran in turn.

    Args:
        turns: The measurement.
        cpu: Name of the processor.
        fp32: Index of the fp32 file among the candidates.
        int8: Index of the int8 file.
    """
    ratio = turns.ratio(fp32, int8)
    # The error of a quotient is that of its logarithm, so that the lower end is above 0 on a busy machine too.
    factor = math.exp(quantile(BLOCKS - 1) * ratio.spread)
    return SpeedUp(
        value=ratio.value,
        low=ratio.value / factor,
        high=ratio.value * factor,
        fp32_ms=turns.timings[fp32].ratio * turns.reference.median_ms,
        int8_ms=turns.timings[int8].ratio * turns.reference.median_ms,
        cpu=cpu,
    )
