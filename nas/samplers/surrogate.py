"""A model of accuracy: a Gaussian process over architectures whose parts of variance are found from the data.

Its kernel is a sum: equal fields of one place, equal fields of one name (how much each counts is learnt), products of
equal fields, a Hamming term, smooth and linear terms of the architecture's figures, and a linear one of what a cheaper
evaluator says. How much of the variance each term has, and how much is noise, is what makes the readings most likely:
the multiplicative updates of Zhou, Hu, Qiao and Cho (arXiv 1509.07426), which need no step size and keep every part
above zero.

What is modelled is the logarithm of the error rate: halving the errors counts alike at 60% and at 98%.
"""

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr

from nas.samplers.encoding import Codes, Encoder, Floats

# Added to error rates, so that a perfect score has a logarithm.
LEAST_ERROR = 0.002
# From equal shares. Updated until nothing changes they fit chance: of functions drawn from the model half of the truths
# lie within one standard deviation then, and two thirds after these few.
UPDATES = 5
# Of unit variance: below it a matrix of many like rows cannot be factored.
LEAST_NOISE = 1e-3
HAMMING_SCALE = 4.0


def to_level(accuracy: Floats) -> Floats:
    """Accuracies, 0 to 1, on the scale that is modelled: the higher the better."""
    return np.asarray(-np.log1p(LEAST_ERROR - np.asarray(accuracy, dtype=np.float64)))


def to_accuracy(level: Floats) -> Floats:
    """The inverse of `to_level`."""
    return np.asarray(-np.expm1(-np.asarray(level)) + LEAST_ERROR)


@frozen(eq=False)
class Terms:
    """The kernel's terms between two sets of architectures, before they are weighed.

    The terms that are sums over columns are only added up where all weights are known: `weigh` does it at once.
    """

    encoder: Encoder
    left: Codes
    right: Codes

    def all(self) -> list[Floats]:
        """Each term by itself, `(N, M)`; columns' groups first, in the order of `Encoder.groups`."""
        left, right = self.left.values, self.right.values
        groups = [left[:, mask] @ right[:, mask].T / _fields(left[:, mask]) for mask in self.encoder.groups]
        return [*groups, *self._others()]

    def weigh(self, weights: Floats) -> Floats:
        """The weighted sum of all terms `(N, M)`."""
        count = len(self.encoder.groups)
        scale = np.zeros(self.left.values.shape[1])
        for weight, mask in zip(weights[:count], self.encoder.groups, strict=True):
            scale[mask] += weight / _fields(self.left.values[:, mask])
        others = zip(weights[count:], self._others(), strict=True)
        return np.asarray((self.left.values * scale) @ self.right.values.T + sum(w * term for w, term in others))

    def _others(self) -> list[Floats]:
        equal = self.left.values @ self.right.values.T / self.encoder.fields
        near, linear = _figure_terms(self.left.figures, self.right.figures)
        hinted = [np.outer(*pair) for pair in zip(self.left.prior_scores.T, self.right.prior_scores.T, strict=True)]
        return [np.ones_like(equal), equal**2, np.exp(HAMMING_SCALE * (equal - 1)), near, linear, *hinted]

    def diagonal(self, weights: Floats) -> Floats:
        """What `weigh` gives each of the left with itself, `(N,)`: all terms are 1 there but the linear ones."""
        squares = np.column_stack([(self.left.figures**2).mean(axis=1), self.left.prior_scores**2])
        ones = len(weights) - squares.shape[1]
        return np.asarray(weights[:ones].sum() + squares @ weights[ones:])


def _fields(columns: Floats) -> float:
    """How many fields some columns are of: each row has one 1 a field."""
    return float(columns[0].sum()) if len(columns) else 1.0


def _figure_terms(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """A smooth and a linear term of standardised figures."""
    width = left.shape[1]
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    linear = left @ right.T
    return np.exp(-np.maximum(squares - 2 * linear, 0) / (2 * width)), linear / width


def find_weights(terms: Sequence[Floats], values: Floats, updates: int = UPDATES) -> Floats:
    """The parts of variance, one for each term and the noise last, that make the values most likely.

    Args:
        terms: kernel matrices `(N, N)` of equal means of their diagonals.
        values: `(N,)`, standardised.
        updates: how often the weights are improved.
    """
    weights = np.full(len(terms) + 1, 1 / (len(terms) + 1))
    every = np.stack([*terms, np.eye(len(values))]).reshape(len(weights), -1)
    for _ in range(updates):
        total = (weights @ every).reshape(len(values), -1) + LEAST_NOISE * np.eye(len(values))
        inverse = _inverse(total)
        solved = inverse @ values
        fit, size = every @ np.outer(solved, solved).ravel(), every @ inverse.ravel()
        weights = np.maximum(weights * np.sqrt(np.maximum(fit, 0) / np.maximum(size, 1e-12)), 1e-9)
    return weights


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(cho_solve(cho_factor(matrix, lower=True), np.eye(len(matrix))))


@frozen(eq=False)
class Surrogate:
    """What is known of accuracies after some readings; levels as `to_level` gives them.

    Attributes:
        encoder: of architectures.
        codes: that were read, their figures standardised.
        weights: see `find_weights`.
        inverse: of the readings' covariance.
        solved: the inverse times the standardised readings.
        centre: of the readings' levels.
        spread: their standard deviation.
        moments: mean and standard deviation of figures and hints.
    """

    encoder: Encoder
    codes: Codes
    weights: Floats
    inverse: Floats
    solved: Floats
    centre: float
    spread: float
    moments: Codes

    def predict(self, codes: Codes) -> tuple[Floats, Floats]:
        """Mean and standard deviation `(N,)` of the level that an architecture would have without noise."""
        own = _standardised(codes, self.moments)
        terms = Terms(self.encoder, own, self.codes)
        cross = terms.weigh(self.weights[:-1])
        variance = terms.diagonal(self.weights[:-1]) - ((cross @ self.inverse) * cross).sum(axis=1)
        return (
            self.centre + self.spread * (cross @ self.solved),
            self.spread * np.sqrt(np.maximum(variance, 1e-8)),
        )


def find_parts(encoder: Encoder, codes: Codes, levels: Floats) -> Floats:
    """The kernel's weights for some readings; see `find_weights`."""
    own = _standardised(codes, _of_codes(codes))
    centre, spread = _moments(levels)
    return find_weights(Terms(encoder, own, own).all(), (levels - centre) / spread)


def condition(encoder: Encoder, codes: Codes, levels: Floats, weights: Floats) -> Surrogate:
    """The model after readings `(N,)` of some architectures, under given weights."""
    moments, (centre, spread) = _of_codes(codes), _moments(levels)
    own = _standardised(codes, moments)
    noise = (weights[-1] + LEAST_NOISE) * np.eye(len(levels))
    inverse = _inverse(Terms(encoder, own, own).weigh(weights[:-1]) + noise)
    solved = inverse @ ((levels - centre) / spread)
    return Surrogate(encoder, own, weights, inverse, solved, float(centre), float(spread), moments)


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation; a standard deviation of 1 where all are equal."""
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)


def _of_codes(codes: Codes) -> Codes:
    """Mean and standard deviation of figures and hints, as two rows."""
    return Codes(codes.values[:0], np.stack(_moments(codes.figures)), np.stack(_moments(codes.prior_scores)))


def _standardised(codes: Codes, moments: Codes) -> Codes:
    figures, prior_scores = (
        (own - m[0]) / m[1] for own, m in ((codes.figures, moments.figures), (codes.prior_scores, moments.prior_scores))
    )
    return Codes(codes.values, figures, prior_scores)


def expected_improvement(mean: Floats, spread: Floats, accuracy: Floats) -> Floats:
    """By how much an accuracy is expected to exceed another one, where it does.

    An error rate whose logarithm is normal: the price of a put option (Black and Scholes 1973) on the error rate.

    Args:
        mean: of the level.
        spread: its standard deviation.
        accuracy: to be exceeded; gains are zero where it is more than can be reached.
    """
    allowed = 1 + LEAST_ERROR - np.asarray(accuracy)
    reachable = allowed > 0
    margin = (np.log(np.where(reachable, allowed, 1.0)) + mean) / spread
    expected = np.exp(np.minimum(spread**2 / 2 - mean, 50.0))
    return np.where(reachable, np.maximum(allowed * ndtr(margin) - expected * ndtr(margin - spread), 0.0), 0.0)
