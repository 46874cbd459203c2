"""Tests of int8 graphs against ONNX Runtime's own quantizer and against arithmetic in numpy."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from nas.arch.spec import Architecture
from nas.device.onnx_check import check_onnx
from nas.device.quantize import without_warnings
from nas.device.run_model import run_model
from nas.errors import WeightsError
from nas.export.quantization.form import int8_form
from nas.export.quantization.graph import (
    FAST_TYPES,
    SLOW_TYPES,
    Types,
    layers_of,
    quantize_graph,
    rounded_parts,
    short_first_layer,
)
from nas.export.quantization.ranges import observe, ranges_by
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from tests.export.quantization.networks import problem
from tests.export.quantization.processor import adds_exactly, conv_graph, needs_exact
from tests.strategies import architectures

U8S8 = FAST_TYPES[0]
# 7-bit weights do not overflow on any processor.
EXACT = U8S8 if adds_exactly(U8S8) else FAST_TYPES[1]
RNG = np.random.default_rng(1)


class Reader:
    """Give images to ONNX Runtime's calibration, one at a time."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._feeds: Iterator[dict[str, NDArray[np.float32]]] = iter([{"input": image[None]} for image in images])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def test_a_graph_equals_that_of_the_quantizer_of_the_runtime(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    made = problem("relu")
    form = int8_form(made.graph, made.nodes)
    quantize_static(
        form,
        tmp_path / "expected.onnx",
        Reader(made.images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
    expected = run_model(onnx.load(tmp_path / "expected.onnx"), made.images)
    found = run_model(quantize_graph(made.graph, made.ranges, U8S8, made.nodes), made.images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize("types", [*FAST_TYPES, *SLOW_TYPES], ids=str)
def test_a_convolution_rounds_as_its_8_bit_numbers_say(types: Types) -> None:
    needs_exact(types)
    weight, bias = RNG.normal(size=(6, 3, 1, 1)).astype(np.float32), RNG.normal(size=6).astype(np.float32)
    images = RNG.uniform(-1, 1, size=(1, 3, 4, 4)).astype(np.float32)
    ranges = {"input": (-1.0, 1.0), "output": (-8.0, 8.0)}
    made = quantize_graph(conv_graph(weight, bias), ranges, types, ["conv"])
    # The magnitude of unsigned weights of 8 bits is at most half of 255.
    largest = {"uint8": 127.5, "int8": 64 if types.reduce_range else 127}[types.weights]
    weight_scale = np.abs(weight).max(axis=(1, 2, 3)) / largest
    rounded_weight = np.clip(np.round(weight[:, :, 0, 0] / weight_scale[:, None]), -128, 127)
    in_scale, out_scale = 2 / 255, 16 / 255
    zero = round(1 / in_scale)  # The zero point of uint8; that of int8 is 128 less, and so are all values.
    rounded = np.clip(np.round(images[0] / in_scale) + zero, 0, 255) - zero
    rounded_bias = np.round(bias / (in_scale * weight_scale))
    sums = np.einsum("oc,chw->ohw", rounded_weight, rounded) + rounded_bias[:, None, None]
    expected = sums * (in_scale * weight_scale)[:, None, None]
    # The output is a multiple of its scale; the float arithmetic of the runtime may round a tie to the other side.
    assert np.abs(run_model(made, images)[0] - expected).max() <= 0.5 * out_scale + 1e-4


def test_warnings_of_the_quantizer_are_dropped_and_others_are_not(caplog: pytest.LogCaptureFixture) -> None:
    """The bias is more than 2^31 steps of the sums; for uint8 weights the quantizer does not choose larger steps."""
    weight, bias = np.full((1, 1, 1, 1), 1e-4, np.float32), np.full(1, 1e6, np.float32)
    model, ranges = conv_graph(weight, bias), {"input": (-1e-3, 1e-3), "output": (-1e6, 1e6)}
    handlers = list(logging.getLogger().handlers)
    quantize_graph(model, ranges, SLOW_TYPES[1], ["conv"])
    assert caplog.messages == []
    assert logging.getLogger().handlers == handlers
    with without_warnings():
        logging.warning("of others")  # as the quantizer logs
    assert caplog.messages == ["of others"]


def test_nodes_of_the_preprocessing_are_never_quantized() -> None:
    model = conv_graph(np.ones((4, 3, 1, 1), np.float32), np.zeros(4, np.float32))
    model.graph.initializer.append(numpy_helper.from_array(np.full((1, 3, 1, 1), 2, np.float32), "factor"))
    model.graph.node.insert(0, helper.make_node("Mul", ["input", "factor"], ["scaled"], "preprocess.scale"))
    model.graph.node[1].input[0] = "scaled"
    assert layers_of(model) == {"conv": ("conv",)}
    made = quantize_graph(model, {"scaled": (-1.0, 1.0), "output": (-8.0, 8.0)}, U8S8, ["conv"])
    (scale,) = (node for node in made.graph.node if node.name == "preprocess.scale")
    assert list(scale.input) == ["input", "factor"]
    assert [each.name for each in made.graph.input] == ["input"]


def test_inputs_outputs_and_metadata_stay() -> None:
    made = problem()
    helper.set_model_props(made.graph, {"classes": "[]"})
    found = quantize_graph(made.graph, made.ranges, U8S8, made.nodes)
    assert found.graph.input == made.graph.graph.input
    assert found.graph.output == made.graph.graph.output
    assert {each.key: each.value for each in found.metadata_props} == {"classes": "[]"}
    assert found.producer_name == "nas"
    onnx.checker.check_model(found)


@pytest.mark.parametrize(
    ("activation", "gate"), [("hard_swish", "se0.25:hard_sigmoid"), ("silu", "se0.25"), ("relu6", "")]
)
def test_the_logits_of_an_int8_graph_are_near_those_of_fp32(activation: str, gate: str) -> None:
    made = problem(activation, gate)
    found = quantize_graph(made.graph, made.ranges, U8S8, made.nodes)
    logits = made.logits
    assert np.sqrt(np.mean((run_model(found, made.images) - logits) ** 2)) < 0.1 * logits.std()
    assert not any(node.op_type == "Mul" and "float:0.166667" in node.input for node in found.graph.node)
    assert check_onnx(found.SerializeToString()).classes == 5


@given(architectures())
@settings(max_examples=8)
def test_every_architecture_can_be_quantized(arch: Architecture) -> None:
    model = build_graph(whole(arch.adapted(resolution=16, classes=arch.classes)))
    images = np.random.default_rng(0).normal(size=(8, arch.in_channels, 16, 16)).astype(np.float32)
    ranges = ranges_by("minmax", observe(model, images))
    nodes = {name for names in layers_of(model).values() for name in names}
    expected, found = (run_model(each, images) for each in (model, quantize_graph(model, ranges, EXACT, nodes)))
    assert np.isfinite(found).all()
    # Each rounding has an error of up to .4% of the largest value of its tensor.
    assert np.sqrt(np.mean((found - expected) ** 2)) <= 0.25 * np.abs(expected).max() + 1e-6


def test_another_operator_of_the_runtime_is_refused_in_a_file() -> None:
    made = problem("silu")
    found = quantize_graph(made.graph, made.ranges, U8S8, made.nodes)
    for node in found.graph.node:
        node.op_type = "Unknown" if node.op_type == "QuickGelu" else node.op_type
    with pytest.raises(WeightsError, match=r"'Unknown' is of the domain 'com\.microsoft'"):
        check_onnx(found.SerializeToString())


def test_no_node_to_quantize_leaves_the_function_as_it_is() -> None:
    made = problem("hard_swish")
    found = quantize_graph(made.graph, made.ranges, U8S8, ())
    np.testing.assert_allclose(run_model(found, made.images), made.logits, rtol=1e-4, atol=1e-5)


def test_the_first_layer_stays_in_fp32_only_where_its_products_are_short() -> None:
    assert short_first_layer(problem().graph) == ("stem.conv",)
    assert short_first_layer(conv_graph(np.ones((4, 33, 1, 1), np.float32), np.zeros(4, np.float32))) == ()


def test_the_rounded_parts_of_a_graph() -> None:
    made = problem()
    layers = {name: nodes for name, nodes in layers_of(made.graph).items() if name != "stem.conv"}
    nodes = {name for names in layers.values() for name in names}
    ranges = ranges_by("minmax", observe(made.graph, made.images))
    parts = rounded_parts(quantize_graph(made.graph, ranges, U8S8, nodes))
    assert set(parts.layers) == set(layers)
    low, high = parts.ranges["stages.0.0.depthwise_act"]
    assert low == 0
    assert high == pytest.approx(ranges["stages.0.0.depthwise_act"][1], rel=1e-5)
    assert "stages.0.0.depthwise" not in parts.ranges
