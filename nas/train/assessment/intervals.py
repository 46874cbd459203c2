"""Shares and means with their 95% confidence intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from attrs import asdict, frozen
from numpy.typing import NDArray

from nas.noise import Correct, difference, estimate, quantile, wilson

RESAMPLES = 1000
_SEED, _MOST_UNKNOWN = 0, 0.1


@frozen
class Interval:
    """Represent an estimate with its 95% confidence interval.

    Attributes:
        value: Estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Return the numbers by their names."""
        return asdict(self)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the interval of JSON values; the inverse of `as_json`."""
        return cls(**{name: float(values[name]) for name in ("value", "low", "high")})


def share(part: int, whole: int) -> Interval | None:
    """Return a share with its Wilson interval, or None if there is nothing that it could be a share of.

    >>> share(0, 0) is None
    True
    """
    return Interval(part / whole, *wilson(part, whole)) if whole else None


def accuracy_of(correct: Correct) -> Interval:
    """Return the share of correct images `(N,)` with its Wilson interval."""
    return Interval(float(correct.mean()), *wilson(int(correct.sum()), len(correct)))


def mean_of(values: NDArray[np.float64]) -> Interval:
    """Return the mean of one value for each of at least two images `(N,)`, with its normal interval.

    Args:
        values: Values that are not negative.
    """
    half, mean = quantile() * float(values.std(ddof=1)) / len(values) ** 0.5, float(values.mean())
    return Interval(mean, max(0.0, mean - half), mean + half)


def mean_share_of(rows: Sequence[Correct]) -> Interval:
    """Return the mean over all conditions of the share of images, with an interval over the images.

    The conditions of one image are not independent of each other, so an image counts as one observation.

    Args:
        rows: Whether each image `(N,)` counts, for each condition.
    """
    by_image = np.mean(rows, axis=0)
    # One image more, and one less: no share is certain because the images agree; see `nas.noise.difference`.
    squares = float(((by_image - by_image.mean()) ** 2).sum()) + 1.0
    found = estimate(float(by_image.mean()), squares**0.5 / len(by_image))
    return Interval(found.value, found.low, found.high)


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], images: int, value: float) -> Interval | None:
    """Return a statistic with the interval of the middle 95% of its values on resampled images.

    Args:
        statistic: Function of the indices of images `(N,)`, which may occur more than once.
        images: Number of images.
        value: The statistic of all images.

    Returns:
        None where the statistic is not a number on more than a tenth of the resamples; the others are left out.
    """
    generator = np.random.default_rng(_SEED)
    found = np.array([statistic(generator.integers(0, images, images)) for _ in range(RESAMPLES)])
    known = found[np.isfinite(found)]
    if len(known) < (1 - _MOST_UNKNOWN) * RESAMPLES:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    # The statistic of few images may be biased on resamples, and an interval holds its value.
    return Interval(value, min(float(low), value), max(float(high), value))


def difference_of(first: Sequence[Correct], second: Sequence[Correct]) -> Interval:
    """Return the mean share of one classifier minus that of another on the same images; see `nas.noise.difference`.

    Args:
        first: Whether each image `(N,)` counts, for each condition.
        second: The same of the other classifier.
    """
    found = difference(first, second)
    half = found.half_width()
    return Interval(found.value, max(-1.0, found.value - half), min(1.0, found.value + half))
