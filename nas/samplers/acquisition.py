"""What another architecture may be worth: by how much it is expected to improve on what a search knows already."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from attrs import frozen

from nas.cost.base import Target
from nas.objective import Reward
from nas.samplers.encoding import Floats
from nas.samplers.surrogate import expected_improvement


@frozen(eq=False)
class Known:
    """Architectures that were evaluated: expected accuracies `(N,)`, noise taken off, and costs `(N, targets)`."""

    accuracies: Floats
    costs: Floats


class Acquisition(Protocol):
    """Says what candidates may be worth; a pure function."""

    def score(self, accuracies: Floats, costs: Floats) -> Floats:
        """What orders known architectures `(N,)`, the best first: candidates are made of those."""
        ...

    def expect(self, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:
        """The expected improvement `(N,)` by candidates whose level of accuracy has a mean and a spread."""
        ...


@frozen
class ScoreImprovement:
    """Improvement on the best score.

    Attributes:
        reward: how costs enter it.
        targets: what costs should be.
    """

    reward: Reward
    targets: Sequence[Target]

    def score(self, accuracies: Floats, costs: Floats) -> Floats:
        """See `Acquisition`."""
        factor, summand = self._line(costs)
        return factor * accuracies + summand

    def expect(self, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:
        """See `Acquisition`."""
        best = float(self.score(known.accuracies, known.costs).max())
        factor, summand = self._line(costs)
        return factor * expected_improvement(mean, spread, (best - summand) / factor)

    def _line(self, costs: Floats) -> tuple[Floats, Floats]:
        """A score is a straight line in the accuracy: its slope and what is added, for each row of costs."""
        terms = self.reward.terms(costs / np.array([target.limit for target in self.targets]))
        if self.reward.name == "absolute":
            return np.ones(len(costs)), terms.sum(axis=1)
        return terms.prod(axis=1), np.zeros(len(costs))


@frozen
class FrontImprovement:
    """Growth of the area under the front of accuracy over the first cost, up to a limit of that cost."""

    limit: float

    def score(self, accuracies: Floats, costs: Floats) -> Floats:
        """Return how far an accuracy is above all that cost no more; negative behind the front."""
        order = np.lexsort((-accuracies, costs[:, 0]))
        reached = np.maximum.accumulate(accuracies[order])
        # A little below the lowest, so that the cheapest one counts as a step of the front even if it is the worst.
        before = np.append(accuracies.min(initial=np.inf) - 1e-12, reached[:-1])
        above = np.empty(len(accuracies))
        above[order] = accuracies[order] - before[: len(accuracies)]
        return above

    def expect(self, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:
        """See `Acquisition`; an exact sum over the front's steps (arXiv 2006.05078 has the general case)."""
        starts, levels = steps(known.accuracies, known.costs[:, 0])
        improvements = expected_improvement(mean[:, None], spread[:, None], levels)
        return np.asarray((self._widths(starts, costs[:, 0]) * improvements).sum(axis=1))

    def _widths(self, starts: Floats, costs: Floats) -> Floats:
        """How much of each step `(N, steps)` lies at a candidate's cost or above."""
        ends = np.minimum(np.append(starts[1:], self.limit), self.limit)
        return np.asarray(np.maximum(ends - np.maximum(starts, costs[:, None]), 0))


def steps(accuracies: Floats, costs: Floats) -> tuple[Floats, Floats]:
    """The front as a staircase: from which cost on which accuracy is reached; from cost 0 on the lowest one seen."""
    order = np.lexsort((-accuracies, costs))
    best = np.maximum.accumulate(accuracies[order])
    rises = np.flatnonzero(np.diff(best, prepend=-np.inf) > 0)
    low = accuracies.min(initial=np.inf) if len(accuracies) else 0.0
    return np.append(0.0, costs[order][rises]), np.append(low, best[rises])
