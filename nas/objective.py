"""The score of an architecture, computed from its accuracy, its costs and the targets.

"soft" and "hard" multiply the accuracy by (COST/T)^w for each target T. The exponent w has one value for costs up to
the target and another for costs above it (MnasNet, arXiv 1807.11626, equation 2). "absolute" adds w * |COST/T - 1| for
each target (TuNAS, arXiv 2008.06120). Both papers have a single target. Each further target is a limit: w is 0 for
costs up to it.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.cost.base import Target
from nas.errors import TargetError

PARETO = "pareto"
Direction = Literal["maximize", "minimize"]


@frozen
class Reward:
    """Describe how costs change the score.

    Attributes:
        name: "soft", "hard" or "absolute".
        below: Exponent ("absolute": factor) if the cost is at most the first target.
        above: Exponent ("absolute": factor) if the cost is above its target.
        further_below: Exponent ("absolute": factor) if the cost is at most its target and that is not the first one.
    """

    name: str
    below: float
    above: float
    further_below: float = 0.0

    def term(self, ratio: float) -> float:
        """Return the factor ("absolute": the summand) of a cost, given its ratio COST/T to the first target."""
        return float(self.terms(np.array([ratio]))[0])

    def terms(self, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factors or summands of ratios COST/T, `(..., targets)`; the result has the same shape."""
        below = np.full(ratios.shape[-1], self.further_below)
        below[:1] = self.below
        w = np.where(ratios <= 1, below, self.above)
        return np.asarray(w * np.abs(ratios - 1) if self.name == "absolute" else ratios**w)


# The default exponents for costs below and above the target, from MnasNet. Its section 3.1 chooses -0.07 because twice
# the latency usually raises accuracy by 5%: 1.05 * 2^-0.07 is about 1, so both networks have about the same score.
_DEFAULT_EXPONENTS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"soft": (-0.07, -0.07), "hard": (0.0, -1.0), "absolute": (-0.07, -0.07)}
)
OBJECTIVES = (*_DEFAULT_EXPONENTS, PARETO)


def make_reward(name: str, w: float | None = None) -> Reward:
    """Return the reward with the given name.

    Args:
        name: "soft", "hard" or "absolute".
        w: Exponent ("absolute": factor) instead of the default. For "hard" it applies above the target only.

    Raises:
        TargetError: The name is unknown, or `w` is positive, which would reward costs above the target.

    >>> make_reward("hard")
    Reward(name='hard', below=0.0, above=-1.0, further_below=0.0)
    """
    if name not in _DEFAULT_EXPONENTS:
        raise TargetError(f"objective {name!r} has no reward", f"use one of {', '.join(_DEFAULT_EXPONENTS)}")
    below, above = _DEFAULT_EXPONENTS[name]
    if w is None:
        return Reward(name, below, above)
    if not -100 <= w <= 0:
        raise TargetError(f"w is {w}, and it must be from -100 to 0", "give such a number, for example -0.07")
    return Reward(name, w if below else 0.0, w)


def score(accuracy: float, costs: Sequence[float], targets: Sequence[Target], reward: Reward) -> float:
    """Return the score of one architecture, which depends on its accuracy and on its cost for every target.

    Args:
        accuracy: Accuracy from 0 to 1.
        costs: Cost for each target, in the unit of the target.
        targets: Targets of the costs; those after the first are limits.
        reward: Reward that describes how costs change the score.

    Check values of the papers' formula: an accuracy of 0.75 at twice the target.

    >>> from nas.cost.analytic import MACS
    >>> target = Target("flops", "macs", MACS, 75.0, "flops=75")
    >>> round(score(0.75, [150.0], [target], make_reward("soft")), 4)
    0.7145
    >>> score(0.75, [150.0], [target], make_reward("hard"))
    0.375
    """
    ratios = [cost / target.limit for cost, target in zip(costs, targets, strict=True)]
    terms: list[float] = reward.terms(np.array(ratios)).tolist()
    if reward.name == "absolute":
        return accuracy + sum(terms)
    for term in terms:
        accuracy *= term
    return accuracy


@frozen
class Limits:
    """Hold the cost range of each target, from `low` to `high`; both limits are inside the range."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def limits(targets: Sequence[Target], *, band: float, objective: str) -> Limits:
    """Return the cost ranges of the targets.

    The range of the first target T is from band * T to T, and that of each other target is from 0 to its T. With the
    objective "pareto", every range starts at 0.

    Args:
        targets: Targets of the costs.
        band: Lower limit of the first cost range, as a share of the target.
        objective: Name of the objective.

    Raises:
        TargetError: The band is not at least 0 and below 1, or the objective is unknown.
    """
    if objective not in OBJECTIVES:
        raise TargetError(f"unknown objective {objective!r}", f"use one of {', '.join(OBJECTIVES)}")
    if not 0 <= band < 1:
        raise TargetError(
            f"band is {band}, which is not a share of the target",
            "give the lower limit of the cost range as a share of the target, from 0 to below 1",
        )
    first = 0.0 if objective == PARETO else band
    low = tuple((first if i == 0 else 0.0) * target.limit for i, target in enumerate(targets))
    return Limits(low, tuple(target.limit for target in targets))


def directions(objective: str) -> list[Direction]:
    """Return the directions of a study's values under an objective."""
    return ["maximize", "minimize"] if objective == PARETO else ["maximize"]


def metric_names(objective: str, cost: str) -> list[str]:
    """Return the names of a study's values under an objective.

    Args:
        objective: Name of the objective.
        cost: Name of the cost that the first target limits.
    """
    return ["accuracy", cost] if objective == PARETO else ["score"]
