"""Tests of the known networks' ONNX graphs: valid, with the shapes of the walk, and with usable random weights."""

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import shape_inference

from nas.graph.form import OPSET
from nas.zoo.catalog import ZooNetwork, zoo_names, zoo_network
from nas.zoo.graph import ACTIVATIONS, EMIT
from nas.zoo.nodes import OPERATIONS

_LARGE = 6e6  # Networks with more parameters take seconds.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if zoo_network(name).params > _LARGE else []) for name in zoo_names()
]


def run(
    graph: onnx.ModelProto, image: NDArray[np.float32], outputs: Sequence[str] | None = None
) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(outputs, {"input": image})
    return found


def images(network: ZooNetwork, batch: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((batch, *network.shape), dtype=np.float32)


def with_all_outputs(graph: onnx.ModelProto) -> list[str]:
    """Make every value of a graph an output; return their names."""
    names = [name for node in graph.graph.node for name in node.output if name != "output"]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return ["output", *names]


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_is_valid_and_has_the_shapes_of_the_walk(name: str) -> None:
    network = zoo_network(name)
    graph = network.onnx()
    onnx.checker.check_model(graph, full_check=True)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    assert (graph.graph.input[0].name, graph.graph.output[0].name) == ("input", "output")
    inferred = shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in [*inferred.value_info, *inferred.output]
    }
    assert shapes["output"] == (1, network.classes)
    for node in network.nodes[:-1]:
        assert shapes[node.name] == (1, *node.outcome.shape), node.name


def counted_macs(graph: onnx.ModelProto) -> int:
    """Return the multiply-adds of a graph from the shapes of its operators' inputs and outputs alone."""
    inferred = shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in [*inferred.input, *inferred.value_info, *inferred.output]
    } | {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    total = 0
    for node in inferred.node:
        left, output = shapes[node.input[0]], shapes[node.output[0]]
        if node.op_type == "Conv":
            total += math.prod(output) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            total += math.prod(output) * left[-1]
    return total


@pytest.mark.parametrize("name", NAMES)
def test_the_operators_of_the_graph_have_the_multiply_adds_of_the_walk(name: str) -> None:
    assert counted_macs(zoo_network(name).onnx()) == zoo_network(name).macs


@pytest.mark.parametrize("name", NAMES)
def test_no_value_overflows_vanishes_or_is_denormal(name: str) -> None:
    """Arithmetic with denormal numbers is many times slower, so that latencies would be wrong."""
    network = zoo_network(name)
    graph = network.onnx()
    values = run(graph, images(network), with_all_outputs(graph))
    smallest = np.finfo(np.float32).smallest_normal
    assert values[0].std() > 0
    for value in values:
        assert np.isfinite(value).all()
        assert value.any()
        small = (np.abs(value) < smallest) & (value != 0)
        assert small.mean() < 1e-4


@pytest.mark.parametrize("name", ["lenet-5", "squeezenet-1.1", "shufflenet-v2-1.0", "mobilenetv2"])
def test_images_of_a_batch_do_not_affect_each_other(name: str) -> None:
    network = zoo_network(name)
    two = images(network, 2)
    (both,) = run(network.onnx(batch=2), two)
    for i in range(2):
        (alone,) = run(network.onnx(), two[i : i + 1])
        np.testing.assert_allclose(both[i], alone[0], rtol=1e-4, atol=1e-4 * np.abs(alone).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit-b-16", "bit-r50x1", "mlp-mixer-b-16"])
def test_images_of_a_batch_do_not_affect_each_other_in_large_networks(name: str) -> None:
    test_images_of_a_batch_do_not_affect_each_other(name)


@pytest.mark.parametrize("name", ["lenet-5", "resnet-18", "shufflenet-v2-1.0"])
def test_the_seed_determines_the_weights(name: str) -> None:
    network = zoo_network(name)
    first, again, other = (network.onnx(seed=seed).SerializeToString(deterministic=True) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_every_operation_has_a_shape_and_is_written() -> None:
    assert {kind for kind in EMIT if isinstance(kind, type)} == OPERATIONS.keys()
    assert {kind for kind in EMIT if isinstance(kind, str)} == {"concat", "add"}


def test_every_operation_and_activation_occurs_in_a_network() -> None:
    nodes = [node for name in zoo_names() for node in zoo_network(name).nodes]
    assert {type(node.record) for node in nodes} - {str} == OPERATIONS.keys()
    used = {node.record.function for node in nodes if type(node.record).__name__ == "Activation"}
    assert used == ACTIVATIONS.keys()


@pytest.mark.slow
def test_the_graph_of_vgg_is_held_in_memory_once() -> None:
    """Its 553 MB, one matrix of 411 MB as an array and one as bytes, and 100 MB for Python and its modules."""
    program = """
import resource
from nas.zoo.catalog import zoo_network
graph = zoo_network("vgg-16").onnx()
assert graph.ByteSize() > 553e6
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 553e6 + 2 * 411e6 + 150e6


@pytest.mark.parametrize("module", ["nas.zoo.catalog", "nas.zoo.graph"])
def test_no_torch_is_loaded(module: str) -> None:
    program = f"import sys, {module}; assert not {{'torch', 'optuna', 'plotly', 'onnxruntime'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
