"""The timing protocol: warm up, then run candidates in turn with a reference until the standard error is small enough.

The speed of a machine drifts by several percent within minutes, because its clock rate changes and other programs run.
A network is therefore never timed alone: each round runs the reference and then every candidate once. The result is the
ratio of the candidate's time to the reference's time in the same round, in which most of the drift cancels. The median
of the ratios over all rounds is robust against single disturbed rounds.
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
"""Number of consecutive blocks into which the rounds are divided to estimate the standard error."""
MOST_TIMES = 200_000
"""A measurement stops when it has so many times, which bounds the length of its message."""
NOISY = 0.10
"""A machine is noisy where half the interquartile range of the reference's times exceeds this share of their median."""


def _in_range(low: float, high: float) -> Callable[[object, object, float], None]:
    def check(_record: object, attribute: object, value: float) -> None:
        if not low <= value <= high:
            name = getattr(attribute, "name", "")
            raise DeviceError(
                f"timing {name} is {value}; it must be from {low:g} to {high:g}", "give a value in this range"
            )

    return check


@frozen
class Aim:
    """Define when a measurement stops.

    Attributes:
        spread: Standard error at which it stops, as a share of the ratio.
        least: Smallest number of rounds.
        most: Largest number of rounds.
        seconds: Seconds after which no further round starts, once there are `least` rounds.
    """

    spread: float = field(default=0.005, validator=_in_range(0, 1))
    least: int = field(default=15, validator=_in_range(BLOCKS, 100_000))
    most: int = field(default=500, validator=_in_range(BLOCKS, 100_000))
    seconds: float = field(default=0.5, validator=_in_range(0, 3600))


@frozen
class Timing:
    """Hold the measurement of one fragment.

    Attributes:
        ratio: Median over all rounds of the fragment's time divided by the reference's time in the same round.
        spread: Standard error of `ratio`, as a share of it.
        min_ms: Smallest time in milliseconds.
        median_ms: Median time in milliseconds, as measured by the clock and not corrected by the reference.
        p95_ms: 95th percentile of the times in milliseconds.
        repeats: Number of rounds.
    """

    ratio: float
    spread: float
    min_ms: float
    median_ms: float
    p95_ms: float
    repeats: int


@frozen
class Ratio:
    """Hold the ratio of the times of two networks that ran in the same rounds.

    Attributes:
        value: Median over all rounds of the one time divided by the other time in the same round.
        spread: Standard error of `value`, as a share of it.
        degrees: Degrees of freedom of `spread`.
    """

    value: float
    spread: float
    degrees: int = BLOCKS - 1


@frozen
class Turns:
    """Hold the measurements of networks that were run in turn.

    Attributes:
        timings: Measurement of each candidate, in their order.
        reference: Measurement of the reference; its ratio is 1.
        noise: Half the interquartile range of the reference's times, as a share of their median.
        warmups: Number of warm-up runs of all networks, whose times were discarded.
        rounds_ms: Times of each round in milliseconds, first that of the reference, then those of the candidates.
    """

    timings: tuple[Timing, ...]
    reference: Timing
    noise: float
    warmups: int
    rounds_ms: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    def ratio(self, one: int, other: int, blocks: int = BLOCKS) -> Ratio:
        """Return the time of a candidate divided by that of another one, paired by round.

        A disturbance of a round lengthens both times, so that this ratio has a smaller standard error than the
        quotient of the candidates' ratios to the reference.

        Args:
            one: Position of a candidate among `timings`.
            other: Position of the candidate that it is compared with.
            blocks: Number of consecutive blocks of rounds from which the standard error is estimated. More blocks give
                it more degrees of freedom, which a comparison of many networks needs.
        """
        times = np.array(self.rounds_ms)[:, 1:]
        ratios = times[:, [one]] / times[:, [other]]
        return Ratio(float(np.median(ratios)), float(_standard_errors(ratios, blocks)[0]), blocks - 1)

    def ratio_to_reference(self, one: int, blocks: int = BLOCKS) -> Ratio:
        """Return the time of a candidate divided by that of the reference, paired by round; see `ratio`."""
        times = np.array(self.rounds_ms)
        ratios = times[:, [1 + one]] / times[:, [0]]
        return Ratio(float(np.median(ratios)), float(_standard_errors(ratios, blocks)[0]), blocks - 1)

    @property
    def noisy(self) -> bool:
        """Return whether other work disturbed the machine."""
        return self.noise > NOISY


def warm_up(run: Run, *, least: int = 3, most: int = 60) -> int:
    """Run until times stop decreasing, and return the number of runs.

    The first runs allocate memory, fill caches and raise the clock rate of the CPU. Warm-up ends after `most` runs,
    or when the fastest of the last `least` runs is less than 2% faster than the fastest of the `least` runs before.
    """
    times = [run() for _ in range(2 * least)]
    while len(times) < most and min(times[-least:]) < 0.98 * min(times[-2 * least : -least]):
        times.append(run())
    return len(times)


def time_in_turn(reference: Run, runs: Sequence[Run], aim: Aim, *, clock: Clock = time.monotonic) -> Turns:
    """Time candidates in turn with a reference and with each other.

    Args:
        reference: Function that runs the reference once and returns the duration in seconds.
        runs: Such a function for each candidate.
        aim: When to stop.
        clock: Clock in seconds that limits the whole measurement.
    """
    warmups = sum(warm_up(run) for run in (reference, *runs))
    times: list[list[float]] = []
    end = clock() + aim.seconds
    while not _is_done(times, aim, time_is_up=clock() >= end):
        times.append(_round(reference, runs, len(times)))
    return summarize(np.array(times), warmups)


def _round(reference: Run, runs: Sequence[Run], number: int) -> list[float]:
    """Run everything once, and return the times in the order of the candidates.

    The two times of a ratio are then a fraction of a second apart, while blocks of runs of one network would be
    separated by the drift of several seconds. Each round begins with another candidate, so that none always runs in the
    caches that the same other one has left.
    """
    times = [reference()] * (1 + len(runs))
    for each in range(len(runs)):
        at = (each + number) % len(runs)
        times[1 + at] = runs[at]()
    return times


def _is_done(times: Sequence[Sequence[float]], aim: Aim, *, time_is_up: bool) -> bool:
    count = len(times)
    # The smallest number of rounds has priority over the time limit: without several rounds there is no standard error.
    if count < aim.least:
        return False
    if time_is_up or count >= aim.most or count * len(times[0]) >= MOST_TIMES:
        return True
    # The error is checked only when all blocks have the same number of rounds.
    return count % BLOCKS == 0 and bool(np.all(_standard_errors(_ratios(np.array(times))) <= aim.spread))


def _ratios(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(times[:, 1:] / times[:, :1])


def _standard_errors(ratios: NDArray[np.float64], blocks: int = BLOCKS) -> NDArray[np.float64]:
    """Return the standard error `(candidates,)` of the median ratio, as a share of it, by the method of batch means.

    Other programs disturb several consecutive rounds, so that rounds are not independent and their own standard error
    would be too small. The medians of consecutive blocks of rounds are nearly independent.
    """
    medians = np.array([np.median(block, axis=0) for block in np.array_split(ratios, blocks)])
    return np.asarray(medians.std(axis=0, ddof=1) / blocks**0.5 / np.median(ratios, axis=0))


def summarize(times: NDArray[np.float64], warmups: int = 0) -> Turns:
    """Compute the result from the times in seconds `(rounds, 1 + candidates)`, the reference in the first column."""
    ratios = times / times[:, :1]
    spreads = _standard_errors(ratios)
    # Quartiles ignore a few long interruptions, which the median of the ratios ignores too. They react to work that
    # shares the machine during a quarter of the rounds or more.
    low, middle, high = np.quantile(times[:, 0], (0.25, 0.5, 0.75))
    made = [_timing(*columns) for columns in zip(times.T, ratios.T, spreads, strict=True)]
    rounds_ms = tuple(tuple(float(f"{ms:.7g}") for ms in row) for row in (times * 1e3).tolist())
    return Turns(tuple(made[1:]), made[0], float((high - low) / 2 / middle), warmups, rounds_ms)


def joined(passes: Sequence[Turns]) -> Turns:
    """Return the measurement that several measurements of the same networks on one machine are together."""
    rounds = np.array([row for turns in passes for row in turns.rounds_ms]) / 1e3
    return summarize(rounds, sum(turns.warmups for turns in passes))


def _timing(seconds: NDArray[np.float64], ratios: NDArray[np.float64], spread: float) -> Timing:
    low, middle, high = np.quantile(seconds, (0, 0.5, 0.95)) * 1e3
    return Timing(float(np.median(ratios)), float(spread), float(low), float(middle), float(high), len(seconds))
