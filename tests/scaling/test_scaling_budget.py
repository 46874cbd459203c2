"""Tests of budgets of exact costs: the largest network of a rule, and networks near the rule."""

import math

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.cost.target import parse_target
from nas.errors import NasError, ScalingError
from nas.scaling.budget import Budget, Growth, largest, nearest_below
from nas.scaling.grow import Scaled, grow
from nas.scaling.rules import Factors, parse_rule
from tests.scaling.networks import B0, ONE_LAYER, TWO_LAYERS, channels, layers

GIGAS = st.floats(math.log(0.2), math.log(40)).map(math.exp)


def growth(rule: str = "compound", base: Architecture = B0, keep: tuple[str, ...] = ()) -> Growth:
    return Growth(base, parse_rule(rule, any_product=True), keep)


def budget(text: str, precision: str = "fp32") -> Budget:
    target = parse_target(text, precision)
    return Budget(target.text, target.limit, target.unit, target.cost)


def flops(gigas: float) -> Budget:
    return budget(f"flops={1e9 * gigas / 1e3:.3f}k")


def deviation(found: Scaled, center: Scaled) -> float:
    """Return the larger of the ratios by which depth and width deviate from the rule; it is at least 1."""
    ratios = [count(found.arch) / count(center.arch) for count in (layers, channels)]
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def check_largest(growth: Growth, budget: Budget, found: Scaled) -> None:
    """Check that the network is within the budget, and that the next 30 steps of phi, then each 400th, are not."""
    assert found == growth.at(found.phi, budget.text)
    assert budget.cost.estimate(found.arch).value <= budget.limit
    step = round(found.phi * 10_000)
    assert step / 10_000 == found.phi
    for larger in (*range(step + 1, step + 31), *range(step + 400, 100_000, 400)):
        try:
            arch = growth.at(larger / 10_000).arch
        except NasError:  # the network would be larger than allowed
            continue
        assert budget.cost.estimate(arch).value > budget.limit


@given(GIGAS)
@settings(max_examples=15)
def test_near_the_rule_at_least_97_percent_of_any_flops_budget_is_used(gigas: float) -> None:
    limit = flops(gigas).limit
    found = nearest_below(growth(), flops(gigas))
    assert 0.97 * limit <= cost(found.arch).macs <= limit


@given(GIGAS)
@settings(max_examples=4)
def test_no_larger_phi_is_within_the_budget(gigas: float) -> None:
    check_largest(growth(), flops(gigas), largest(growth(), flops(gigas)))


@pytest.mark.parametrize(
    ("rule", "base", "text", "precision"),
    [
        ("compound", B0, "params=12M", "fp32"),
        ("compound", B0, "peak_memory=20MB", "fp32"),
        ("compound", B0, "peak_memory=3MB", "int8"),
        ("compound", B0, "size=8MB", "int8"),
        ("depth", B0, "flops=1G", "fp32"),
        ("width", preset("mobilenetv2"), "params=9M", "fp32"),
        ("resolution", preset("resnet-50"), "flops=1G", "fp32"),
        ("fast", preset("mnasnet-small"), "flops=30M", "fp32"),
        ("1.3,1,1.2", TWO_LAYERS, "flops=3M", "fp32"),
    ],
)
def test_no_larger_phi_is_within_a_budget_of_any_kind(rule: str, base: Architecture, text: str, precision: str) -> None:
    check_largest(growth(rule, base), budget(text, precision), largest(growth(rule, base), budget(text, precision)))


def test_a_budget_is_exact_to_the_last_multiply_add() -> None:
    macs = cost(growth().at(2).arch).macs
    assert cost(largest(growth(), budget(f"flops={macs / 1e3}k")).arch).macs == macs
    assert cost(largest(growth(), budget(f"flops={(macs - 1) / 1e3}k")).arch).macs < macs


def test_the_network_is_named_after_the_budget() -> None:
    found = largest(growth(), budget("flops=1800M"))
    assert (found.name, found.rule, found.base) == ("flops=1.8G", "compound", B0)
    assert nearest_below(growth(), budget("flops=1800M")).name == "flops=1.8G"


def test_a_size_budget_uses_the_bytes_of_the_precision() -> None:
    found = largest(growth(), budget("size=8MB", "int8"))
    # At int8 each weight takes one byte, and each bias takes four.
    counted = cost(found.arch)
    assert budget("size=8MB", "int8").of(found.arch) == counted.weights + 4 * counted.biases
    assert counted.peak_bytes("int8") * 4 == counted.peak_bytes()
    assert largest(growth(), budget("size=8MB")).phi < found.phi


@pytest.mark.parametrize(("text", "phi"), [("flops=400M", 0), ("flops=1.9G", 2), ("params=30M", 3.5), ("flops=40G", 7)])
def test_the_published_rule_gives_its_largest_member(text: str, phi: float) -> None:
    # B5 has 30,389,784 parameters, and B4 19,341,616.
    found = largest(growth("published"), budget(text))
    assert (found.phi, found.name) == (phi, text)
    names = {0: "b0", 2: "b3", 3.5: "b4", 7: "b7"}
    assert found.arch == preset(f"efficientnet-{names[phi]}")


def test_kept_parts_are_kept_near_the_rule_too() -> None:
    keeping = growth("compound", preset("mnasnet-a1"), ("head", "stem"))
    for found in (largest(keeping, flops(1)), nearest_below(keeping, flops(1))):
        assert found.arch.head == preset("mnasnet-a1").head
        assert found.arch.stem == preset("mnasnet-a1").stem


# Near the rule.


def best_near_the_rule(center: Scaled, limit: float) -> int:
    """Return the most MACs within the limit, by trying all depths and widths within 10%, and resolutions within 7%."""
    most = 0
    steps = [0.9 + 0.01 * step for step in range(21)]
    side = center.arch.resolution
    for deeper in steps:
        for wider in steps:
            factors = Factors(center.asked.depth * deeper, center.asked.width * wider, center.asked.resolution)
            shape = attrs.evolve(center, arch=grow(center.base, factors))
            if deviation(shape, center) > 1.1:
                continue
            for pixels in range(math.ceil(0.93 * side), math.floor(1.07 * side) + 1):
                macs = cost(attrs.evolve(shape.arch, resolution=pixels)).macs
                most = max(most, macs if macs <= limit else 0)
    return most


@given(GIGAS)
@settings(max_examples=12)
def test_the_network_is_near_the_rule_unless_no_network_there_uses_the_budget(gigas: float) -> None:
    center, found = largest(growth(), flops(gigas)), nearest_below(growth(), flops(gigas))
    assert abs(found.arch.resolution / center.arch.resolution - 1) <= 0.07 + 0.5 / center.arch.resolution
    assert (found.phi, found.asked) == (center.phi, center.asked)
    if deviation(found, center) > 1.1 + 1e-9:
        assert best_near_the_rule(center, flops(gigas).limit) < 0.97 * flops(gigas).limit


def test_a_larger_deviation_is_used_if_no_network_near_the_rule_uses_the_budget() -> None:
    # At this budget one step of depth adds layers to most stages; without it more than 3% of 560M would be unused.
    center, found = largest(growth(), flops(0.56)), nearest_below(growth(), flops(0.56))
    assert best_near_the_rule(center, 0.56e9) < 0.97 * 0.56e9
    assert deviation(found, center) > 1.1
    assert cost(found.arch).macs >= 0.97 * 0.56e9


def test_a_network_that_uses_the_whole_budget_is_unchanged() -> None:
    exact = flops(cost(growth().at(3).arch).macs / 1e9)
    assert nearest_below(growth(), exact) == largest(growth(), exact)


def test_a_cost_that_does_not_depend_on_the_resolution_does_not_change_it() -> None:
    found = nearest_below(growth(), budget("params=12M"))
    assert 0.97 * 12e6 <= cost(found.arch).params <= 12e6
    assert found.arch.resolution == largest(growth(), budget("params=12M")).arch.resolution


@pytest.mark.parametrize("base", [ONE_LAYER, TWO_LAYERS])
def test_a_network_of_few_layers_loses_none(base: Architecture) -> None:
    limit = 1.05 * cost(base).macs
    found = nearest_below(growth(base=base), flops(limit / 1e9))
    assert layers(found.arch) >= layers(base)
    assert cost(base).macs <= cost(found.arch).macs <= limit


# Budgets that cannot be met.


@pytest.mark.parametrize("rule", ["compound", "published", "depth", "resolution"])
@pytest.mark.parametrize("free", [False, True])
def test_a_budget_below_the_smallest_network_raises_an_error_with_its_cost(rule: str, free: bool) -> None:
    phi, macs = {
        "compound": ("-10", cost(growth().at(-10).arch).macs),
        "published": ("0", cost(B0).macs),
        "depth": ("-4", cost(growth("depth").at(-4).arch).macs),
        "resolution": ("-10", cost(B0.adapted(resolution=7, classes=1000)).macs),
    }[rule]
    amount = f"{macs / 1e6:.4g}M MACs"
    with pytest.raises(ScalingError) as caught:
        (nearest_below if free else largest)(growth(rule), flops(macs / 1e9 - 1e-5))
    assert "is below the smallest network" in caught.value.problem
    assert f"at phi {phi} rule {rule} has {amount}" in caught.value.problem
    assert "a smaller architecture to start from" in caught.value.remedy


def test_a_budget_above_the_largest_network_raises_an_error_with_its_cost() -> None:
    # The largest resolution is 224 x 32 pixels.
    macs = cost(B0.adapted(resolution=7168, classes=1000)).macs
    with pytest.raises(ScalingError) as caught:
        largest(growth("resolution"), flops(macs / 1e9 + 1))
    assert "budget flops=" in caught.value.problem
    assert f"beyond the largest network: at phi 10 rule resolution has {macs / 1e9:.4g}G" in (caught.value.problem)
    assert "a larger architecture to start from" in caught.value.remedy


def test_a_parameter_budget_cannot_be_met_by_the_resolution_rule() -> None:
    with pytest.raises(ScalingError, match=r"at phi 10 rule resolution has 5\.289M params"):
        largest(growth("resolution"), budget("params=6M"))


@pytest.mark.parametrize(("rule", "name"), [("0.9,1.2,1.2", "alpha"), ("2,0.99,1", "beta"), ("2,1,0.5", "gamma")])
def test_a_rule_with_a_coefficient_below_one_raises_an_error(rule: str, name: str) -> None:
    for find in (largest, nearest_below):
        with pytest.raises(ScalingError, match=f"{name} of rule {rule} is below 1") as caught:
            find(growth(rule), flops(1))
        assert "--phi" in caught.value.remedy


def test_a_rule_that_changes_nothing_raises_an_error() -> None:
    with pytest.raises(ScalingError, match="rule 1,1,1 changes nothing"):
        largest(growth("1,1,1"), flops(1))
