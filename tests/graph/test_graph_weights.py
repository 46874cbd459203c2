"""Tests of folded weights against torch's batch normalization, and of random weights against their variance."""

from typing import Any

import attrs
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.errors import ArchitectureError
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.graph.weights import folded_weights, random_weights
from nas.models.blocks import ConvNorm
from nas.models.build import build_model
from tests.strategies import architectures

ARCH = parse_text("net resolution=16 classes=5\nstem conv c8\nmbconv k3 e3 c8 se0.25\nfused k5 e2 c12\nhead conv c16")
WIDE = parse_text("net classes=300\nstem conv k7 c64\ndsconv k5 c256 se0.5\nconv k3 c128\nhead conv c400")


def state(arch: Architecture) -> dict[str, NDArray[Any]]:
    """Return random values for all parameters and statistics of a model."""
    rng, model = np.random.default_rng(0), build_model(arch)
    return {name: rng.uniform(0.5, 2.0, v.shape).astype(np.float32) for name, v in model.state_dict().items()}


@settings(max_examples=20)
@given(architectures())
def test_a_folded_convolution_equals_a_convolution_with_torch_s_normalization(arch: Architecture) -> None:
    model = build_model(arch).eval().double()
    model.load_state_dict({name: torch.from_numpy(values) for name, values in state(arch).items()})
    folded = folded_weights(arch, state(arch))
    for name, module in model.named_modules():
        if isinstance(module, ConvNorm):
            with torch.no_grad():
                of_0, of_1 = (module.norm(torch.full((1, module.conv.out_channels, 1, 1), v).double()) for v in (0, 1))
                kernel = module.conv.weight * (of_1 - of_0).reshape(-1, 1, 1, 1)
            np.testing.assert_allclose(folded[f"{name}.weight"], kernel.numpy(), rtol=1e-6)
            np.testing.assert_allclose(folded[f"{name}.bias"], of_0.flatten().numpy(), rtol=1e-6, atol=1e-7)


def test_weights_without_normalization_do_not_change() -> None:
    folded, given_state = folded_weights(ARCH, state(ARCH)), state(ARCH)
    for layer in ("stages.0.0.se_reduce", "stages.0.0.se_expand", "head.classifier"):
        for name in (f"{layer}.weight", f"{layer}.bias"):
            assert (folded[name] == given_state[name]).all()


@settings(max_examples=20)
@given(architectures())
def test_random_weights_have_the_names_shapes_and_type_of_folded_ones(arch: Architecture) -> None:
    drawn, folded = random_weights(whole(arch).walk()), folded_weights(arch, state(arch))
    assert {name: (w.shape, w.dtype) for name, w in drawn.items()} == {
        name: (w.shape, np.dtype(np.float32)) for name, w in folded.items()
    }


PARAMETERS = [
    "stem.conv.conv.weight",
    "stages.0.0.depthwise.norm.running_var",
    "stages.0.0.se_reduce.bias",
    "stages.1.0.project.norm.weight",
    "head.classifier.weight",
]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_missing_parameter_is_named(name: str) -> None:
    lacking = {key: values for key, values in state(ARCH).items() if key != name}
    with pytest.raises(ArchitectureError, match="missing") as caught:
        folded_weights(ARCH, lacking)
    assert name in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_of_another_shape_is_named_with_both_shapes(name: str) -> None:
    right = state(ARCH)[name]
    with pytest.raises(ArchitectureError) as caught:
        folded_weights(ARCH, state(ARCH) | {name: right[1:]})
    assert name in caught.value.problem
    assert str(right[1:].shape) in caught.value.problem
    assert str(right.shape) in caught.value.remedy


def test_a_model_of_another_architecture_is_rejected() -> None:
    with pytest.raises(ArchitectureError, match=r"head\.classifier\.weight"):
        folded_weights(attrs.evolve(ARCH, classes=6), state(ARCH))


def test_a_seed_determines_the_random_weights() -> None:
    parts = whole(ARCH).walk()
    first, again, other = (random_weights(parts, seed) for seed in (3, 3, 4))
    for name, values in first.items():
        assert (values == again[name]).all()
        assert (values == other[name]).all() == name.endswith("bias")


def test_random_weights_have_variance_2_over_fan_in_around_0_and_no_biases() -> None:
    for name, values in random_weights(whole(WIDE).walk()).items():
        if name.endswith("bias"):
            assert not values.any()
        elif values.size > 5000:
            spread = (2 / np.prod(values.shape[1:])) ** 0.5
            assert values.std() == pytest.approx(spread, rel=0.03)
            assert abs(values.mean()) < 0.05 * spread


def test_the_fan_in_of_a_depthwise_kernel_is_its_area() -> None:
    depthwise = random_weights(whole(preset("mobilenetv2")).walk())["stages.6.0.depthwise.weight"]
    assert depthwise.shape == (960, 1, 3, 3)
    assert depthwise.std() == pytest.approx((2 / 9) ** 0.5, rel=0.03)


@pytest.mark.parametrize("name", ["mobilenetv2", "mnasnet-a1", "efficientnet-b0"])
def test_random_weights_keep_the_scale_of_activations_in_deep_networks(name: str) -> None:
    network = whole(preset(name))
    inputs = np.random.default_rng(0).standard_normal((2, *attrs.astuple(network.shape)), dtype=np.float32)
    graph = build_graph(network, batch=2).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    one, other = np.asarray(session.run(None, {"input": inputs})[0])
    assert 1e-4 < one.std() < 1e4
    assert abs(one - other).max() > 0.01 * one.std()
