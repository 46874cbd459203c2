"""Intervals of 95% for comparisons of searches: bootstrap means in two levels, and Wilson's interval of a share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 2000
Z = 1.959964  # quantile of the normal distribution at 97.5%


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for a share.

    >>> [round(bound, 4) for bound in wilson(5, 10)]
    [0.2366, 0.7634]
    """
    share, extra = successes / trials, Z**2 / trials
    middle = (share + extra / 2) / (1 + extra)
    half = Z / (1 + extra) * (share * (1 - share) / trials + extra / (4 * trials)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def resample(groups: Sequence[Floats], seed: int = 0) -> Floats:
    """Return means `(RESAMPLES, columns)` of resampled groups, and of resampled rows inside each of them.

    Columns of one row stay together, so that the difference of two columns is a paired one.

    Args:
        groups: An array `(rows, columns)` for each group; all groups have the same weight.
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(groups), size=(RESAMPLES, len(groups)))
    means = np.empty((*drawn.shape, groups[0].shape[1]))
    for number, group in enumerate(groups):
        at = np.nonzero(drawn == number)
        means[at] = group[rng.integers(len(group), size=(len(at[0]), len(group)))].mean(axis=1)
    return np.asarray(means.mean(axis=1))


def mean_of(groups: Sequence[Floats]) -> Floats:
    """Return the mean `(columns,)` of the groups' means."""
    return np.asarray(np.mean([group.mean(axis=0) for group in groups], axis=0))


def bounds(resampled: Floats) -> list[list[float]]:
    """Return the lower and the upper bound of each column."""
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0).round(4)
    return [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
