"""Tests of the form for int8: the same function as the original graph, with operators that have int8 kernels."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import numpy_helper

from nas.arch.spec import Architecture
from nas.device.run_model import run_model
from nas.export.quantization.form import int8_form
from nas.export.quantization.graph import layers_of
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from tests.export.quantization.networks import Problem, problem
from tests.strategies import architectures


def nodes_of(model: onnx.ModelProto) -> set[str]:
    return {name for names in layers_of(model).values() for name in names}


@given(architectures())
@settings(max_examples=20)
def test_the_form_computes_what_the_original_graph_computes(arch: Architecture) -> None:
    arch = arch.adapted(resolution=16, classes=arch.classes)
    model = build_graph(whole(arch))
    images = np.random.default_rng(0).normal(size=(2, arch.in_channels, 16, 16)).astype(np.float32)
    expected, found = (run_model(each, images) for each in (model, int8_form(model, nodes_of(model))))
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-6


def depthwise_channels(model: onnx.ModelProto) -> set[int]:
    groups = [
        each.i for node in model.graph.node if node.op_type == "Conv" for each in node.attribute if each.name == "group"
    ]
    return {count for count in groups if count > 1}


@pytest.mark.parametrize("gate", ["", "se0.25"])
@pytest.mark.parametrize("activation", ["relu", "silu", "hard_swish"])
def test_depthwise_convolutions_get_a_multiple_of_16_channels_and_weights_of_0(activation: str, gate: str) -> None:
    made = problem(activation, gate)
    form = int8_form(made.graph, made.nodes)
    assert depthwise_channels(made.graph) == {24}
    assert depthwise_channels(form) == {32}
    weights = {each.name: numpy_helper.to_array(each) for each in form.graph.initializer}
    for node in (
        node for node in form.graph.node if node.op_type == "Conv" and node.name.endswith(("depthwise", "expand"))
    ):
        assert not weights[node.input[1]][24:].any()
        assert not weights[node.input[2]][24:].any()


def test_operators_without_int8_kernels_are_replaced_where_they_are_quantized() -> None:
    made = problem("hard_swish", "se0.25")
    assert {"HardSwish", "ReduceMean"} <= {node.op_type for node in made.graph.graph.node}
    form = int8_form(made.graph, made.nodes)
    assert not {"HardSwish", "ReduceMean"} & {node.op_type for node in form.graph.node}
    kept = int8_form(made.graph, ())
    assert [node.op_type for node in kept.graph.node] == [node.op_type for node in made.graph.graph.node]


def test_the_given_graph_is_not_changed() -> None:
    made: Problem = problem("silu")
    before = made.graph.SerializeToString(deterministic=True)
    int8_form(made.graph, made.nodes)
    assert made.graph.SerializeToString(deterministic=True) == before
