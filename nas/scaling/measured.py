"""Budgets of what is measured, and so never known exactly: latency on a device.

Networks of the rule are measured until one lies a little below the budget; it, or with it some that lie beside the
rule, are then measured once more, in turn, and the largest of those that keep the budget is taken.
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
    OFF_RESOLUTION,
    PHI_DIGITS,
    REACHES,
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

LOWEST, AIM = 0.95, 0.975  # shares of the budget
MEASUREMENTS = 14
ROUNDS = 6
AT_ONCE, LIKELY = 4, 40
NEAR = 0.015  # a share of what is wanted
STRIDE = 1.5  # of phi, at most
MOST = 1e3  # budgets: what a network costs that the device refuses
NARROW = 0.005


@frozen
class Met:
    """A network with what was measured of it in the end."""

    scaled: Scaled
    measured: Cost


@define
class _Bracket:
    """Phis measured so far: the largest that fits, and the smallest that does not."""

    limit: float
    low: tuple[float, float] | None = field(default=None, init=False)
    high: tuple[float, float] | None = field(default=None, init=False)
    taken: int = field(default=0, init=False)

    def take(self, phi: float, cost: float) -> None:
        self.taken += 1
        cost = min(cost, MOST * self.limit)
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

    def next(self, doubling: float) -> float:
        """Where the aim should lie: between both, else as far as the cost's growth says, and soon farther.

        Costs of small networks hardly grow with phi where most of each is overhead.
        """
        if self.low and self.high:
            (a, cost_a), (b, cost_b) = self.low, self.high
            share = math.log(AIM * self.limit / cost_a) / math.log(cost_b / cost_a)
            return a + min(max(share, 0.1), 0.9) * (b - a)
        phi, cost = self.low or self.high or (0.0, self.limit)
        wanted = math.log(AIM * self.limit / cost) / math.log(doubling)
        return phi + math.copysign(min(max(abs(wanted), NARROW * 4**self.taken), STRIDE), wanted)


def largest_measured(growth: Growth, budget: Budget, trial: Trial, *, free: bool) -> Met:
    """The largest network below a measured budget.

    Args:
        growth: base and rule.
        budget: in the unit of what is measured.
        trial: how that is done.
        free: depth, width and resolution may each be moved a little off the rule.

    Raises:
        ScalingError: none is small enough, or the largest that is looked at is smaller than the budget.
        DeviceError: the device fails.
    """
    centre = _on_rule(growth, budget)
    if free:
        return _beside_rule(growth, budget, trial, centre)
    return _kept(growth, budget, trial, centre)


def _on_rule(growth: Growth, budget: Budget) -> Scaled:
    """The largest network of the rule whose single measurement keeps the budget."""
    phi = _largest_phi(growth, budget) if isinstance(growth.rule, PowerRule) else largest_member(growth, budget)
    return growth.at(phi, budget.text)


def _largest_phi(growth: Growth, budget: Budget) -> float:
    assert isinstance(growth.rule, PowerRule)  # noqa: S101 -- the caller saw to it
    check_growing(growth.rule)
    lowest, highest = edge(growth, SMALLEST_PHI), edge(growth, LARGEST_PHI)
    bracket, phi = _Bracket(budget.limit), 0.0
    for _ in range(MEASUREMENTS):
        bracket.take(phi, budget.of(growth.at(phi).arch))
        if bracket.done or phi == (lowest if bracket.low is None else highest):
            break
        phi = round(min(max(bracket.next(growth.rule.product), lowest), highest), PHI_DIGITS)
    if bracket.low is None:
        raise too_small(growth, budget, phi)
    if bracket.low[0] == highest:
        raise too_large(growth, budget, highest)
    return bracket.low[0]


def _kept(growth: Growth, budget: Budget, trial: Trial, found: Scaled) -> Met:
    """The network, or the next smaller one of the rule, that keeps the budget when it is measured once more."""
    for _ in range(ROUNDS):
        (cost,) = trial.judge.together([found.arch])
        if cost.value <= budget.limit:
            return Met(found, cost)
        found = _next_smaller(growth, found, budget.limit / cost.value)
    raise _not_met(budget, "not above")


def _next_smaller(growth: Growth, found: Scaled, share: float) -> Scaled:
    """A network of the rule that is smaller by at least the share that is missing."""
    if not isinstance(growth.rule, PowerRule):
        smaller = [phi for phi in growth.rule.phis if phi < found.phi]
        return growth.at(max(smaller, default=found.phi), found.name)
    phi, lowest = found.phi, edge(growth, SMALLEST_PHI)
    step = min(math.log(share) / math.log(growth.rule.product), -NARROW)
    for _ in range(MEASUREMENTS):
        phi = round(max(phi + step, lowest), PHI_DIGITS)
        smaller_one = growth.at(phi, found.name)
        if smaller_one.arch != found.arch:
            return smaller_one
    return found


def _not_met(budget: Budget, where: str) -> ScalingError:
    return ScalingError(
        f"no network was measured {where} budget {budget.text}: times waver too much, or none comes so near",
        "stop other work on the device and try again",
    )


def _beside_rule(growth: Growth, budget: Budget, trial: Trial, centre: Scaled) -> Met:
    """Networks near the centre, some at a time, whose predicted cost lies a little below the budget."""
    (cost,) = trial.judge.together([centre.arch])
    scale = cost.value / trial.guide.estimate(centre.arch).value
    waiting = _waiting(growth, centre, trial.guide, AIM * budget.limit / scale)
    met = [Met(centre, cost)]
    for _ in range(ROUNDS):
        tried = [] if _inside(met, budget) else _next_to_try(waiting, AIM * budget.limit / scale, centre)
        if not tried:
            break
        costs = trial.judge.together(tried)
        scale *= _off(waiting, tried, costs, scale)
        met += [Met(attrs.evolve(centre, arch=arch), cost) for arch, cost in zip(tried, costs, strict=True)]
        for arch in tried:
            del waiting[arch]
    if not (inside := _inside(met, budget)):
        raise _not_met(budget, f"from {LOWEST:.0%} to 100% of")
    return max(inside, key=lambda one: one.measured.value)


def _inside(met: Sequence[Met], budget: Budget) -> list[Met]:
    return [one for one in met if LOWEST * budget.limit <= one.measured.value <= budget.limit]


def _waiting(growth: Growth, centre: Scaled, guide: CostModel, wanted: float) -> dict[Architecture, float]:
    """Networks near the centre with what the guide says of them; farther ones where none comes near what is wanted."""
    waiting: dict[Architecture, float] = {}
    for most in REACHES:
        waiting |= {arch: guide.estimate(arch).value for arch in _near(growth, centre, most)}
        if max(waiting.values()) >= wanted:
            break
    return waiting


def _near(growth: Growth, centre: Scaled, most: float) -> Iterator[Architecture]:
    """Networks a little deeper, wider and larger than the centre, and a little less so."""
    side = centre.arch.resolution
    sides = range(pixels(side, 1 - OFF_RESOLUTION), pixels(side, 1 + OFF_RESOLUTION) + 1)
    for shape in shapes_near(growth, centre, most):
        yield from (attrs.evolve(shape, resolution=resolution) for resolution in sides)


def _next_to_try(waiting: Mapping[Architecture, float], wanted: float, centre: Scaled) -> list[Architecture]:
    """Of those that are predicted nearly as wanted the ones that are least off the rule."""
    likely = nsmallest(LIKELY, waiting, key=lambda arch: abs(waiting[arch] - wanted))
    near = [arch for arch in likely if abs(waiting[arch] - wanted) <= NEAR * wanted]
    return nsmallest(AT_ONCE, near, key=lambda arch: deviation(arch, centre)) if near else likely[:AT_ONCE]


def _off(
    waiting: Mapping[Architecture, float], tried: Sequence[Architecture], costs: Sequence[Cost], scale: float
) -> float:
    """How many times as much as was predicted they cost, in the middle."""
    return median(cost.value / (scale * waiting[arch]) for arch, cost in zip(tried, costs, strict=True))
