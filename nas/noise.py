"""What differs by more than chance: results of trainings with several seeds."""

import math
from collections.abc import Iterable, Sequence
from statistics import stdev

TIE = 2.0  # standard errors of a difference


def pooled(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation within groups, over all that have two members or more; NaN where none has."""
    repeated = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    squares = sum(stdev(group) ** 2 * (len(group) - 1) for group in repeated)
    return math.sqrt(squares / degrees) if degrees else math.nan


def is_near(difference: float, noise: float, counts: Iterable[int]) -> bool:
    """Whether two means of so many members each differ by no more than two standard errors; False for unknown noise."""
    return difference <= TIE * noise * math.sqrt(sum(1 / count for count in counts))
