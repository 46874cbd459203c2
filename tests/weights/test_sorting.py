"""Tests of networks whose channels are sorted: the function stays, and the first channels are the most important."""

import pytest
import torch
from hypothesis import given, settings

from nas.arch.layers import walk
from nas.arch.spec import Architecture
from nas.weights.channels import channel_sets, importance
from nas.weights.inheritance import Inherited, inherit
from nas.weights.report import InheritanceReport
from nas.weights.sorting import sort_channels
from tests.strategies import architectures
from tests.weights.networks import difference, network, trained

NETWORKS = (
    "net classes=3 resolution=16;stem conv c6 s1;mbconv r2 e3 c6 se0.5;fused r2 e2 c8 s2;head conv c10",
    "net classes=3 resolution=16;stem maxpool c6;basic r2 c6;bottleneck r2 e2 c8 s2 projskip;head pool",
    "net classes=3 resolution=16;stem conv c6;dsconv r2 c6;inverted e1 c8;conv r2 c8 se0.5;head mlp c7 f9",
    "net classes=3 resolution=16;stem conv c4;mbconv r2 e2 c8 s2 poolskip;head conv c6",
)


def sorting_difference(arch: Architecture) -> float:
    """Return the relative difference of the logits that sorting makes."""
    model = trained(arch)
    tensors = sort_channels(arch, model.state_dict())
    return difference(model, arch, Inherited(tensors, InheritanceReport((), ())))


@pytest.mark.parametrize("text", NETWORKS)
def test_sorting_channels_keeps_the_function(text: str) -> None:
    assert sorting_difference(network(text)) < 1e-10


@settings(max_examples=12, deadline=None)
@given(architectures())
def test_sorting_channels_keeps_the_function_of_random_networks(arch: Architecture) -> None:
    assert sorting_difference(arch) < 1e-8


@pytest.mark.parametrize("text", NETWORKS)
def test_the_importance_descends_in_every_channel_set(text: str) -> None:
    arch = network(text)
    before = trained(arch).state_dict()
    after = sort_channels(arch, before)
    old, new = importance(arch, before), importance(arch, after)
    sets = channel_sets(arch)
    resized = {
        side[f"{placed.name}.{node.name}"]
        for placed in walk(arch)
        for node in placed.nodes
        if node.op == "resize"
        for side in (sets.reads, sets.writes)
    }
    assert new.keys() == old.keys()
    for name, scores in new.items():
        expected = old[name] if name in resized else old[name].sort(descending=True).values
        torch.testing.assert_close(scores, expected)
    assert any(not torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_first_channels_are_those_that_a_narrower_network_inherits() -> None:
    source = network("net classes=2 resolution=8;stem conv c4;mbconv r1 e6 c8;head pool")
    narrower = network("net classes=2 resolution=8;stem conv c4;mbconv r1 e2 c8;head pool")
    weights = sort_channels(source, trained(source).state_dict())
    inherited = inherit(source, weights, narrower).tensors
    for name, axis in (("expand.conv", 0), ("depthwise.conv", 0), ("depthwise.norm", 0), ("project.conv", 1)):
        key = f"stages.0.0.{name}.weight"
        assert torch.equal(inherited[key], weights[key].narrow(axis, 0, 8))


def test_sorting_does_not_change_the_given_weights() -> None:
    arch = network(NETWORKS[0])
    weights = trained(arch).state_dict()
    copies = {name: tensor.clone() for name, tensor in weights.items()}
    sorted_weights = sort_channels(arch, weights)
    assert all(torch.equal(weights[name], tensor) for name, tensor in copies.items())
    assert list(sorted_weights) == list(weights)
