"""A model of accuracy: a Gaussian process over architectures with variance components that are fitted to the data.

The kernel is a sum of terms: equal fields of one place, equal fields of one name, a constant, an exponential of the
number of equal fields, smooth and linear terms of the architecture's figures, and a linear term of the scores of a
cheaper evaluator. The variance of each term, and that of the noise, maximize the likelihood of the measured accuracies;
they are found by the multiplicative updates of Zhou, Hu, Qiao and Cho (arXiv 1509.07426), which need no step size and
keep every component positive.

The model describes the logarithm of the error rate: halving the errors counts the same at 60% and at 98%.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from attrs import frozen
from scipy.linalg import cho_factor, cho_solve
from scipy.special import erfcx, log_ndtr, ndtr

from nas.samplers.encoding import Codes, Encoder, Floats

# Added to error rates, so that an accuracy of 1 has a finite logarithm.
LEAST_ERROR = 0.002
# The updates stop early. Run to convergence they overfit: on functions drawn from the model, half of the true values
# lie within one standard deviation then, and two thirds (as they should) after five.
UPDATES = 5
# Share of the variance; with less noise the covariance of many similar rows cannot be factored.
LEAST_NOISE = 1e-3
# Share of the variance with which the updates start where nearly all of it is known to be noise.
LEAST_UNKNOWN = 0.05
# The larger, the less alike are networks that differ in a few fields.
SHARPNESS = 4.0
# Shares of the variance with which the updates start, each of all terms of a kind. Few accuracies hardly change them.
START: Mapping[str, float] = MappingProxyType(
    {"groups": 0.45, "constant": 0.05, "jointly": 0.25, "figures": 0.15, "scores": 0.1, "noise": 0.08}
)
# From this margin on, the improvement is computed without dividing by the density, which becomes too small.
LARGE_MARGIN = 5.0
LOG_ROOT = float(np.log(2 * np.pi) / 2)
TINY = 1e-300
# Rounding can make a variance zero or slightly negative.
LEAST_VARIANCE = 1e-8


def to_level(accuracy: Floats) -> Floats:
    """Return accuracies (0 to 1) on the scale of the model, where higher is better.

    Example:
        >>> float(to_accuracy(to_level(np.array(0.75))).round(6))
        0.75
    """
    return np.asarray(-np.log1p(LEAST_ERROR - np.asarray(accuracy, dtype=np.float64)))


def level_slope(accuracy: Floats) -> Floats:
    """Return the derivative of the level with respect to the accuracy."""
    return np.asarray(1 / (1 + LEAST_ERROR - np.asarray(accuracy, dtype=np.float64)))


def to_accuracy(level: Floats) -> Floats:
    """Return the accuracies of levels; the inverse of `to_level`."""
    return np.asarray(-np.expm1(-np.asarray(level)) + LEAST_ERROR)


@frozen(eq=False)
class Terms:
    """Hold the terms of the kernel between two sets of architectures, `left` (N) and `right` (M).

    Terms that are sums over columns are computed one by one for the fit (`all`), and in a single matrix product once
    the weights are known (`weigh`).
    """

    encoder: Encoder
    left: Codes
    right: Codes

    def all(self) -> list[Floats]:
        """Return each term, `(N, M)`: first those of the column groups, in the order of `Encoder.groups`."""
        left, right = self.left.values, self.right.values
        groups = [left[:, mask] @ right[:, mask].T / _fields(left[:, mask]) for mask in self.encoder.groups]
        return [*groups, *self._others()]

    def weigh(self, weights: Floats) -> Floats:
        """Return the weighted sum of all terms, `(N, M)`."""
        count = len(self.encoder.groups)
        scale = np.zeros(self.left.values.shape[1])
        for weight, mask in zip(weights[:count], self.encoder.groups, strict=True):
            scale[mask] += weight / _fields(self.left.values[:, mask])
        others = zip(weights[count:], self._others(), strict=True)
        return np.asarray((self.left.values * scale) @ self.right.values.T + sum(w * term for w, term in others))

    def _others(self) -> list[Floats]:
        equal = self.left.values @ self.right.values.T / self.encoder.fields
        near, linear = _figure_terms(self.left.figures, self.right.figures)
        scored = [np.outer(*pair) for pair in zip(self.left.prior_scores.T, self.right.prior_scores.T, strict=True)]
        jointly = np.exp(SHARPNESS * (equal - 1))
        return [np.ones_like(equal), jointly, near, linear, *scored]

    def start(self) -> Floats:
        """Return the shares of the variance, of each term and of the noise last, with which the updates start."""
        groups, scores = len(self.encoder.groups), self.left.prior_scores.shape[1]
        shares = {"groups": groups, "constant": 1, "jointly": 1, "figures": 2, "scores": scores, "noise": 1}
        return np.concatenate([np.full(count, START[name] / max(count, 1)) for name, count in shares.items()])

    def diagonal(self, weights: Floats) -> Floats:
        """Return the kernel of each left architecture with itself, `(N,)`: all terms but the linear ones are 1."""
        squares = np.column_stack([(self.left.figures**2).mean(axis=1), self.left.prior_scores**2])
        ones = len(weights) - squares.shape[1]
        return np.asarray(weights[:ones].sum() + squares @ weights[ones:])


def _fields(columns: Floats) -> float:
    """Return the number of fields behind one-hot columns: each row has a single 1 for each field."""
    return float(columns[0].sum()) if len(columns) else 1.0


def _figure_terms(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Return a squared-exponential and a linear term of standardized figures."""
    width = left.shape[1]
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    linear = left @ right.T
    # Rounding can make a squared distance slightly negative.
    return np.exp(-np.maximum(squares - 2 * linear, 0) / (2 * width)), linear / width


def find_weights(
    terms: Sequence[Floats], values: Floats, start: Floats, updates: int = UPDATES, known: Floats | float = 0.0
) -> Floats:
    """Return the variance of each term, and of the noise last, that make the values most likely.

    Args:
        terms: Kernel matrices `(N, N)` whose diagonals have equal means.
        values: Standardized values, `(N,)`.
        start: Shares of the variance that is not known to be noise, with which the updates start; see `Terms.start`.
        updates: Number of multiplicative updates.
        known: Variances of noise that is known, `(N,)` or one for all values; the fitted noise comes on top of it.
    """
    # The values have variance 1, of which the known noise is a part.
    unknown = max(1 - float(np.mean(known)), LEAST_UNKNOWN)
    weights = start * unknown
    every = np.stack([*terms, np.eye(len(values))]).reshape(len(weights), -1)
    for _ in range(updates):
        total = (weights @ every).reshape(len(values), -1) + (LEAST_NOISE + known) * np.eye(len(values))
        inverse = _inverse(total)
        solved = inverse @ values
        # Each variance w of a term K is multiplied by sqrt(y' C^-1 K C^-1 y / tr(C^-1 K)), with the covariance C of the
        # values y. The bound keeps w above zero, which a product never leaves again.
        fit, size = every @ np.outer(solved, solved).ravel(), every @ inverse.ravel()
        weights = np.maximum(weights * np.sqrt(np.maximum(fit, 0) / np.maximum(size, 1e-12)), 1e-9)
    return weights


def _inverse(matrix: Floats) -> Floats:
    # The inverse itself is needed: for the traces of the updates, and for the variances of many predictions.
    return np.asarray(cho_solve(cho_factor(matrix, lower=True), np.eye(len(matrix))))


@frozen(eq=False)
class Surrogate:
    """Hold the model conditioned on measured accuracies; all levels are on the scale of `to_level`.

    Attributes:
        encoder: Encoder of the architectures.
        codes: Encodings of the measured architectures, with standardized figures.
        weights: Variance of each term and of the noise; see `find_weights`.
        inverse: Inverse of the covariance of the measurements, `(N, N)`.
        solved: The inverse times the standardized measurements, `(N,)`.
        center: Mean of the measured levels.
        spread: Standard deviation of the measured levels.
        moments: Mean and standard deviation of the figures and prior scores.
    """

    encoder: Encoder
    codes: Codes
    weights: Floats
    inverse: Floats
    solved: Floats
    center: float
    spread: float
    moments: Codes

    def predict(self, codes: Codes) -> tuple[Floats, Floats]:
        """Return the mean and standard deviation, `(N,)`, of the level that architectures have without noise."""
        own = _standardized(codes, self.moments)
        terms = Terms(self.encoder, own, self.codes)
        cross = terms.weigh(self.weights[:-1])
        # Without the last weight, the noise: the standard deviation is that of the true level.
        variance = terms.diagonal(self.weights[:-1]) - ((cross @ self.inverse) * cross).sum(axis=1)
        # Rounding can make the variance of a measured architecture slightly negative.
        return (
            self.center + self.spread * (cross @ self.solved),
            self.spread * np.sqrt(np.maximum(variance, LEAST_VARIANCE)),
        )

    def joint(self, codes: Codes) -> tuple[Floats, Floats]:
        """Return the mean, `(N,)`, and the covariance, `(N, N)`, of the levels of architectures without noise."""
        mean, spread = self.predict(codes)
        own = _standardized(codes, self.moments)
        cross = Terms(self.encoder, own, self.codes).weigh(self.weights[:-1])
        covariance = Terms(self.encoder, own, own).weigh(self.weights[:-1]) - cross @ self.inverse @ cross.T
        # With the standard deviations of `predict`, so that both say the same of a single architecture.
        scale = spread / np.sqrt(np.maximum(covariance.diagonal(), LEAST_VARIANCE))
        return mean, covariance * np.outer(scale, scale)

    def true_levels(self, levels: Floats, noise: Floats) -> tuple[Floats, Floats]:
        """Return the mean and standard deviation, `(N,)`, of the levels that the measured architectures really have.

        Args:
            levels: Measured levels, `(N,)`, that the model is conditioned on.
            noise: Variances of the errors of the measured levels, `(N,)`. The rest of the variance that the terms do
                not explain is regarded as the architectures' own.
        """
        # With the covariance C of the measurements y and their errors' variances D, the true levels have the mean
        # y - D C^-1 y and the variances D - D C^-1 D: both are exact for normal distributions.
        own = noise / self.spread**2
        variance = own - own**2 * self.inverse.diagonal()
        return levels - self.spread * own * self.solved, self.spread * np.sqrt(np.maximum(variance, LEAST_VARIANCE))


def fit_weights(encoder: Encoder, codes: Codes, levels: Floats, known: Floats | float = 0.0) -> Floats:
    """Return the weights of the kernel for some measured levels with known variances of noise; see `find_weights`."""
    own = _standardized(codes, _code_moments(codes))
    center, spread = _moments(levels)
    terms = Terms(encoder, own, own)
    return find_weights(terms.all(), (levels - center) / spread, terms.start(), known=known / spread**2)


def condition(
    encoder: Encoder, codes: Codes, levels: Floats, weights: Floats, known: Floats | float = 0.0
) -> Surrogate:
    """Return the model conditioned on measured levels `(N,)` of some architectures, for given weights.

    The variance of a level's noise is the fitted one plus the known one, `(N,)` or one for all.
    """
    moments, (center, spread) = _code_moments(codes), _moments(levels)
    own = _standardized(codes, moments)
    noise = (weights[-1] + LEAST_NOISE + known / spread**2) * np.eye(len(levels))
    inverse = _inverse(Terms(encoder, own, own).weigh(weights[:-1]) + noise)
    solved = inverse @ ((levels - center) / spread)
    return Surrogate(encoder, own, weights, inverse, solved, float(center), float(spread), moments)


def log_likelihood(
    encoder: Encoder, codes: Codes, levels: Floats, weights: Floats, known: Floats | float = 0.0
) -> float:
    """Return the logarithm of the likelihood of standardized levels, up to a constant; see `condition`."""
    model = condition(encoder, codes, levels, weights, known)
    values = (levels - model.center) / model.spread
    return float(np.linalg.slogdet(model.inverse)[1] - values @ model.solved) / 2


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Return the mean and standard deviation; a standard deviation of 1 where all values are equal."""
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)


def _code_moments(codes: Codes) -> Codes:
    """Return the mean and standard deviation of figures and prior scores, as two rows."""
    return Codes(codes.values[:0], np.stack(_moments(codes.figures)), np.stack(_moments(codes.prior_scores)))


def _standardized(codes: Codes, moments: Codes) -> Codes:
    figures, prior_scores = (
        (own - m[0]) / m[1] for own, m in ((codes.figures, moments.figures), (codes.prior_scores, moments.prior_scores))
    )
    return Codes(codes.values, figures, prior_scores)


def log_expected_improvement(mean: Floats, spread: Floats, accuracy: Floats) -> Floats:
    """Return the logarithm of the expected improvement, `log E[max(0, accuracy of the candidate - accuracy)]`.

    The error rate of a candidate is lognormal, so the expected improvement is the price of a put option on it (Black
    and Scholes 1973). Its logarithm remains exact where the price itself would be rounded to zero, so that candidates
    can be compared wherever a search has got to (Ament et al., arXiv 2310.20708, for normal distributions).

    Args:
        mean: Mean of the candidates' levels.
        spread: Standard deviation of the candidates' levels.
        accuracy: Accuracy to exceed; for an unreachable one the result is minus infinity.

    >>> far = log_expected_improvement(np.array([1.0]), np.array([0.01]), np.array([0.9]))
    >>> float(far.round(0)[0])
    -8245.0
    """
    allowed = 1 + LEAST_ERROR - np.asarray(accuracy)
    reachable = allowed > 0
    log_allowed = np.log(np.where(reachable, allowed, 1.0))
    margin = (log_allowed + mean) / spread
    # With R = Phi / phi the price is allowed * phi(margin) * (R(margin) - R(margin - spread)). Where the margin is
    # large, R overflows, and the usual form of the price has no small difference of large numbers.
    low = np.minimum(margin, LARGE_MARGIN)
    below = -(low**2) / 2 - LOG_ROOT + np.log(np.maximum(_mills(low) - _mills(low - spread), TINY))
    high = np.maximum(margin, LARGE_MARGIN)
    paid = np.exp(spread**2 / 2 - high * spread + log_ndtr(high - spread))
    above = np.log(np.maximum(ndtr(high) - paid, TINY))
    return np.where(reachable, log_allowed + np.where(margin < LARGE_MARGIN, below, above), -np.inf)


def _mills(margin: Floats) -> Floats:
    """Return the normal distribution function divided by its density."""
    return np.asarray(np.sqrt(np.pi / 2) * erfcx(-margin / np.sqrt(2)))
