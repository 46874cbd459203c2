"""Budgets that are measured, on a made-up device: overhead, noise, and a judge of its own."""

import math
import zlib
from collections.abc import Sequence

import attrs
import numpy as np
import pytest
from attrs import define, field, frozen

from nas.arch.code import format_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS, cost
from nas.cost.base import Cost
from nas.errors import ScalingError
from nas.scaling.budget import Budget, Growth, Trial
from nas.scaling.measured import Met, largest_measured
from nas.scaling.rules import parse_rule
from tests.scaling.networks import B0, ONE_LAYER, TWO_LAYERS


@frozen
class MadeUpDevice:
    """A `CostModel` of hidden times: overhead, and what multiply-adds and layers take.

    Attributes:
        noise: standard deviation of what is measured, as a share.
        seed: of the noise.
        overhead_ms: of every network.
    """

    noise: float = 0.01
    seed: int = 0
    overhead_ms: float = 0.3

    def hidden_ms(self, arch: Architecture) -> float:
        """What it really takes."""
        layers = sum(stage.layers for stage in arch.stages)
        return self.overhead_ms + 0.02 * layers + cost(arch).macs / 2e8

    def estimate(self, arch: Architecture) -> Cost:
        """The same however often it is asked."""
        return self.told(arch, 0)

    def told(self, arch: Architecture, time: int) -> Cost:
        """What the measurement of that number says."""
        rng = np.random.default_rng([self.seed, time, zlib.crc32(format_text(arch).encode())])
        value = self.hidden_ms(arch) * (1 + self.noise * float(np.clip(rng.standard_normal(), -3, 3)))
        return Cost(value, "ms", "made up", self.noise * value)


@define
class MadeUpJudge:
    """A `Judge` that measures anew each time; `slower` are factors of the first times, the last of all that follow."""

    device: MadeUpDevice
    slower: tuple[float, ...] = (1.0,)
    judged: list[tuple[Architecture, ...]] = field(factory=list, init=False)
    said: list[tuple[Architecture, float]] = field(factory=list, init=False)

    def together(self, archs: Sequence[Architecture]) -> list[Cost]:
        """See `Judge`."""
        factor = self.slower[min(len(self.judged), len(self.slower) - 1)]
        self.judged.append(tuple(archs))
        costs = [self.device.told(arch, len(self.judged)) for arch in archs]
        said = [Cost(factor * one.value, one.unit, one.source, one.spread) for one in costs]
        self.said += [(arch, one.value) for arch, one in zip(archs, said, strict=True)]
        return said


def meet(
    judge: MadeUpJudge, limit: float, *, free: bool, rule: str = "compound", base: Architecture = B0
) -> tuple[Met, Budget]:
    budget = Budget(f"latency={limit:g}ms", limit, "ms", judge.device, Trial(judge, MACS))
    growth = Growth(base, parse_rule(rule, any_product=True))
    assert budget.trial is not None
    met = largest_measured(growth, budget, budget.trial, free=free)
    # What is told was measured of this network, by the judge.
    assert (met.scaled.arch, met.measured.value) in judge.said
    return met, budget


# B0 takes 2.55 ms.
@pytest.mark.parametrize("limit", [0.9, 1.7, 2.5, 2.7, 3.2, 4.3, 7.0, 15.0, 60.0, 250.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_budget_is_used_up_to_a_twentieth_beside_the_rule(limit: float, seed: int) -> None:
    met, _ = meet(MadeUpJudge(MadeUpDevice(seed=seed)), limit, free=True)
    assert 0.95 * limit <= met.measured.value <= limit
    assert met.scaled.name == f"latency={limit:g}ms"


@pytest.mark.parametrize("limit", [0.9, 1.7, 2.5, 2.7, 3.2, 4.3, 7.0, 15.0, 60.0, 250.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_network_of_the_rule_keeps_the_budget(limit: float, seed: int) -> None:
    met, _ = meet(MadeUpJudge(MadeUpDevice(seed=seed)), limit, free=False)
    assert met.measured.value <= limit
    assert met.scaled.arch == Growth(B0, parse_rule("compound")).at(met.scaled.phi).arch


@pytest.mark.parametrize("rule", ["compound", "depth", "width", "resolution", "fast"])
@pytest.mark.parametrize("limit", [2.0, 3.0, 9.0])
def test_without_noise_it_is_the_largest_of_its_rule_or_within_a_twentieth(rule: str, limit: float) -> None:
    device = MadeUpDevice(noise=0.0)
    met, _ = meet(MadeUpJudge(device), limit, free=False, rule=rule)
    assert met.measured.value <= limit
    if met.measured.value < 0.95 * limit:
        next_one = Growth(B0, parse_rule(rule)).at(met.scaled.phi + 0.005)
        assert device.hidden_ms(next_one.arch) > limit


@pytest.mark.parametrize(("limit", "phi"), [(2.6, 0), (13, 2), (30, 3.5), (200, 7)])
def test_the_published_rule_gives_its_largest_member(limit: float, phi: float) -> None:
    met, _ = meet(MadeUpJudge(MadeUpDevice(noise=0)), limit, free=False, rule="published")
    assert met.scaled.phi == phi
    names = {0: "b0", 2: "b3", 3.5: "b4", 7: "b7"}
    assert met.scaled.arch == preset(f"efficientnet-{names[phi]}")


def test_networks_of_much_overhead_are_found_too() -> None:
    # Each takes 0.3 ms and little more: halving multiply-adds makes them hardly faster.
    device = MadeUpDevice(noise=0.0)
    limit = 0.3 + 0.9 * (device.hidden_ms(TWO_LAYERS) - 0.3)
    met, _ = meet(MadeUpJudge(device), limit, free=False, base=TWO_LAYERS, rule="resolution")
    assert 0.95 * limit <= met.measured.value <= limit


@pytest.mark.parametrize("rule", ["compound", "depth"])
def test_a_network_that_cannot_shrink_grows(rule: str) -> None:
    device = MadeUpDevice(noise=0.0)
    met, _ = meet(MadeUpJudge(device), 2.0, free=False, base=ONE_LAYER, rule=rule)
    assert 0.75 * 2.0 <= met.measured.value <= 2.0


@pytest.mark.parametrize("overhead_ms", [0.0, 5.0])
@pytest.mark.parametrize("count", [16, 600, 1000])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.95])
def test_all_between_the_smallest_and_the_largest_is_found(overhead_ms: float, count: int, share: float) -> None:
    device = MadeUpDevice(noise=0.0, overhead_ms=overhead_ms)

    def of(layers: int) -> Architecture:
        return attrs.evolve(ONE_LAYER, stages=(attrs.evolve(ONE_LAYER.stages[0], layers=layers),))

    limit = device.hidden_ms(of(round(1000**share)))
    met, _ = meet(MadeUpJudge(device), limit, free=False, base=of(count), rule="depth")
    (stage,) = met.scaled.arch.stages
    if met.measured.value < 0.95 * limit:
        # A bracket is narrow enough where it is that of a layer in 200.
        assert device.hidden_ms(of(math.ceil(stage.layers * 1.005) + 1)) > limit


def test_what_is_judged_too_slow_gives_way_to_a_smaller_one() -> None:
    calm, doubtful = MadeUpJudge(MadeUpDevice()), MadeUpJudge(MadeUpDevice(), (1.1, 1.0))
    first, second = (meet(judge, 9.0, free=False)[0] for judge in (calm, doubtful))
    assert second.scaled.phi < first.scaled.phi
    assert len(doubtful.judged) == 2
    assert second.measured.value <= 9.0


def test_several_are_judged_at_once_where_the_rule_has_none() -> None:
    judge = MadeUpJudge(MadeUpDevice(noise=0.0))
    # Just above B0 the rule's next network has a layer more in each stage.
    met, _ = meet(judge, 3.2, free=True)
    assert judge.judged[0] == (B0,)
    assert {len(batch) for batch in judge.judged[1:]} == {4}
    assert met.measured.value == max(value for _, value in judge.said if value <= 3.2)


# What cannot be met.


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize(
    ("limit", "words"),
    [(0.31, ("below the smallest network", "a smaller architecture")), (5000, ("beyond the largest", "a larger arch"))],
)
def test_budgets_that_nothing_meets_are_told(free: bool, limit: float, words: tuple[str, str]) -> None:
    with pytest.raises(ScalingError) as caught:
        meet(MadeUpJudge(MadeUpDevice()), limit, free=free)
    assert f"budget latency={limit:g}ms" in caught.value.problem
    assert words[0] in caught.value.problem
    assert "rule compound has" in caught.value.problem
    assert words[1] in caught.value.remedy


def test_a_member_too_slow_for_a_budget_is_told() -> None:
    with pytest.raises(ScalingError, match="below the smallest network: at phi 0 rule published has"):
        meet(MadeUpJudge(MadeUpDevice()), 2.0, free=False, rule="published")


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("rule", ["compound", "published"])
def test_a_judge_that_wavers_wildly_is_told(free: bool, rule: str) -> None:
    judge = MadeUpJudge(MadeUpDevice(), tuple(4.0**sign for sign in (1, 2, 3, 4, 5, 6, 7)))
    told = r"no network was measured (not above|from 95% to 100% of) budget"
    with pytest.raises(ScalingError, match=told) as caught:
        meet(judge, 9.0, free=free, rule=rule)
    assert "times waver too much" in caught.value.problem
    assert "stop other work" in caught.value.remedy
    assert len(judge.judged) <= 7


def test_where_all_networks_are_tried_it_ends_too() -> None:
    base = ONE_LAYER.adapted(resolution=1, classes=10)
    judge = MadeUpJudge(MadeUpDevice(noise=0.0), (3.0,))
    with pytest.raises(ScalingError, match="no network was measured from 95%"):
        meet(judge, 1.04 * judge.device.hidden_ms(base), free=True, base=base)


@pytest.mark.parametrize(("rule", "words"), [("1,1,1", "leaves everything as it is"), ("0.9,2,1", "alpha of rule")])
def test_rules_that_do_not_grow_are_refused(rule: str, words: str) -> None:
    with pytest.raises(ScalingError, match=words):
        meet(MadeUpJudge(MadeUpDevice()), 9.0, free=False, rule=rule)


def test_the_made_up_device_wavers_as_it_should() -> None:
    device = MadeUpDevice()
    shares = [device.told(B0, time).value / device.hidden_ms(B0) - 1 for time in range(200)]
    assert float(np.std(shares)) == pytest.approx(0.01, rel=0.2)
    assert math.isclose(device.estimate(B0).value, device.estimate(B0).value)
