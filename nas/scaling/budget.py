"""The largest network of a rule below a budget, and beside the rule what comes nearer to it."""

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from itertools import product

import attrs
from attrs import frozen

from nas.arch.spec import Architecture
from nas.cost.base import CostModel, Judge, format_amount
from nas.errors import NasError, ScalingError
from nas.scaling.grow import Scaled, grow, pixels, scale
from nas.scaling.rules import DOUBLING, Factors, PowerRule, Rule

LARGEST_PHI = 10.0
SMALLEST_PHI = -10.0
HALVINGS = 40
PHI_DIGITS, PHI_STEPS = 4, 10_000
# How far depth, width and resolution may each be moved off the rule, and in how many steps that is looked at.
OFF_SHAPE, OFF_RESOLUTION = 0.10, 0.07
# Where stages have few layers, a small step of depth is a large one after rounding: it is taken only where nothing else
# comes near the budget.
REACHES = (OFF_SHAPE, math.inf)
ENOUGH = 0.97
STEPS = tuple(1 + OFF_SHAPE * step / 6 for step in range(-6, 7))
CLOSE = 0.002  # of the budget: networks no farther from the best are told apart by how near the rule they are


@frozen
class Trial:
    """What meeting a measured budget takes.

    Attributes:
        judge: measures what was found once more.
        guide: tells without measuring which of two networks costs more.
    """

    judge: Judge
    guide: CostModel


@frozen
class Budget:
    """What a network may cost at most.

    Attributes:
        text: as it was given, in its own form, "flops=1.8G".
        limit: in the cost's unit.
        unit: of the cost.
        cost: its model.
        trial: how it is met where estimates are measurements; None where they are exact.
    """

    text: str
    limit: float
    unit: str
    cost: CostModel
    trial: Trial | None = None

    def of(self, arch: Architecture) -> float:
        """What it costs."""
        value: float = self.cost.estimate(arch).value
        return value

    def amount(self, arch: Architecture) -> str:
        """What it costs, as people read it."""
        return format_amount(self.of(arch), self.unit)


@frozen
class Growth:
    """How an architecture is scaled: the base, the rule, and the parts whose channels stay."""

    base: Architecture
    rule: Rule
    keep: Collection[str] = ()

    def at(self, phi: float, name: str = "") -> Scaled:
        """See `scale`."""
        return scale(self.base, self.rule, phi, self.keep, name)


def largest(growth: Growth, budget: Budget) -> Scaled:
    """The largest phi whose network costs no more than the budget, for costs that are exact.

    Raises:
        ScalingError: the budget is below the smallest network or above the largest, or a coefficient is below 1.
    """
    name = budget.text
    if not isinstance(growth.rule, PowerRule):
        return growth.at(largest_member(growth, budget), name)
    check_growing(growth.rule)
    low, high = edge(growth, SMALLEST_PHI), edge(growth, LARGEST_PHI)
    check_within(growth, budget, low, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(growth.at(middle), budget) else (low, middle)
    near = growth.at(round(low, PHI_DIGITS), name)
    return near if _fits(near, budget) else growth.at(math.floor(low * PHI_STEPS) / PHI_STEPS, name)


def _fits(scaled: Scaled, budget: Budget) -> bool:
    return budget.of(scaled.arch) <= budget.limit


def check_growing(rule: PowerRule) -> None:
    """Only where nothing shrinks with phi is there one largest below a budget.

    Raises:
        ScalingError: a coefficient is below 1, or none is above.
    """
    for name in ("alpha", "beta", "gamma"):
        if getattr(rule, name) < 1:
            raise ScalingError(
                f"{name} of rule {rule.name} is below 1, and a budget is met by growing",
                "use coefficients of at least 1, or give --phi",
            )
    if rule.product == 1:
        raise ScalingError(f"rule {rule.name} leaves everything as it is", "use a coefficient above 1, or give --phi")


def largest_member(growth: Growth, budget: Budget) -> float:
    """The largest phi of a rule of few members whose network keeps the budget.

    Raises:
        ScalingError: none does, or the largest costs not even half of it.
    """
    fitting = [phi for phi in growth.rule.phis if _fits(growth.at(phi), budget)]
    if not fitting:
        raise too_small(growth, budget, min(growth.rule.phis))
    last = max(growth.rule.phis)
    if max(fitting) == last and DOUBLING * budget.of(growth.at(last).arch) <= budget.limit:
        raise too_large(growth, budget, last)
    return max(fitting)


def edge(growth: Growth, far: float) -> float:
    """The phi between 0 and `far` that is farthest from 0 and still makes a network."""
    near = 0.0
    if _exists(growth, far):
        return far
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        near, far = (middle, far) if _exists(growth, middle) else (near, middle)
    return math.trunc(near * PHI_STEPS) / PHI_STEPS


def _exists(growth: Growth, phi: float) -> bool:
    try:
        growth.at(phi)
    except NasError:
        return False
    return True


def check_within(growth: Growth, budget: Budget, low: float, high: float) -> None:
    """What lies outside the smallest and the largest network is refused.

    Raises:
        ScalingError: saying what those two cost.
    """
    if budget.of(growth.at(low).arch) > budget.limit:
        raise too_small(growth, budget, low)
    if budget.of(growth.at(high).arch) <= budget.limit:
        raise too_large(growth, budget, high)


def too_large(growth: Growth, budget: Budget, phi: float) -> ScalingError:
    """The error of a budget above the largest network."""
    return ScalingError(
        f"budget {budget.text} is beyond the largest network looked at: at phi {phi:g} rule {growth.rule.name} "
        f"has {budget.amount(growth.at(phi).arch)}",
        "give a smaller budget, or a larger architecture to start from",
    )


def too_small(growth: Growth, budget: Budget, phi: float) -> ScalingError:
    """The error of a budget below the smallest network."""
    return ScalingError(
        f"budget {budget.text} is below the smallest network: at phi {phi:g} rule {growth.rule.name} has "
        f"{budget.amount(growth.at(phi).arch)}",
        "give a larger budget, or a smaller architecture to start from",
    )


def nearest_below(growth: Growth, budget: Budget, reaches: Iterable[float] = REACHES) -> Scaled:
    """What comes nearest below the budget, its depth, width and resolution each moved a little off the rule.

    Args:
        growth: base and rule.
        budget: to use up.
        reaches: how far off after rounding, as shares; the next one where nothing comes near under the one before.

    Raises:
        ScalingError: as `largest`.
    """
    centre = largest(growth, budget)
    costs = {centre.arch: budget.of(centre.arch)}
    for most in reaches:
        around = (_resized(shape, centre.arch.resolution, budget) for shape in shapes_near(growth, centre, most))
        costs |= {arch: budget.of(arch) for arch in around if arch is not None}
        if max(costs.values()) >= ENOUGH * budget.limit:
            break
    enough = max(costs.values()) - CLOSE * budget.limit
    nearest = min((arch for arch in costs if costs[arch] >= enough), key=lambda arch: deviation(arch, centre))
    return attrs.evolve(centre, arch=nearest)


def deviation(arch: Architecture, centre: Scaled) -> float:
    """How far it lies off the centre: the largest of three ratios, as a logarithm."""
    moved = attrs.astuple(attrs.evolve(centre, base=centre.arch, arch=arch).realised, recurse=False)[:3]
    return max(abs(math.log(ratio)) for ratio in moved)


def shapes_near(growth: Growth, centre: Scaled, most: float) -> Iterator[Architecture]:
    """Networks of nearly the centre's depth and width at its resolution, each once.

    Args:
        growth: base and rule.
        centre: what they are near to.
        most: how far off they may be after rounding, a share; see `REACHES`.
    """
    asked = centre.asked
    moved = (
        attrs.evolve(asked, depth=asked.depth * deeper, width=asked.width * wider)
        for deeper, wider in product(STEPS, STEPS)
    )
    shapes = dict.fromkeys(filter(None, (_grown(growth, factors) for factors in moved)))
    yield from (shape for shape in shapes if deviation(shape, centre) <= math.log(1 + most))


def _grown(growth: Growth, factors: Factors) -> Architecture | None:
    try:
        return grow(growth.base, factors, growth.keep)
    except NasError:  # at the end of what there is, one step on is nothing
        return None


def _resized(arch: Architecture, centre: int, budget: Budget) -> Architecture | None:
    """The network at the largest resolution near `centre` that fits; unchanged where the cost does not depend on it."""
    low, high = pixels(centre, 1 - OFF_RESOLUTION), pixels(centre, 1 + OFF_RESOLUTION)
    if budget.of(_at(arch, low)) > budget.limit:
        return None
    if budget.of(_at(arch, low)) == budget.of(_at(arch, high)):
        return arch
    sides = range(low, high + 1)
    fitting = bisect_left(sides, True, key=lambda side: budget.of(_at(arch, side)) > budget.limit)
    return _at(arch, sides[fitting - 1])


def _at(arch: Architecture, resolution: int) -> Architecture:
    return attrs.evolve(arch, resolution=resolution)
