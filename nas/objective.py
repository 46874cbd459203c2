"""Accuracy and costs ► score.

Soft and hard: ACC * (COST/T)^w for each target, w one number below and one above it (MnasNet, arXiv 1807.11626,
equation 2).
Absolute: ACC + w * |COST/T - 1| (TuNAS, arXiv 2008.06120).
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
    """How a cost enters the score.

    Attributes:
        name: "soft", "hard" or "absolute".
        below: exponent (or factor, for "absolute") where the cost is at most the target.
        above: the same where it is above.
    """

    name: str
    below: float
    above: float

    def term(self, ratio: float) -> float:
        """The factor, or for "absolute" the summand, of COST/T."""
        return float(self.terms(np.array(ratio)))

    def terms(self, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
        """`term` of many ratios, of any shape."""
        w = np.where(ratios <= 1, self.below, self.above)
        return np.asarray(w * np.abs(ratios - 1) if self.name == "absolute" else ratios**w)


_USUAL: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"soft": (-0.07, -0.07), "hard": (0.0, -1.0), "absolute": (-0.07, -0.07)}
)
OBJECTIVES = (*_USUAL, PARETO)


def make_reward(name: str, w: float | None = None) -> Reward:
    """A reward by name, its w another than the usual one.

    Raises:
        TargetError: no such name, or a w that would pay for missing the target.
    """
    if name not in _USUAL:
        raise TargetError(f"objective {name!r} has no reward", f"use one of {', '.join(_USUAL)}")
    below, above = _USUAL[name]
    if w is None:
        return Reward(name, below, above)
    if not -100 <= w <= 0:
        raise TargetError(f"w is {w}", "give a number from -100 to 0; -0.07 is usual")
    return Reward(name, w if below else 0.0, w)


def score(accuracy: float, costs: Sequence[float], targets: Sequence[Target], reward: Reward) -> float:
    """The score of one architecture; every target enters it.

    Args:
        accuracy: 0 to 1.
        costs: one for each target, in its unit.
        targets: what the costs should be.
        reward: how they enter.
    """
    terms = [reward.term(cost / target.limit) for cost, target in zip(costs, targets, strict=True)]
    if reward.name == "absolute":
        return accuracy + sum(terms)
    for term in terms:
        accuracy *= term
    return accuracy


@frozen
class Limits:
    """The costs that are let in: for each target from `low` to `high`, both included."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def limits(targets: Sequence[Target], *, band: float, objective: str) -> Limits:
    """From band * T to T for the first target, up to T for the others; under "pareto" up to T for all.

    Raises:
        TargetError: a band that is no share, or no such objective.
    """
    if objective not in OBJECTIVES:
        raise TargetError(f"unknown objective {objective!r}", f"use one of {', '.join(OBJECTIVES)}")
    if not 0 <= band < 1:
        raise TargetError(f"band is {band}", "give the share of the target below which nothing is let in, 0 to below 1")
    first = 0.0 if objective == PARETO else band
    low = tuple((first if i == 0 else 0.0) * target.limit for i, target in enumerate(targets))
    return Limits(low, tuple(target.limit for target in targets))


def directions(objective: str) -> list[Direction]:
    """Return the directions of a study's values under an objective."""
    return ["maximize", "minimize"] if objective == PARETO else ["maximize"]
