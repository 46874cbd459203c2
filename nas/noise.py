"""Statistics of the noise between training runs with different seeds."""

import math
from collections.abc import Iterable, Sequence
from statistics import stdev

# Means that differ by at most this number of standard errors of their difference are regarded as equal. For normally
# distributed noise, a larger difference has a probability of about 5% if the true means are equal.
TIE = 2.0


def pooled(groups: Iterable[Sequence[float]]) -> float:
    """Return the pooled standard deviation within groups, or NaN if no group has two members.

    Groups with one member have no influence.

    >>> pooled([[1.0, 3.0], [5.0, 7.0], [9.0]])
    1.4142135623730951
    """
    repeated = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    squares = sum(stdev(group) ** 2 * (len(group) - 1) for group in repeated)
    return math.sqrt(squares / degrees) if degrees else math.nan


def is_near(difference: float, noise: float, counts: Iterable[int]) -> bool:
    """Return whether two means differ by at most two standard errors of their difference.

    Args:
        difference: Difference of the means.
        noise: Standard deviation of a single result. If it is NaN, the result is False.
        counts: Number of results that each mean is computed from.

    >>> is_near(0.01, noise=0.01, counts=(1, 1)), is_near(0.01, noise=0.01, counts=(16, 16))
    (True, False)
    """
    return difference <= TIE * noise * math.sqrt(sum(1 / count for count in counts))
