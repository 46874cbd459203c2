"""Tests of batch-norm statistics and mean gates that are measured on images."""

import attrs
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from nas.arch.spec import Architecture
from nas.errors import DataError
from nas.models.build import build_model
from nas.weights.statistics import gate_means, re_estimate
from tests.weights.networks import network

PLAIN = network("net resolution=16 classes=3;stem conv c4;mbconv r2 e2 c4 se0.5;mbconv r2 s2 e2 c8;head conv c8")
REGULARIZED = attrs.evolve(PLAIN, head=attrs.evolve(PLAIN.head, dropout=0.5), drop_path=0.8)


def model_of(arch: Architecture) -> nn.Module:
    torch.manual_seed(0)
    return build_model(arch)


def batches(*sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(size, 3, 16, 16, generator=generator) * (1 + i) for i, size in enumerate(sizes or (4, 4, 4))]


@pytest.mark.parametrize("arch", [PLAIN, REGULARIZED])
def test_the_statistics_are_those_of_torch_without_regularization(arch: Architecture) -> None:
    expected, model = model_of(PLAIN), model_of(arch)
    for images in batches():  # The new statistics must not depend on the ones of these images.
        model(images * 3)
    update_bn(batches(), expected)
    re_estimate(model, iter(batches()))
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor)


def test_the_statistics_of_the_first_layer_are_the_means_over_the_batches() -> None:
    model = model_of(PLAIN)
    re_estimate(model, batches())
    with torch.no_grad():
        outputs = [model.get_submodule("stem.conv.conv")(images) for images in batches()]
    for name, statistic in (("running_mean", torch.mean), ("running_var", torch.var)):
        expected = torch.stack([statistic(values, dim=(0, 2, 3)) for values in outputs]).mean(0)
        torch.testing.assert_close(model.get_buffer(f"stem.conv.norm.{name}"), expected)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_else_changes(training: bool) -> None:
    model = model_of(REGULARIZED).train(training)
    model.get_submodule("stem").eval()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    re_estimate(model, batches())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}
    assert torch.equal(torch.get_rng_state(), state)


def test_no_batches_are_an_error_that_leaves_the_statistics() -> None:
    model = model_of(PLAIN)
    model(batches()[0])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(DataError, match="no batch"):
        re_estimate(model, [])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_mean_of_a_gate_is_the_mean_over_all_images() -> None:
    model = model_of(PLAIN).eval()
    means = gate_means(model, batches(1, 3, 2))
    assert list(means) == ["stages.0.0", "stages.0.1"]
    seen: list[Tensor] = []
    model.get_submodule("stages.0.1.se_gate").register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        for images in batches(1, 3, 2):
            model(images)
    torch.testing.assert_close(means["stages.0.1"], torch.cat(seen).mean((0, 2, 3)))
