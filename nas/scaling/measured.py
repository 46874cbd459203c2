"""Search for the largest network within a budget of a measured cost, such as latency on a device.

A measurement has noise. So networks of the rule are measured until one is a little below the budget. This network, or
this network and some others near the rule, are then measured again, taking turns, and the slowest network that is
still within the budget is chosen.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from statistics import median

import attrs
from attrs import define, field, frozen

from nas.arch.spec import Architecture
from nas.cost.base import Cost, CostModel
from nas.errors import ScalingError
from nas.scaling.budget import (
    LARGEST_PHI,
    PHI_DIGITS,
    REACHES,
    RESOLUTION_DEVIATION,
    SMALLEST_PHI,
    Budget,
    Growth,
    Trial,
    check_growing,
    deviation,
    edge,
    largest_member,
    shapes_near,
    too_large,
    too_small,
)
from nas.scaling.grow import Scaled, pixels
from nas.scaling.rules import PowerRule

LOWEST, AIM = 0.95, 0.975  # shares of the budget: the lowest accepted cost, and the cost to aim at
MEASUREMENTS = 14
ROUNDS = 6
AT_ONCE, LIKELY = 4, 40  # networks that are measured in a round, out of those with the most suitable predictions
NEAR = 0.015  # largest deviation of a prediction from the wanted cost, as a share of the wanted cost
LARGEST_STEP = 1.5  # of phi
# A device can refuse a network, whose cost is then infinite; this many budgets keep logarithms of costs finite.
LARGEST_COST = 1e3
NARROW = 0.005  # width of a bracket of phi that needs no further measurement


@frozen
class Met:
    """Hold a network that was measured within a budget.

    Attributes:
        scaled: Network.
        measured: Its last measured cost.
    """

    scaled: Scaled
    measured: Cost


@define
class _Bracket:
    """Hold the bounds of phi that measurements gave so far.

    Attributes:
        limit: Largest cost within the budget.
        low: Largest phi within the budget, with its cost.
        high: Smallest phi above the budget, with its cost.
        count: Number of measurements.
    """

    limit: float
    low: tuple[float, float] | None = field(default=None, init=False)
    high: tuple[float, float] | None = field(default=None, init=False)
    count: int = field(default=0, init=False)

    def add(self, phi: float, cost: float) -> None:
        self.count += 1
        # Pairs are compared by phi first, so `max` and `min` keep the bounds nearest to each other.
        cost = min(cost, LARGEST_COST * self.limit)
        if cost <= self.limit:
            self.low = max(filter(None, (self.low, (phi, cost))))
        else:
            self.high = min(filter(None, (self.high, (phi, cost))))

    @property
    def done(self) -> bool:
        if self.low is None:
            return False
        narrow = self.high is not None and self.high[0] - self.low[0] < NARROW
        return narrow or self.low[1] >= LOWEST * self.limit

    def next(self, growth_per_phi: float) -> float:
        """Return the phi at which the cost is expected to be a little below the budget.

        With both bounds, the phi is interpolated between them. With one bound, it is extrapolated by the growth of the
        MACs, and the smallest step becomes four times as large with each measurement: the latency of small networks is
        mostly overhead and hardly grows with phi, so that the extrapolated steps alone would be too small.

        Args:
            growth_per_phi: Factor by which the cost is expected to grow with each step of phi.
        """
        if self.low and self.high:
            (low, low_cost), (high, high_cost) = self.low, self.high
            share = math.log(AIM * self.limit / low_cost) / math.log(high_cost / low_cost)
            # A step next to a bound would hardly narrow the bracket if the measurement is off by its noise.
            return low + min(max(share, 0.1), 0.9) * (high - low)
        phi, cost = self.low or self.high or (0.0, self.limit)
        step = math.log(AIM * self.limit / cost) / math.log(growth_per_phi)
        return phi + math.copysign(min(max(abs(step), NARROW * 4**self.count), LARGEST_STEP), step)


def largest_measured(growth: Growth, budget: Budget, trial: Trial, *, free: bool) -> Met:
    """Return the largest network within a budget of a measured cost.

    Args:
        growth: Base and scaling rule.
        budget: Largest cost, in the unit of the measurements.
        trial: Models that measure networks again, and that predict costs without a measurement.
        free: Whether depth, width and resolution may each deviate a little from the rule.

    Raises:
        ScalingError: No network is small enough, the largest network costs less than the budget, or the measurements
            vary too much.
        DeviceError: The device fails.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.cost.analytic import MACS
        >>> from nas.scaling.budget import Trial
        >>> from nas.scaling.rules import parse_rule
        >>> class Counter:  # stands for a device: its "measurements" are counted MACs
        ...     def together(self, archs):
        ...         return [MACS.estimate(arch) for arch in archs]
        >>> growth, trial = Growth(preset("mnasnet-small"), parse_rule("compound")), Trial(Counter(), MACS)
        >>> met = largest_measured(growth, Budget("flops=100M", 100e6, "MACs", MACS, trial), trial, free=True)
        >>> 0.95 * 100e6 <= met.measured.value <= 100e6
        True
    """
    center = _on_rule(growth, budget)
    if free:
        return _near_rule(growth, budget, trial, center)
    return _within_budget(growth, budget, trial, center)


def _on_rule(growth: Growth, budget: Budget) -> Scaled:
    """Return the largest network of the rule whose single measurement is within the budget."""
    phi = _largest_phi(growth, budget) if isinstance(growth.rule, PowerRule) else largest_member(growth, budget)
    return growth.at(phi, budget.text)


def _largest_phi(growth: Growth, budget: Budget) -> float:
    assert isinstance(growth.rule, PowerRule)  # noqa: S101 -- the caller has checked it
    check_growing(growth.rule)
    lowest, highest = edge(growth, SMALLEST_PHI), edge(growth, LARGEST_PHI)
    bracket, phi = _Bracket(budget.limit), 0.0
    for _ in range(MEASUREMENTS):
        bracket.add(phi, budget.of(growth.at(phi).arch))
        # At the edge of the valid networks no further phi is possible in the direction that is needed.
        if bracket.done or phi == (lowest if bracket.low is None else highest):
            break
        phi = round(min(max(bracket.next(growth.rule.product), lowest), highest), PHI_DIGITS)
    if bracket.low is None:
        raise too_small(growth, budget, phi)
    if bracket.low[0] == highest:
        raise too_large(growth, budget, highest)
    return bracket.low[0]


def _within_budget(growth: Growth, budget: Budget, trial: Trial, found: Scaled) -> Met:
    """Return the network, or a smaller one of the rule, once a repeated measurement is within the budget."""
    for _ in range(ROUNDS):
        (cost,) = trial.judge.together([found.arch])
        if cost.value <= budget.limit:
            return Met(found, cost)
        found = _next_smaller(growth, found, budget.limit / cost.value)
    raise _not_met(budget, "within")


def _next_smaller(growth: Growth, found: Scaled, share: float) -> Scaled:
    """Return a smaller network of the rule.

    Args:
        growth: Base and scaling rule.
        found: Network that costs too much.
        share: Budget as a share of its cost; the phi is lowered until the MACs are expected to shrink to this share.
    """
    if not isinstance(growth.rule, PowerRule):
        phis = [phi for phi in growth.rule.phis if phi < found.phi]
        return growth.at(max(phis, default=found.phi), found.name)
    phi, lowest = found.phi, edge(growth, SMALLEST_PHI)
    step = min(math.log(share) / math.log(growth.rule.product), -NARROW)
    # A step can be too small to change the network after rounding.
    for _ in range(MEASUREMENTS):
        phi = round(max(phi + step, lowest), PHI_DIGITS)
        smaller = growth.at(phi, found.name)
        if smaller.arch != found.arch:
            return smaller
    return found


def _not_met(budget: Budget, where: str) -> ScalingError:
    return ScalingError(
        f"no network was measured {where} budget {budget.text}; a network must be measured there, but the measured "
        "times waver too much, or no network comes so near to the budget",
        "stop other work on the device, and give the same command again",
    )


def _near_rule(growth: Growth, budget: Budget, trial: Trial, center: Scaled) -> Met:
    """Return the largest network near the center that is within the budget.

    A few networks at a time are measured, whose predicted cost is a little below the budget. After each round the
    predictions are corrected by the measurements.
    """
    (cost,) = trial.judge.together([center.arch])
    # The guide may predict another unit than that of the measurements, such as MACs, so predictions need a factor.
    scale = cost.value / trial.guide.estimate(center.arch).value
    predictions = _predictions(growth, center, trial.guide, AIM * budget.limit / scale)
    measured = [Met(center, cost)]
    for _ in range(ROUNDS):
        chosen = [] if _accepted(measured, budget) else _choose(predictions, AIM * budget.limit / scale, center)
        if not chosen:
            break
        costs = trial.judge.together(chosen)
        scale *= _correction(predictions, chosen, costs, scale)
        measured += [Met(attrs.evolve(center, arch=arch), cost) for arch, cost in zip(chosen, costs, strict=True)]
        for arch in chosen:
            del predictions[arch]
    if not (accepted := _accepted(measured, budget)):
        raise _not_met(budget, f"from {LOWEST:.0%} to 100% of")
    return max(accepted, key=lambda one: one.measured.value)


def _accepted(measured: Sequence[Met], budget: Budget) -> list[Met]:
    return [one for one in measured if LOWEST * budget.limit <= one.measured.value <= budget.limit]


def _predictions(growth: Growth, center: Scaled, guide: CostModel, wanted: float) -> dict[Architecture, float]:
    """Return predicted costs of networks near the center, of a wider range if no prediction reaches the wanted cost."""
    predictions: dict[Architecture, float] = {}
    for reach in REACHES:
        predictions |= {arch: guide.estimate(arch).value for arch in _networks_near(growth, center, reach)}
        if max(predictions.values()) >= wanted:
            break
    return predictions


def _networks_near(growth: Growth, center: Scaled, reach: float) -> Iterator[Architecture]:
    """Yield networks whose depth, width and resolution are a little above or below those of the center."""
    side = center.arch.resolution
    sides = range(pixels(side, 1 - RESOLUTION_DEVIATION), pixels(side, 1 + RESOLUTION_DEVIATION) + 1)
    for shape in shapes_near(growth, center, reach):
        yield from (attrs.evolve(shape, resolution=resolution) for resolution in sides)


def _choose(predictions: Mapping[Architecture, float], wanted: float, center: Scaled) -> list[Architecture]:
    """Return the networks to measure next: among those predicted near the wanted cost, the ones nearest to the rule."""
    likely = nsmallest(LIKELY, predictions, key=lambda arch: abs(predictions[arch] - wanted))
    near = [arch for arch in likely if abs(predictions[arch] - wanted) <= NEAR * wanted]
    return nsmallest(AT_ONCE, near, key=lambda arch: deviation(arch, center)) if near else likely[:AT_ONCE]


def _correction(
    predictions: Mapping[Architecture, float], chosen: Sequence[Architecture], costs: Sequence[Cost], scale: float
) -> float:
    """Return the median ratio of measured to predicted cost."""
    return median(cost.value / (scale * predictions[arch]) for arch, cost in zip(chosen, costs, strict=True))
