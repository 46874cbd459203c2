"""Tests of the digest of a network with trained weights: it changes with everything that changes the network."""

from typing import Any

import attrs
import pytest
import torch

from nas.arch.code import parse_text
from nas.models.build import build_model
from nas.weights.base import Normalization, TrainedNetwork

ARCH = parse_text("net classes=2\nstem conv c4\nmbconv e2 c4\nhead pool")


def _network() -> TrainedNetwork:
    torch.manual_seed(0)
    return TrainedNetwork(ARCH, build_model(ARCH).state_dict(), ("cat", "dog"), Normalization((0.5,) * 3, (0.5,) * 3))


def test_equal_networks_have_the_same_digest_of_12_hex_digits() -> None:
    network = _network()
    in_other_order = dict(reversed([*network.tensors.items()]))
    channels_last = {
        name: tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for name, tensor in in_other_order.items()
    }
    same = attrs.evolve(network, tensors=channels_last, provenance={"source": "a file"})
    assert same.digest == network.digest
    assert len(network.digest) == 12
    assert int(network.digest, 16) >= 0


@pytest.mark.parametrize("name", [*build_model(ARCH).state_dict()])
def test_the_digest_changes_with_each_tensor(name: str) -> None:
    network = _network()
    assert attrs.evolve(network, tensors={**network.tensors, name: network.tensors[name] + 1}).digest != network.digest


def test_the_digest_changes_with_the_type_of_the_tensors() -> None:
    network = _network()
    halves = {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in network.tensors.items()
    }
    assert attrs.evolve(network, tensors=halves).digest != network.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": attrs.evolve(ARCH, padding="same")},
        {"classes": ("dog", "cat")},
        {"classes": None},
        {"normalization": Normalization((0.4,) * 3, (0.5,) * 3)},
    ],
)
def test_the_digest_changes_with_everything_else_that_is_known(changes: dict[str, Any]) -> None:
    network = _network()
    assert attrs.evolve(network, **changes).digest != network.digest
