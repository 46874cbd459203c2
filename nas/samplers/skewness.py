"""A monotone scale of accuracy levels on which they are distributed symmetrically, and a model on this scale.

In many spaces most architectures are nearly as accurate as the best ones, and some are far worse. A Gaussian process of
such levels is too sure of everything that a search has not tried. The levels are therefore transformed as Yeo and
Johnson propose (Biometrika 87, 2000); the power of the transformation is the one under which the levels are most
likely.
"""

import numpy as np
from attrs import frozen

from nas.samplers.encoding import Codes, Floats
from nas.samplers.surrogate import LEAST_VARIANCE, Surrogate

# 1 leaves the levels as they are. Larger powers stretch the differences between high levels, and 2 is the largest with
# which every value belongs to a level.
POWERS = (1.0, 1.25, 1.5, 1.75, 2.0)
# Standard deviation of the power around 1 before there are levels: a few levels can make any power likely.
TRUST = 0.5
# Factor of all standard deviations. The weights are conditioned on as if they were known exactly, so predictions are
# slightly too sure. The factor was chosen on made-up landscapes (`python benchmarks/sampler_calibration.py`).
WIDENING = 1.1


@frozen
class Warp:
    """A transformation of levels to values that have mean 0 and standard deviation 1 for the measured levels.

    Attributes:
        power: Power of the transformation; with 1 it is linear.
        center: Mean of the measured levels.
        spread: Standard deviation of the measured levels.
        middle: Mean of the measured levels after the power is applied.
        scale: Standard deviation of the measured levels after the power is applied.
    """

    power: float
    center: float
    spread: float
    middle: float
    scale: float

    @classmethod
    def of(cls, levels: Floats, power: float) -> "Warp":
        """Return the transformation of some measured levels, `(N,)`."""
        center, spread = float(levels.mean()), _positive(levels.std())
        curved = _curved((levels - center) / spread, power)
        return cls(power, center, spread, float(curved.mean()), _positive(curved.std()))

    def values(self, levels: Floats) -> Floats:
        """Return the values of levels."""
        return (_curved((levels - self.center) / self.spread, self.power) - self.middle) / self.scale

    def slope(self, levels: Floats) -> Floats:
        """Return the derivative of the values with respect to the levels."""
        standard = (levels - self.center) / self.spread
        bent = np.where(standard >= 0, 1.0, -1.0) * (self.power - 1)
        return (np.abs(standard) + 1) ** bent / (self.scale * self.spread)

    def levels(self, mean: Floats, spread: Floats) -> tuple[Floats, Floats]:
        """Return levels of values, and their standard deviations to first order, given those of the values."""
        found = self.center + self.spread * _straight(self.middle + self.scale * mean, self.power)
        return found, spread / self.slope(found)

    def penalty(self) -> float:
        """Return what the power costs in the logarithm of the likelihood."""
        return ((self.power - 1) / TRUST) ** 2 / 2


def _curved(standard: Floats, power: float) -> Floats:
    above, below = np.maximum(standard, 0), np.maximum(-standard, 0)
    other = np.log1p(below) if power == 2 else ((below + 1) ** (2 - power) - 1) / (2 - power)
    return np.asarray(((above + 1) ** power - 1) / power - other)


def _straight(curved: Floats, power: float) -> Floats:
    """Return standardized levels; the inverse of `_curved`."""
    above, below = np.maximum(curved, 0), np.minimum(np.maximum(-curved, 0), 20)
    other = np.expm1(below) if power == 2 else (below * (2 - power) + 1) ** (1 / (2 - power)) - 1
    return np.asarray((above * power + 1) ** (1 / power) - 1 - other)


def _positive(spread: float) -> float:
    return float(spread) if spread > 1e-9 else 1.0


@frozen(eq=False)
class SkewedModel:
    """A model of accuracy that is conditioned on transformed levels, and predicts levels.

    Attributes:
        surrogate: Model of the values.
        warp: Transformation of levels to values.
    """

    surrogate: Surrogate
    warp: Warp

    def predict(self, codes: Codes) -> tuple[Floats, Floats]:
        """Return the mean and standard deviation, `(N,)`, of the level that architectures have without noise."""
        mean, spread = self.surrogate.predict(codes)
        return self.warp.levels(mean, WIDENING * spread)

    def joint(self, codes: Codes) -> tuple[Floats, Floats]:
        """Return the mean, `(N,)`, and the covariance, `(N, N)`, of the levels of architectures without noise."""
        mean, covariance = self.surrogate.joint(codes)
        spread = np.sqrt(np.maximum(covariance.diagonal(), LEAST_VARIANCE))
        level, deviation = self.warp.levels(mean, WIDENING * spread)
        scale = deviation / spread
        return level, covariance * np.outer(scale, scale)
