"""How a run is timed: warm up until settled, then take turns with a reference until the spread is small enough.

Machines drift by several percent within minutes, and other programs come and go. So nothing is timed by itself: each
round runs the reference and then every candidate once, and a candidate's time is told as its ratio to the reference of
the same round. The median of the ratios is hardly moved by single disturbed rounds.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.errors import DeviceError

Run = Callable[[], float]
Clock = Callable[[], float]
BLOCKS = 5
NOISY = 0.10
"""A reference was disturbed where half the distance of its quartiles is more than this share of its median."""


def _bounds(low: float, high: float) -> Callable[[object, object, float], None]:
    def check(_record: object, attribute: object, value: float) -> None:
        if not low <= value <= high:
            name = getattr(attribute, "name", "")
            raise DeviceError(f"timing {name} is {value}", f"give {low:g} to {high:g}")

    return check


@frozen
class Aim:
    """When a measurement is good enough.

    Attributes:
        spread: standard error of the ratio, as a share of it, that is wanted.
        least: rounds at least.
        most: rounds at most.
        seconds: after which no further round is begun, once there are `least`.
    """

    spread: float = field(default=0.005, validator=_bounds(0, 1))
    least: int = field(default=15, validator=_bounds(BLOCKS, 100_000))
    most: int = field(default=500, validator=_bounds(BLOCKS, 100_000))
    seconds: float = field(default=0.5, validator=_bounds(0, 3600))


@frozen
class Timing:
    """What was measured of one network or part of it.

    Attributes:
        ratio: median of its time over the reference's in the same round.
        spread: standard error of `ratio`, as a share of it.
        min_ms: smallest.
        median_ms: as the clock said, not compared with the reference.
        p95_ms: 95th percentile.
        repeats: rounds.
    """

    ratio: float
    spread: float
    min_ms: float
    median_ms: float
    p95_ms: float
    repeats: int


@frozen
class Turns:
    """What was measured together.

    Attributes:
        timings: one a candidate.
        reference: the reference itself; its ratio is 1.
        noise: half the middle half of the reference's times, as a share of their median.
        warmups: runs that were thrown away until all had settled.
    """

    timings: tuple[Timing, ...]
    reference: Timing
    noise: float
    warmups: int

    @property
    def noisy(self) -> bool:
        """Whether other work disturbed the machine."""
        return self.noise > NOISY


def settle(run: Run, *, least: int = 3, most: int = 60) -> int:
    """Run until the last three runs are no faster, by 2%, than the three before; gives the number of runs."""
    times = [run() for _ in range(2 * least)]
    while len(times) < most and min(times[-least:]) < 0.98 * min(times[-2 * least : -least]):
        times.append(run())
    return len(times)


def time_in_turn(reference: Run, runs: Sequence[Run], aim: Aim, *, clock: Clock = time.monotonic) -> Turns:
    """Time candidates in turn with a reference and with each other.

    Args:
        reference: runs the reference once and gives the seconds it took.
        runs: the same for each candidate.
        aim: when to stop.
        clock: in seconds.
    """
    warmups = sum(settle(run) for run in (reference, *runs))
    times: list[list[float]] = []
    end = clock() + aim.seconds
    while not _enough(times, aim, late=clock() >= end):
        times.append([run() for run in (reference, *runs)])
    return summarize(np.array(times), warmups)


def _enough(times: Sequence[Sequence[float]], aim: Aim, *, late: bool) -> bool:
    count = len(times)
    if count < aim.least:
        return False
    if late or count >= aim.most:
        return True
    return count % BLOCKS == 0 and bool(np.all(_spreads(_ratios(np.array(times))) <= aim.spread))


def _ratios(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(times[:, 1:] / times[:, :1])


def _spreads(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error `(candidates,)` of the median, from the medians of successive blocks of rounds.

    Neighbouring rounds are disturbed together, so that single rounds would promise too much.
    """
    medians = np.array([np.median(block, axis=0) for block in np.array_split(ratios, BLOCKS)])
    return np.asarray(medians.std(axis=0, ddof=1) / BLOCKS**0.5 / np.median(ratios, axis=0))


def summarize(times: NDArray[np.float64], warmups: int = 0) -> Turns:
    """Seconds `(rounds, 1 + candidates)`, the reference first ► what is reported."""
    ratios = times / times[:, :1]
    spreads = _spreads(ratios)
    low, middle, high = np.quantile(times[:, 0], (0.25, 0.5, 0.75))
    made = [_timing(*columns) for columns in zip(times.T, ratios.T, spreads, strict=True)]
    return Turns(tuple(made[1:]), made[0], float((high - low) / 2 / middle), warmups)


def _timing(seconds: NDArray[np.float64], ratios: NDArray[np.float64], spread: float) -> Timing:
    low, middle, high = np.quantile(seconds, (0, 0.5, 0.95)) * 1e3
    return Timing(float(np.median(ratios)), float(spread), float(low), float(middle), float(high), len(seconds))
