"""Tests of budgets of measured costs, on a simulated device with overhead and noise."""

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
class SimulatedDevice:
    """Simulate latencies: each network has an overhead, and a time for its multiply-adds and layers.

    Attributes:
        noise: Standard deviation of a measurement, as a share of the true latency.
        seed: Seed of the noise.
        overhead_ms: Overhead of every network, in milliseconds.
    """

    noise: float = 0.01
    seed: int = 0
    overhead_ms: float = 0.3

    def true_ms(self, arch: Architecture) -> float:
        """Return the latency without noise."""
        layers = sum(stage.layers for stage in arch.stages)
        return self.overhead_ms + 0.02 * layers + cost(arch).macs / 2e8

    def estimate(self, arch: Architecture) -> Cost:
        """Return one measurement, which is the same each time."""
        return self.measure(arch, 0)

    def measure(self, arch: Architecture, repeat: int) -> Cost:
        """Return the measurement of the given number."""
        rng = np.random.default_rng([self.seed, repeat, zlib.crc32(format_text(arch).encode())])
        value = self.true_ms(arch) * (1 + self.noise * float(np.clip(rng.standard_normal(), -3, 3)))
        return Cost(value, "ms", "simulated", self.noise * value)


@define
class SimulatedJudge:
    """Measure networks anew in each batch, and record the measurements.

    Attributes:
        device: Simulated device.
        slowdowns: Factors of the latencies in the first batches; the last factor applies to all later batches too.
        batches: Batches that were measured.
        measurements: Networks with their measured latencies.
    """

    device: SimulatedDevice
    slowdowns: tuple[float, ...] = (1.0,)
    batches: list[tuple[Architecture, ...]] = field(factory=list, init=False)
    measurements: list[tuple[Architecture, float]] = field(factory=list, init=False)

    def together(self, archs: Sequence[Architecture]) -> list[Cost]:
        """Return measurements of the networks; see `Judge`."""
        factor = self.slowdowns[min(len(self.batches), len(self.slowdowns) - 1)]
        self.batches.append(tuple(archs))
        costs = [self.device.measure(arch, len(self.batches)) for arch in archs]
        slowed = [Cost(factor * one.value, one.unit, one.source, one.spread) for one in costs]
        self.measurements += [(arch, one.value) for arch, one in zip(archs, slowed, strict=True)]
        return slowed


def meet(
    judge: SimulatedJudge, limit: float, *, free: bool, rule: str = "compound", base: Architecture = B0
) -> tuple[Met, Budget]:
    budget = Budget(f"latency={limit:g}ms", limit, "ms", judge.device, Trial(judge, MACS))
    growth = Growth(base, parse_rule(rule, any_product=True))
    assert budget.trial is not None
    met = largest_measured(growth, budget, budget.trial, free=free)
    # The reported cost is a measurement of this network.
    assert (met.scaled.arch, met.measured.value) in judge.measurements
    return met, budget


# B0 takes 2.55 ms.
@pytest.mark.parametrize("limit", [0.9, 1.7, 2.5, 2.7, 3.2, 4.3, 7.0, 15.0, 60.0, 250.0])
@pytest.mark.parametrize("seed", range(3))
def test_near_the_rule_at_least_95_percent_of_the_budget_is_used(limit: float, seed: int) -> None:
    met, _ = meet(SimulatedJudge(SimulatedDevice(seed=seed)), limit, free=True)
    assert 0.95 * limit <= met.measured.value <= limit
    assert met.scaled.name == f"latency={limit:g}ms"


@pytest.mark.parametrize("limit", [0.9, 1.7, 2.5, 2.7, 3.2, 4.3, 7.0, 15.0, 60.0, 250.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_network_of_the_rule_is_within_the_budget(limit: float, seed: int) -> None:
    met, _ = meet(SimulatedJudge(SimulatedDevice(seed=seed)), limit, free=False)
    assert met.measured.value <= limit
    assert met.scaled.arch == Growth(B0, parse_rule("compound")).at(met.scaled.phi).arch


@pytest.mark.parametrize("rule", ["compound", "depth", "width", "resolution", "fast"])
@pytest.mark.parametrize("limit", [2.0, 3.0, 9.0])
def test_without_noise_the_network_is_the_largest_of_its_rule_or_uses_95_percent(rule: str, limit: float) -> None:
    device = SimulatedDevice(noise=0.0)
    met, _ = meet(SimulatedJudge(device), limit, free=False, rule=rule)
    assert met.measured.value <= limit
    if met.measured.value < 0.95 * limit:
        next_one = Growth(B0, parse_rule(rule)).at(met.scaled.phi + 0.005)
        assert device.true_ms(next_one.arch) > limit


@pytest.mark.parametrize(("limit", "phi"), [(2.6, 0), (13, 2), (30, 3.5), (200, 7)])
def test_the_published_rule_gives_its_largest_member(limit: float, phi: float) -> None:
    met, _ = meet(SimulatedJudge(SimulatedDevice(noise=0)), limit, free=False, rule="published")
    assert met.scaled.phi == phi
    names = {0: "b0", 2: "b3", 3.5: "b4", 7: "b7"}
    assert met.scaled.arch == preset(f"efficientnet-{names[phi]}")


def test_a_budget_can_be_met_when_latency_is_mostly_overhead() -> None:
    # The latency is 0.3 ms of overhead and little more, so half the multiply-adds hardly make a network faster.
    device = SimulatedDevice(noise=0.0)
    limit = 0.3 + 0.9 * (device.true_ms(TWO_LAYERS) - 0.3)
    met, _ = meet(SimulatedJudge(device), limit, free=False, base=TWO_LAYERS, rule="resolution")
    assert 0.95 * limit <= met.measured.value <= limit


@pytest.mark.parametrize("rule", ["compound", "depth"])
def test_a_network_of_one_layer_can_grow_to_a_budget(rule: str) -> None:
    device = SimulatedDevice(noise=0.0)
    met, _ = meet(SimulatedJudge(device), 2.0, free=False, base=ONE_LAYER, rule=rule)
    assert 0.75 * 2.0 <= met.measured.value <= 2.0


@pytest.mark.parametrize("overhead_ms", [0.0, 5.0])
@pytest.mark.parametrize("count", [16, 600, 1000])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.95])
def test_every_budget_between_the_smallest_and_the_largest_network_is_met(
    overhead_ms: float, count: int, share: float
) -> None:
    device = SimulatedDevice(noise=0.0, overhead_ms=overhead_ms)

    def of(layers: int) -> Architecture:
        return attrs.evolve(ONE_LAYER, stages=(attrs.evolve(ONE_LAYER.stages[0], layers=layers),))

    limit = device.true_ms(of(round(1000**share)))
    met, _ = meet(SimulatedJudge(device), limit, free=False, base=of(count), rule="depth")
    (stage,) = met.scaled.arch.stages
    if met.measured.value < 0.95 * limit:
        # The search may stop when it has narrowed the depth down to one layer in 200.
        assert device.true_ms(of(math.ceil(stage.layers * 1.005) + 1)) > limit


def test_a_network_that_is_too_slow_when_measured_again_is_replaced_by_a_smaller_one() -> None:
    steady, slower = SimulatedJudge(SimulatedDevice()), SimulatedJudge(SimulatedDevice(), (1.1, 1.0))
    first, second = (meet(judge, 9.0, free=False)[0] for judge in (steady, slower))
    assert second.scaled.phi < first.scaled.phi
    assert len(slower.batches) == 2
    assert second.measured.value <= 9.0


def test_four_networks_are_measured_in_turn_if_no_network_of_the_rule_is_near_the_budget() -> None:
    judge = SimulatedJudge(SimulatedDevice(noise=0.0))
    # Just above B0, the next network of the rule has one more layer in each stage.
    met, _ = meet(judge, 3.2, free=True)
    assert judge.batches[0] == (B0,)
    assert {len(batch) for batch in judge.batches[1:]} == {4}
    assert met.measured.value == max(value for _, value in judge.measurements if value <= 3.2)


# Budgets that cannot be met.


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize(
    ("limit", "words"),
    [(0.31, ("below the smallest network", "a smaller architecture")), (5000, ("beyond the largest", "a larger arch"))],
)
def test_a_budget_that_no_network_meets_raises_an_error(free: bool, limit: float, words: tuple[str, str]) -> None:
    with pytest.raises(ScalingError) as caught:
        meet(SimulatedJudge(SimulatedDevice()), limit, free=free)
    assert f"budget latency={limit:g}ms" in caught.value.problem
    assert words[0] in caught.value.problem
    assert "rule compound has" in caught.value.problem
    assert words[1] in caught.value.remedy


def test_a_budget_below_the_smallest_published_member_raises_an_error() -> None:
    with pytest.raises(ScalingError, match="below the smallest network: at phi 0 rule published has"):
        meet(SimulatedJudge(SimulatedDevice()), 2.0, free=False, rule="published")


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("rule", ["compound", "published"])
def test_measurements_that_vary_too_much_raise_an_error(free: bool, rule: str) -> None:
    judge = SimulatedJudge(SimulatedDevice(), tuple(4.0**power for power in (1, 2, 3, 4, 5, 6, 7)))
    message = r"no network was measured (within|from 95% to 100% of) budget"
    with pytest.raises(ScalingError, match=message) as caught:
        meet(judge, 9.0, free=free, rule=rule)
    assert "times waver too much" in caught.value.problem
    assert "stop other work" in caught.value.remedy
    assert len(judge.batches) <= 7


def test_the_search_ends_when_all_networks_are_measured() -> None:
    base = ONE_LAYER.adapted(resolution=1, classes=10)
    judge = SimulatedJudge(SimulatedDevice(noise=0.0), (3.0,))
    with pytest.raises(ScalingError, match="no network was measured from 95%"):
        meet(judge, 1.04 * judge.device.true_ms(base), free=True, base=base)


@pytest.mark.parametrize(("rule", "words"), [("1,1,1", "changes nothing"), ("0.9,2,1", "alpha of rule")])
def test_rules_that_do_not_grow_raise_an_error(rule: str, words: str) -> None:
    with pytest.raises(ScalingError, match=words):
        meet(SimulatedJudge(SimulatedDevice()), 9.0, free=False, rule=rule)


def test_the_simulated_device_has_the_stated_noise() -> None:
    device = SimulatedDevice()
    shares = [device.measure(B0, repeat).value / device.true_ms(B0) - 1 for repeat in range(200)]
    assert float(np.std(shares)) == pytest.approx(0.01, rel=0.2)
    assert math.isclose(device.estimate(B0).value, device.estimate(B0).value)
