"""Tests of gates that are added to a network with inherited weights, or removed from it."""

import pytest
import torch
from torch import Tensor

from nas.weights.branches import ADDED_ERROR
from nas.weights.inheritance import inherit
from nas.weights.statistics import gate_means
from tests.models.test_build import images
from tests.weights.networks import difference, network, trained, with_weights

TEXT = "net classes=2 resolution=16 act={act};stem conv c4;{operator} r2 c4 {gate};head pool"


@pytest.mark.parametrize("gate", ["se0.5", "se0.5:expanded:hard_sigmoid"])
@pytest.mark.parametrize(
    ("operator", "act", "exact"),
    [
        ("mbconv e2", "relu6", True),
        ("mbconv", "silu", True),
        ("fused e2", "hard_swish", True),
        ("dsconv", "relu6", True),
        ("basic", "relu", True),
        ("bottleneck", "relu6", True),
        ("conv", "relu", True),
        ("conv", "silu", False),
    ],
)
def test_an_added_gate_begins_near_one(operator: str, act: str, exact: bool, gate: str) -> None:
    source, target = (network(TEXT.format(act=act, operator=operator, gate=one)) for one in ("", gate))
    model = trained(source)
    inherited = inherit(source, model.state_dict(), target)
    assert inherited.report.exact == exact
    gated, factors = with_weights(target, inherited.tensors), list[Tensor]()
    gated.get_submodule("stages.0.1.se_gate").register_forward_hook(lambda _m, _i, out: factors.append(out))
    gated(images(target).double())
    assert ((factors[0] > 1 - ADDED_ERROR) & (factors[0] < 1)).all()
    if exact:
        assert difference(model, target, inherited) < 1e-9


def test_a_gate_that_is_not_compensated_changes_values_by_less_than_the_bound() -> None:
    source, target = (network(TEXT.format(act="silu", operator="conv", gate=gate)) for gate in ("", "se0.5"))
    model = trained(source)
    gated = with_weights(target, inherit(source, model.state_dict(), target).tensors)
    values = torch.randn(2, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = (one.get_submodule("stages.0.0")(values) - values for one in (model, gated))
    assert float(before.abs().max()) > 0
    assert ((before - after).abs() <= ADDED_ERROR * before.abs() + 1e-12).all()


@pytest.mark.parametrize(("operator", "act"), [("mbconv e2", "relu6"), ("basic", "relu"), ("conv", "relu")])
def test_a_constant_gate_is_replaced_exactly(operator: str, act: str) -> None:
    source, target = (network(TEXT.format(act=act, operator=operator, gate=gate)) for gate in ("se0.5", ""))
    weights = trained(source).state_dict()
    for layer in ("stages.0.0", "stages.0.1"):
        weights[f"{layer}.se_expand.weight"].zero_()
    model = with_weights(source, weights)
    inherited = inherit(source, weights, target)
    assert not inherited.report.exact
    assert difference(model, target, inherited) < 1e-12
    assert "values for an input of 0" in inherited.report.describe()


def test_a_gate_is_replaced_by_its_measured_mean() -> None:
    source, target = (network(TEXT.format(act="relu", operator="mbconv e3", gate=gate)) for gate in ("se0.5", ""))
    model = trained(source)
    means = gate_means(model, [images(source, count=6).double()])
    inherited = inherit(source, model.state_dict(), target, gate_means=means)
    name = "stages.0.0.project.conv.weight"
    expected = model.get_parameter(name) * means["stages.0.0"][None, :, None, None]
    assert torch.equal(inherited.tensors[name], expected)
    assert "measured means" in inherited.report.describe()


def test_a_removed_gate_and_removed_channels_keep_the_same_channels() -> None:
    source = network(TEXT.format(act="relu", operator="mbconv e3", gate="se0.5"))
    target = network(TEXT.format(act="relu", operator="mbconv e2", gate=""))
    weights = trained(source).state_dict()
    name = "stages.0.0.project.conv.weight"
    narrow = inherit(source, weights, network(TEXT.format(act="relu", operator="mbconv e2", gate="se0.5"))).tensors
    factors = narrow["stages.0.0.se_expand.bias"].sigmoid()
    torch.testing.assert_close(
        inherit(source, weights, target).tensors[name], narrow[name] * factors[None, :, None, None]
    )
