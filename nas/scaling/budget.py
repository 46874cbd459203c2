"""Search for the largest network within a budget: on a scaling rule, or near the rule to use more of the budget."""

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
BISECTIONS = 40  # narrow the range of 20 to 2e-11, far below a step of phi
PHI_DIGITS, PHI_STEPS = 4, 10_000  # phi is rounded to four digits, so that it can be typed again
# Largest relative deviation of depth and width, and of resolution, from the factors of the rule.
SHAPE_DEVIATION, RESOLUTION_DEVIATION = 0.10, 0.07
# Largest deviations of depth and width after rounding. If stages have few layers, a small step of depth becomes a large
# one after rounding, so the second limit is used only if no network within the first one comes near the budget.
REACHES = (SHAPE_DEVIATION, math.inf)
ENOUGH = 0.97  # share of the budget at which a network counts as near the budget
STEPS = tuple(1 + SHAPE_DEVIATION * step / 6 for step in range(-6, 7))
TIE = 0.002  # share of the budget: among networks within it of the best, the one nearest to the rule is chosen
_BETWEEN = "a budget must be between the costs of the smallest and the largest network"


@frozen
class Trial:
    """Hold what is needed to meet a budget of a measured cost.

    Attributes:
        judge: Model that measures the networks found once more.
        guide: Cost model that predicts, without a measurement, which of two networks costs more.
    """

    judge: Judge
    guide: CostModel


@frozen
class Budget:
    """Hold the largest cost that a network may have.

    Attributes:
        text: Text of the budget in its canonical form, such as "flops=1.8G".
        limit: Largest cost, in the unit of the cost.
        unit: Unit of the cost, such as "MACs".
        cost: Cost model.
        trial: Models that are needed if the cost is measured; None if the cost is computed exactly.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.cost.analytic import MACS
        >>> budget = Budget("flops=1G", 1e9, "MACs", MACS)
        >>> budget.amount(preset("efficientnet-b0"))
        '385.8M MACs'
    """

    text: str
    limit: float
    unit: str
    cost: CostModel
    trial: Trial | None = None

    def of(self, arch: Architecture) -> float:
        """Return the cost of an architecture, in the unit of the budget."""
        value: float = self.cost.estimate(arch).value
        return value

    def amount(self, arch: Architecture) -> str:
        """Return the cost of an architecture as a text with its unit."""
        return format_amount(self.of(arch), self.unit)


@frozen
class Growth:
    """Hold how an architecture is scaled.

    Attributes:
        base: Architecture to scale.
        rule: Scaling rule.
        keep: What is not scaled: "stem", "head", "features" or "first-last-depth"; see `nas.arch.multiply.KEEPABLE`.
    """

    base: Architecture
    rule: Rule
    keep: Collection[str] = ()

    def at(self, phi: float, name: str = "") -> Scaled:
        """Return the base scaled at a compound coefficient; see `scale`.

        Example:
            >>> from nas.arch.presets import preset
            >>> from nas.scaling.rules import parse_rule
            >>> Growth(preset("efficientnet-b0"), parse_rule("compound")).at(1).arch.resolution
            258
        """
        return scale(self.base, self.rule, phi, self.keep, name)


def largest(growth: Growth, budget: Budget) -> Scaled:
    """Return the network with the largest phi that is within the budget, for a cost that is computed exactly.

    Args:
        growth: Base and scaling rule.
        budget: Largest cost.

    Raises:
        ScalingError: The budget is below the cost of the smallest network or above that of the largest, or a
            coefficient of the rule is below 1.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.cost.analytic import MACS
        >>> from nas.scaling.rules import parse_rule
        >>> budget = Budget("flops=1G", 1e9, "MACs", MACS)
        >>> found = largest(Growth(preset("efficientnet-b0"), parse_rule("published")), budget)
        >>> found.phi, budget.amount(found.arch)
        (1.0, '993.6M MACs')
    """
    name = budget.text
    if not isinstance(growth.rule, PowerRule):
        return growth.at(largest_member(growth, budget), name)
    check_growing(growth.rule)
    low, high = edge(growth, SMALLEST_PHI), edge(growth, LARGEST_PHI)
    check_within(growth, budget, low, high)
    # Invariant of the bisection: the network at `low` is within the budget, the one at `high` is not.
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(growth.at(middle), budget) else (low, middle)
    # Rounding up can lead to a network above the budget; the phi is rounded down in this case.
    near = growth.at(round(low, PHI_DIGITS), name)
    return near if _fits(near, budget) else growth.at(math.floor(low * PHI_STEPS) / PHI_STEPS, name)


def _fits(scaled: Scaled, budget: Budget) -> bool:
    return budget.of(scaled.arch) <= budget.limit


def check_growing(rule: PowerRule) -> None:
    """Check that the cost grows with phi; otherwise bisection cannot find the largest network within a budget.

    Raises:
        ScalingError: A coefficient is below 1, or all coefficients are 1.
    """
    for name in ("alpha", "beta", "gamma"):
        if getattr(rule, name) < 1:
            raise ScalingError(
                f"{name} of rule {rule.name} is below 1; for a budget no dimension may shrink when phi grows",
                "use coefficients of at least 1, or give --phi in place of a budget",
            )
    if rule.product == 1:
        raise ScalingError(
            f"rule {rule.name} changes nothing, since all its coefficients are 1; for a budget the network must grow "
            "with phi",
            "use a coefficient above 1, or give --phi in place of a budget",
        )


def largest_member(growth: Growth, budget: Budget) -> float:
    """Return the largest phi of a table rule whose network is within the budget.

    Args:
        growth: Base and a rule with a fixed list of members.
        budget: Largest cost.

    Raises:
        ScalingError: No member is within the budget, or the largest member costs no more than half of it.
    """
    fitting = [phi for phi in growth.rule.phis if _fits(growth.at(phi), budget)]
    if not fitting:
        raise too_small(growth, budget, min(growth.rule.phis))
    last = max(growth.rule.phis)
    if max(fitting) == last and DOUBLING * budget.of(growth.at(last).arch) <= budget.limit:
        raise too_large(growth, budget, last)
    return max(fitting)


def edge(growth: Growth, far: float) -> float:
    """Return the phi between 0 and `far` that is farthest from 0 and still gives a valid network."""
    near = 0.0
    if _exists(growth, far):
        return far
    for _ in range(BISECTIONS):
        # Invariant: the network at `near` is valid, and the one at `far` is not.
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
    """Check that the budget is between the costs of the smallest and the largest network.

    Args:
        growth: Base and scaling rule.
        budget: Largest cost.
        low: Smallest phi.
        high: Largest phi.

    Raises:
        ScalingError: The budget is below the smallest or above the largest cost; the error states that cost.
    """
    if budget.of(growth.at(low).arch) > budget.limit:
        raise too_small(growth, budget, low)
    if budget.of(growth.at(high).arch) <= budget.limit:
        raise too_large(growth, budget, high)


def too_large(growth: Growth, budget: Budget, phi: float) -> ScalingError:
    """Return the error for a budget above the cost of the largest network, which is the one at `phi`."""
    return ScalingError(
        f"budget {budget.text} is beyond the largest network: at phi {phi:g} rule {growth.rule.name} has "
        f"{budget.amount(growth.at(phi).arch)}; {_BETWEEN}",
        "give a smaller budget, or a larger architecture to start from",
    )


def too_small(growth: Growth, budget: Budget, phi: float) -> ScalingError:
    """Return the error for a budget below the cost of the smallest network, which is the one at `phi`."""
    return ScalingError(
        f"budget {budget.text} is below the smallest network: at phi {phi:g} rule {growth.rule.name} has "
        f"{budget.amount(growth.at(phi).arch)}; {_BETWEEN}",
        "give a larger budget, or a smaller architecture to start from",
    )


def nearest_below(growth: Growth, budget: Budget, reaches: Iterable[float] = REACHES) -> Scaled:
    """Return the network nearest below the budget whose depth, width and resolution deviate a little from the rule.

    Among networks of nearly the same cost, the one nearest to the rule is returned.

    Args:
        growth: Base and scaling rule.
        budget: Cost to come near to.
        reaches: Largest deviations of depth and width after rounding, as shares. A later one is used only if no network
            within the earlier ones comes near the budget.

    Raises:
        ScalingError: The same errors as those of `largest`.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.cost.analytic import MACS
        >>> from nas.scaling.rules import parse_rule
        >>> growth, budget = Growth(preset("mnasnet-small"), parse_rule("compound")), Budget("", 100e6, "MACs", MACS)
        >>> 0.97 * 100e6 <= budget.of(nearest_below(growth, budget).arch) <= 100e6
        True
    """
    center = largest(growth, budget)
    costs = {center.arch: budget.of(center.arch)}
    for reach in reaches:
        resized = (_resize(shape, center.arch.resolution, budget) for shape in shapes_near(growth, center, reach))
        costs |= {arch: budget.of(arch) for arch in resized if arch is not None}
        if max(costs.values()) >= ENOUGH * budget.limit:
            break
    # Costs within `TIE` differ too little to matter, so the distance to the rule decides among them.
    lowest_cost = max(costs.values()) - TIE * budget.limit
    nearest = min((arch for arch in costs if costs[arch] >= lowest_cost), key=lambda arch: deviation(arch, center))
    return attrs.evolve(center, arch=nearest)


def deviation(arch: Architecture, center: Scaled) -> float:
    """Return the deviation of an architecture from the center.

    It is the largest absolute logarithm of the ratios of depth, width and resolution.
    """
    ratios = attrs.astuple(attrs.evolve(center, base=center.arch, arch=arch).realized, recurse=False)[:3]
    return max(abs(math.log(ratio)) for ratio in ratios)


def shapes_near(growth: Growth, center: Scaled, reach: float) -> Iterator[Architecture]:
    """Yield distinct networks whose depth and width are near those of the center, at its resolution.

    Args:
        growth: Base and scaling rule.
        center: Network of the rule.
        reach: Largest deviation of depth and width after rounding, as a share; see `REACHES`.
    """
    asked = center.asked
    nearby = (
        attrs.evolve(asked, depth=asked.depth * deeper, width=asked.width * wider)
        for deeper, wider in product(STEPS, STEPS)
    )
    shapes = dict.fromkeys(filter(None, (_grow_or_none(growth, factors) for factors in nearby)))
    yield from (shape for shape in shapes if deviation(shape, center) <= math.log(1 + reach))


def _grow_or_none(growth: Growth, factors: Factors) -> Architecture | None:
    try:
        return grow(growth.base, factors, growth.keep)
    except NasError:  # Next to the smallest or the largest network, a step can lead to no valid network.
        return None


def _resize(arch: Architecture, center: int, budget: Budget) -> Architecture | None:
    """Return the network at the largest resolution near `center` that is within the budget, or None if there is none.

    If the cost does not depend on the resolution, the network is returned unchanged.
    """
    low, high = pixels(center, 1 - RESOLUTION_DEVIATION), pixels(center, 1 + RESOLUTION_DEVIATION)
    if budget.of(_at(arch, low)) > budget.limit:
        return None
    if budget.of(_at(arch, low)) == budget.of(_at(arch, high)):
        return arch
    sides = range(low, high + 1)
    # The bisection is valid because no cost falls when the resolution grows.
    fitting = bisect_left(sides, True, key=lambda side: budget.of(_at(arch, side)) > budget.limit)
    return _at(arch, sides[fitting - 1])


def _at(arch: Architecture, resolution: int) -> Architecture:
    return attrs.evolve(arch, resolution=resolution)
