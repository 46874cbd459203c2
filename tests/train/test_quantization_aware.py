"""Tests of quantization-aware fine-tuning against the int8 graphs whose roundings it simulates."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from nas.api.export_qat import fine_tuned
from nas.arch.code import parse_text
from nas.device.run_model import run_model
from nas.export.graph import as_file
from nas.export.quantization.graph import FAST_TYPES, Types, layers_of, quantize_graph, rounded_parts, short_first_layer
from nas.export.quantization.ranges import observe, ranges_by
from nas.export.quantization.records import Labeled, QuantizationInputs
from nas.export.quantization.search import quantize_within
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.graph.weights import folded_weights
from nas.models.build import build_model
from nas.train.quantization_aware import (
    LARGEST_7_BIT_WEIGHT,
    LARGEST_WEIGHT,
    RoundedOutput,
    Roundings,
    fine_tune_for_int8,
    rounded_model,
    rounded_weight,
)
from nas.weights.base import Normalization, TrainedNetwork
from tests.evaluate.colors import make_data
from tests.export.quantization.processor import needs_exact

HALF = Normalization((0.5,) * 3, (0.5,) * 3)


def network(activation: str = "relu6", gate: str = "") -> TrainedNetwork:
    """Return a network with random weights and random batch-norm statistics."""
    lines = (
        f"net classes=3 resolution=8 act={activation}",
        "stem conv c8",
        f"mbconv r2 e3 c8 {gate}".strip(),
        "head conv c16",
    )
    arch = parse_text("\n".join(lines))
    torch.manual_seed(0)
    model = build_model(arch)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith(("running_var", "norm.weight")):
            tensor.uniform_(0.5, 1.5)
    return TrainedNetwork(arch, model.state_dict(), normalization=HALF)


def images(count: int = 60) -> "np.typing.NDArray[np.float32]":
    return np.random.default_rng(0).uniform(-1, 1, size=(count, 3, 8, 8)).astype(np.float32)


def graph_of(net: TrainedNetwork) -> onnx.ModelProto:
    return build_graph(whole(net.arch), folded_weights(net.arch, {k: v.numpy() for k, v in net.tensors.items()}))


@pytest.mark.parametrize("types", FAST_TYPES, ids=str)
@pytest.mark.parametrize(
    ("activation", "gate"), [("relu6", ""), ("silu", "se0.25"), ("hard_swish", "se0.25:hard_sigmoid")]
)
def test_a_rounded_model_computes_what_the_int8_graph_computes(activation: str, gate: str, types: Types) -> None:
    needs_exact(types)
    net = network(activation, gate)
    model = graph_of(net)
    nodes = {n for name, names in layers_of(model).items() if name not in short_first_layer(model) for n in names}
    int8 = quantize_graph(model, ranges_by("minmax", observe(model, images())), types, nodes)
    parts = rounded_parts(int8)
    largest = LARGEST_7_BIT_WEIGHT if types.reduce_range else LARGEST_WEIGHT
    with torch.no_grad():
        found = (
            rounded_model(net, Roundings(parts.ranges, parts.layers, largest))
            .eval()(torch.from_numpy(images()))
            .numpy()
        )
    int8_logits, logits = run_model(int8, images()), run_model(model, images())
    # A value next to the middle between two rounded values may be rounded to the other one, which changes the logits of
    # that image by about a rounding step. Those of the other images are equal, and none is equal to that of fp32.
    equal, equal_fp32 = (np.abs(each - int8_logits).max(axis=1) < 1e-5 for each in (found, logits))
    assert equal.mean() > 0.15
    assert not equal_fp32.any()


def test_weights_are_rounded_as_the_quantizer_of_the_runtime_rounds_them() -> None:
    model = graph_of(network())
    int8 = quantize_graph(model, ranges_by("minmax", observe(model, images())), FAST_TYPES[0], ["stages.0.0.project"])
    arrays = {each.name: numpy_helper.to_array(each) for each in int8.graph.initializer}
    name = "stages.0.0.project.weight"
    (original,) = (numpy_helper.to_array(each) for each in model.graph.initializer if each.name == name)
    expected = arrays[f"{name}_quantized"] * arrays[f"{name}_scale"][:, None, None, None]
    found = rounded_weight(torch.from_numpy(original.copy()), LARGEST_WEIGHT).numpy()
    np.testing.assert_allclose(found, expected[:, : original.shape[1]], rtol=1e-5, atol=1e-7)


def test_the_gradient_passes_a_rounding_and_stops_where_a_value_is_clipped() -> None:
    values = torch.tensor([-2.0, 0.3, 5.0], requires_grad=True)
    RoundedOutput(-1.0, 1.0).rounded(values).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 0]


def test_fine_tuning_returns_a_network_with_the_same_names_and_fixed_statistics() -> None:
    net = network()
    data = make_data(24, val_images=12)
    trained = fine_tune_for_int8(net, data, Roundings({}, ()), epochs=1)
    assert trained.tensors.keys() == net.tensors.keys()
    assert not torch.equal(
        trained.tensors["stages.0.0.expand.conv.weight"], net.tensors["stages.0.0.expand.conv.weight"]
    )
    for name in net.tensors:
        if "running" in name:
            assert torch.equal(trained.tensors[name], net.tensors[name])
    again = fine_tune_for_int8(net, data, Roundings({}, ()), epochs=1)
    assert all(torch.equal(trained.tensors[name], again.tensors[name]) for name in net.tensors)


def test_fine_tuning_keeps_the_graph_that_loses_less_on_the_choosing_images() -> None:
    net, data = network(), make_data(24, val_images=12)
    model = graph_of(net)
    labels = run_model(model, images()).argmax(1)
    inputs = QuantizationInputs(images(), Labeled(images(), labels), Labeled(images(), labels))
    found = quantize_within(model, inputs, run_model, max_loss=50)
    tuned = fine_tuned(found, as_file(model), net, data, inputs, run_model, epochs=1, say=lambda _: None)
    assert tuned.choosing_loss.value <= found.choosing_loss.value
    assert tuned.settings.method in ("qat", found.settings.method)
    # The loss of both refers to the network before the fine-tuning.
    assert tuned.accuracy_fp32 == found.accuracy_fp32
