"""The normalization of zero-cost scores by those of random architectures."""

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.errors import NasError
from nas.evaluate.zero_cost.scores import PARTS


@frozen
class ScoreScale:
    """Hold the distribution of raw scores among random architectures, and normalize raw scores by it.

    Attributes:
        means: Mean of each raw score.
        deviations: Standard deviation of each raw score.
        deviation: Standard deviation of the mean of the standardized raw scores. It is below 1 where the raw scores do
            not rise and fall together.

    Example:
        >>> scale = make_scale([[0.0], [2.0]], ["depth"])
        >>> scale.normalize([1.0])
        0.5
        >>> round(scale.normalize([2.0]), 2)  # one standard deviation above the mean
        0.73
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    deviation: float

    def normalize(self, raw: Sequence[float]) -> float:
        """Return a score from 0 to 1 that rises with each raw score; 0.5 is the mean of random architectures.

        The mean of the standardized raw scores is divided by its own standard deviation, and the result d becomes
        1 / (1 + exp(-d)). One deviation above the mean is 0.73, two are 0.88, three are 0.95. The cumulative normal
        distribution would round to 1 for the best architectures, among which a search has to distinguish.

        Args:
            raw: Raw scores of one architecture, in the order of `means`.
        """
        standardized = np.subtract(raw, self.means) / self.deviations
        # The bound keeps the exponential finite.
        return 1 / (1 + math.exp(min(-float(np.mean(standardized)) / self.deviation, 700.0)))


def make_scale(raw: Sequence[Sequence[float]], names: Sequence[str]) -> ScoreScale:
    """Return the scale of the raw scores of random architectures.

    Args:
        raw: Raw scores, one row for each architecture.
        names: Names of the raw scores, for messages.

    Raises:
        NasError: A raw score, or the mean of all, is the same for all architectures.
    """
    values = np.array(raw, dtype=np.float64).reshape(len(raw), len(names))
    means = values.mean(axis=0)
    deviations = [_deviation(column, name) for column, name in zip(values.T, names, strict=True)]
    mean_deviation = _deviation(((values - means) / deviations).mean(axis=1), " and ".join(names))
    return ScoreScale(tuple(means.tolist()), tuple(deviations), mean_deviation)


def _deviation(values: NDArray[np.float64], name: str) -> float:
    deviation = float(values.std())
    if not deviation > 0:
        raise NasError(
            f"{name} is the same for all {len(values)} random architectures of the space, so it cannot rank networks",
            f"choose another score: {', '.join(PARTS)}",
        )
    return deviation
