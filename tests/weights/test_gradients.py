"""Tests that weights which do not change the function of a grown network still learn."""

import attrs
import pytest
import torch
from torch import Tensor, nn

from nas.arch.spec import Architecture, Stage
from nas.weights.inheritance import inherit
from tests.models.test_build import images
from tests.weights.networks import network, trained, with_weights

TEXT = "net classes=4 resolution=16 act={act};stem conv c6;{operator} r2 c6;{operator} s2 c8;head conv c12"
STEPS = 3


def larger(arch: Architecture) -> Architecture:
    """Return a network with more layers and channels, larger kernels, and larger expansions above 1."""

    def stage(old: Stage) -> Stage:
        expansion = old.expansion + 1 if old.expansion > 1 else old.expansion
        return attrs.evolve(
            old, layers=old.layers + 1, channels=old.channels + 3, kernel=old.kernel + 2, expansion=expansion
        )

    stem = attrs.evolve(arch.stem, channels=arch.stem.channels + 3)
    return attrs.evolve(arch, stem=stem, stages=tuple(stage(old) for old in arch.stages))


def loss(model: nn.Module, arch: Architecture) -> Tensor:
    return nn.functional.cross_entropy(model(images(arch, count=8).double()), torch.arange(8) % arch.classes)


@pytest.mark.parametrize("act", ["relu", "relu6", "hard_swish"])
@pytest.mark.parametrize("operator", ["conv", "mbconv e2", "fused e2", "mbconv e2 se0.5"])
def test_all_weights_of_a_grown_network_learn(operator: str, act: str) -> None:
    source = network(TEXT.format(operator=operator, act=act))
    target = larger(source)
    inherited = inherit(source, trained(source).state_dict(), target)
    assert inherited.report.exact
    model = with_weights(target, inherited.tensors).train()
    optimizer, moved = torch.optim.SGD(model.parameters(), lr=0.01), set[str]()
    # Weights behind a scale of 0 have no gradient until this scale has made its first step.
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(model, target).backward()  # type: ignore[no-untyped-call]
        moved |= {name for name, one in model.named_parameters() if one.grad is not None and one.grad.any()}
        optimizer.step()
    assert moved == {name for name, _ in model.named_parameters()}


def test_zeros_that_read_new_channels_have_gradients_at_once() -> None:
    source = network("net classes=4 resolution=16 act=silu;stem conv c6;mbconv r2 e2 c6;head pool")
    target = attrs.evolve(source, stages=(attrs.evolve(source.stages[0], channels=9, expansion=3.0),))
    model = with_weights(target, inherit(source, trained(source).state_dict(), target).tensors).train()
    loss(model, target).backward()  # type: ignore[no-untyped-call]
    classifier = model.get_parameter("head.classifier.weight")
    assert classifier.grad is not None
    assert not classifier[:, 6:].any()
    assert (classifier.grad[:, 6:].abs().sum(0) > 0).all()
