"""Acquisition functions: the expected improvement of a candidate over the architectures that a search knows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from attrs import frozen
from scipy.special import logsumexp

from nas.cost.base import Target
from nas.objective import Reward
from nas.samplers.encoding import Floats
from nas.samplers.skewness import WIDENING
from nas.samplers.surrogate import log_expected_improvement

# Factors of the predicted spreads. Expected improvement counts the next evaluation alone, so with the spreads as they
# are it explores too little in a search for one network. Three times the spreads that the model has before it widens
# them was measured to help there, and to make fronts worse (experiments/sample_efficiency).
EXPLORATION = 3 / WIDENING
FRONT_EXPLORATION = 1.0


@frozen(eq=False)
class Known:
    """Hold evaluated architectures: expected accuracies without noise, `(N,)`, and costs, `(N, targets)`.

    Attributes:
        accuracies: Expected accuracies without noise, `(N,)`.
        costs: Costs, `(N, targets)`.
        corner: Accuracy above which the area under a front counts; minus infinity counts all above the lowest accuracy.
    """

    accuracies: Floats
    costs: Floats
    corner: float = -np.inf


class Acquisition(Protocol):
    """An acquisition function; it has no state."""

    @property
    def exploration(self) -> float:
        """Return the factor by which predicted spreads are widened before they are given to `log_expect`."""
        ...

    def score(self, accuracies: Floats, costs: Floats) -> Floats:
        """Return scores `(N,)` of known architectures; the best become parents of candidates."""
        ...

    def log_expect(self, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:
        """Return the logarithm of the expected improvement of candidates, `(N,)`.

        Args:
            mean: Mean of the candidates' accuracy levels, `(N,)`.
            spread: Standard deviation of the candidates' accuracy levels, `(N,)`.
            costs: Costs of the candidates, `(N, targets)`.
            known: Evaluated architectures.
        """
        ...


@frozen
class ScoreImprovement:
    """Expected improvement of the best score.

    Attributes:
        reward: Dependence of the score on costs.
        targets: Targets of the costs.
    """

    reward: Reward
    targets: Sequence[Target]

    @property
    def exploration(self) -> float:
        """See `Acquisition`."""
        return EXPLORATION

    def score(self, accuracies: Floats, costs: Floats) -> Floats:
        """See `Acquisition`."""
        factor, summand = self._line(costs)
        return factor * accuracies + summand

    def log_expect(self, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:
        """See `Acquisition`."""
        best = float(self.score(known.accuracies, known.costs).max())
        factor, summand = self._line(costs)
        # The score is linear in the accuracy, so it improves over the best one exactly where the accuracy exceeds this
        # bound.
        return np.log(factor) + log_expected_improvement(mean, spread, (best - summand) / factor)

    def _line(self, costs: Floats) -> tuple[Floats, Floats]:
        """Return slope and intercept of the score as a linear function of accuracy, for each row of costs."""
        terms = self.reward.terms(costs / np.array([target.limit for target in self.targets]))
        # The absolute reward adds its cost terms to the accuracy; all others multiply the accuracy by them.
        if self.reward.name == "absolute":
            return np.ones(len(costs)), terms.sum(axis=1)
        return terms.prod(axis=1), np.zeros(len(costs))


@frozen
class FrontImprovement:
    """Expected growth of the area under the Pareto front of accuracy over the first cost, up to a limit of the cost.

    The area counts above `Known.corner`, or above the lowest known accuracy if that is higher.
    """

    limit: float

    @property
    def exploration(self) -> float:
        """See `Acquisition`."""
        return FRONT_EXPLORATION

    def score(self, accuracies: Floats, costs: Floats) -> Floats:
        """Return how far an accuracy is above all that cost no more; negative behind the front."""
        # By cost; of equal costs the highest accuracy first, so that the others are not above the front.
        order = np.lexsort((-accuracies, costs[:, 0]))
        reached = np.maximum.accumulate(accuracies[order])
        # Slightly below the lowest accuracy, so that the cheapest one is a step of the front even if it is worst.
        before = np.append(accuracies.min(initial=np.inf) - 1e-12, reached[:-1])
        above = np.empty(len(accuracies))
        above[order] = accuracies[order] - before[: len(accuracies)]
        return above

    def log_expect(self, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:
        """See `Acquisition`; an exact sum over the front's steps (arXiv 2006.05078 has the general case)."""
        starts, levels = steps(known.accuracies, known.costs[:, 0])
        levels = np.maximum(levels, known.corner)
        improvements = log_expected_improvement(mean[:, None], spread[:, None], levels)
        return np.asarray(logsumexp(improvements, axis=1, b=self._widths(starts, costs[:, 0])))

    def _widths(self, starts: Floats, costs: Floats) -> Floats:
        """Return the part of each step, `(N, steps)`, at or above the cost of each candidate."""
        ends = np.minimum(np.append(starts[1:], self.limit), self.limit)
        return np.asarray(np.maximum(ends - np.maximum(starts, costs[:, None]), 0))


def steps(accuracies: Floats, costs: Floats) -> tuple[Floats, Floats]:
    """Return the Pareto front as a staircase: costs at which steps begin, and their accuracies, from cost 0 upward."""
    order = np.lexsort((-accuracies, costs))
    best = np.maximum.accumulate(accuracies[order])
    rises = np.flatnonzero(np.diff(best, prepend=-np.inf) > 0)
    low = accuracies.min(initial=np.inf) if len(accuracies) else 0.0
    return np.append(0.0, costs[order][rises]), np.append(low, best[rises])
