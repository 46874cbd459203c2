"""Multiply-adds and parameters of ONNX graphs: against the counts of architectures, known networks and closed forms."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper, numpy_helper

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.device.onnx_check import count_onnx
from nas.device.onnx_macs import MOST_ORIGINS, OnnxCost
from nas.device.quantize import quantize, quantize_untrained
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.zoo.catalog import zoo_network
from tests.strategies import architectures

Nodes = list[onnx.NodeProto]


def counted(
    nodes: Nodes, constants: dict[str, np.ndarray], shape: tuple[int, ...] = (1, 4, 6, 6), classes: int = 5
) -> OnnxCost:
    """Count a graph from `x` to `y`, whose output has the shape `(N, classes)`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (shape[0], classes))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return count_onnx(model.SerializeToString())[1]


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def tail(name: str, channels: int) -> tuple[Nodes, dict[str, np.ndarray], int]:
    """Nodes from a feature map to five classes, with their constants and their multiply-adds."""
    nodes = [
        helper.make_node("GlobalAveragePool", [name], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    return nodes, {"fc.weight": zeros(5, channels), "fc.bias": zeros(5)}, 5 * channels


@given(arch=architectures())
@settings(max_examples=25, deadline=None)
def test_the_graph_of_an_architecture_has_the_counts_of_its_shape_walk(arch: Architecture) -> None:
    own = cost(arch)
    found = count_onnx(build_graph(whole(arch), batch=2).SerializeToString())[1]
    # Normalizations are folded into the convolutions before them, which then have a bias for each channel.
    assert (found.macs, found.params, found.uncounted) == (own.macs, own.weights + own.biases, ())
    assert found.precision == "fp32"


# Figures that others counted by hooks on the published torch forms; without batch norm, parameters are equal too.
@pytest.mark.parametrize(
    ("name", "params", "mmacs"),
    [("squeezenet-1.1", 1_235_496, 349.15), ("shufflenet-v2-1.0", None, 144.91), ("mobilenetv1", None, 568.74)],
)
def test_known_networks_have_their_published_counts(name: str, params: int | None, mmacs: float) -> None:
    found = count_onnx(zoo_network(name).onnx().SerializeToString())[1]
    assert round(found.macs / 1e6, 2) == mmacs
    assert params in (None, found.params)


def test_a_grouped_convolution_counts_the_channels_of_its_group() -> None:
    nodes, constants, rest = tail("conv", 8)
    conv = helper.make_node("Conv", ["x", "weight", "bias"], ["conv"], group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    found = counted([conv, *nodes], {"weight": zeros(8, 2, 3, 3), "bias": zeros(8), **constants})
    assert found.macs == 8 * 3 * 3 * (2 * 3 * 3) + rest
    assert found.params == 8 * 2 * 9 + 8 + 5 * 8 + 5


def test_a_transposed_convolution_counts_each_input_value() -> None:
    nodes, constants, rest = tail("up", 3)
    up = helper.make_node("ConvTranspose", ["x", "weight"], ["up"], strides=[2, 2])
    assert counted([up, *nodes], {"weight": zeros(4, 3, 2, 2), **constants}).macs == 4 * 6 * 6 * (3 * 2 * 2) + rest


def test_both_products_of_an_attention_count_and_its_softmax_does_not() -> None:
    tokens, width = 36, 4
    nodes = [
        helper.make_node("Reshape", ["x", "sizes"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["t"], perm=[0, 2, 1]),  # (1, 36, 4)
        helper.make_node("MatMul", ["t", "q"], ["queries"]),
        helper.make_node("MatMul", ["queries", "flat"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "t"], ["mixed"]),
        helper.make_node("ReduceMean", ["mixed", "axis"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["y"]),
    ]
    constants = {"sizes": np.array([1, 4, 36]), "axis": np.array([1]), "q": zeros(4, 4), "head": zeros(4, 5)}
    found = counted(nodes, constants)
    assert found.macs == tokens * width * width + 2 * tokens * tokens * width + width * 5
    assert found.params == 16 + 20


@pytest.mark.parametrize(("transposed", "shape"), [(0, (36, 5)), (1, (5, 36))])
def test_einsum_counts_the_sizes_of_all_its_indices(transposed: int, shape: tuple[int, int]) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "axis"], ["mean"], keepdims=0),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Einsum", ["flat", "w"], ["y"], equation="bk,nk->bn" if transposed else "bk,kn->bn"),
    ]
    found = counted(nodes, {"axis": np.array([1]), "w": zeros(*shape)})
    assert (found.macs, found.params) == (36 * 5, 36 * 5)


def test_an_operator_that_cannot_be_counted_is_named_and_makes_the_number_unknown() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "sizes"], ["sequence"]),
        helper.make_node("LSTM", ["sequence", "w", "r"], ["all", "last"], hidden_size=5),
        helper.make_node("Squeeze", ["last", "axis"], ["y"]),
    ]
    constants = {"sizes": np.array([36, 1, 4]), "axis": np.array([0]), "w": zeros(1, 20, 4), "r": zeros(1, 20, 5)}
    found = counted(nodes, constants)
    assert found.uncounted == ("LSTM",)
    assert found.known_macs is None


def test_what_is_computed_from_constants_alone_counts_as_weights_and_not_as_work() -> None:
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["product"]),  # ONNX Runtime computes it once
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "product"], ["y"]),
    ]
    found = counted(nodes, {"a": zeros(4, 7), "b": zeros(7, 5)})
    assert (found.macs, found.params) == (20, 4 * 7 + 7 * 5)


def test_statistics_numbers_and_preparations_are_no_parameters() -> None:
    nodes, constants, rest = tail("scaled", 8)
    norm = {f"norm.{name}": zeros(8) for name in ("scale", "shift", "mean", "variance")}
    before = [
        helper.make_node("Mul", ["x", "factor"], ["prepared"]),  # normalizes the image
        helper.make_node("Conv", ["prepared", "weight"], ["conv"]),
        helper.make_node("BatchNormalization", ["conv", *norm], ["normalized"]),
        helper.make_node("Mul", ["normalized", "half"], ["halved"]),  # a number
        helper.make_node("Mul", ["halved", "layer_scale"], ["scaled"]),
    ]
    own = {"factor": zeros(4, 1, 1), "weight": zeros(8, 4, 1, 1), "half": zeros(1), "layer_scale": zeros(8, 1, 1)}
    found = counted([*before, *nodes], {**own, **norm, **constants})
    assert found.params == 32 + 16 + 8 + 45
    assert found.macs == 36 * 32 + rest


def test_a_weight_of_very_many_tensors_is_followed_no_further() -> None:
    parts = {f"part{number}": zeros(4, 1) for number in range(MOST_ORIGINS + 1)}
    nodes = [
        helper.make_node("Concat", list(parts), ["weight"], axis=1),
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["y"]),
    ]
    found = counted(nodes, parts, classes=MOST_ORIGINS + 1)
    assert (found.macs, found.params) == (4 * (MOST_ORIGINS + 1), None)


def test_an_int8_graph_has_the_counts_of_the_fp32_graph() -> None:
    arch = preset("mobilenetv3-small").adapted(resolution=32, classes=10)
    model = build_graph(whole(arch))
    fp32, int8 = (count_onnx(each.SerializeToString())[1] for each in (model, quantize(model)))
    assert (int8.macs, int8.params) == (fp32.macs, fp32.params)
    assert (fp32.precision, int8.precision) == ("fp32", "int8")


@pytest.mark.parametrize("name", ["mobilenetv3-small", "resnet-18"])
def test_the_fast_quantization_makes_a_graph_of_the_same_form(name: str) -> None:
    model = build_graph(whole(preset(name).adapted(resolution=32, classes=10)))
    slow, fast = quantize(model), quantize_untrained(model)

    def form(made: onnx.ModelProto) -> tuple[object, object]:
        tensors = sorted((tuple(each.dims), each.data_type) for each in made.graph.initializer)
        nodes = [
            (node.op_type, [(each.name, each.i) for each in node.attribute if each.name == "axis"])
            for node in made.graph.node
        ]
        return tensors, nodes

    assert form(slow) == form(fast)
