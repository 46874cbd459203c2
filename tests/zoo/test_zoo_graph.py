"""Tests of the known networks' ONNX graphs: valid, with the shapes of the walk, and with usable random weights."""

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from attrs import frozen
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


@frozen
class Built:
    """Hold a network, its graph, and the shapes of all values of the graph as the ONNX library infers them."""

    network: ZooNetwork
    graph: onnx.ModelProto
    shapes: Mapping[str, tuple[int, ...]]


# For the whole module, so that the tests of one network share its graph: building all of them takes a minute.
@pytest.fixture(scope="module", params=NAMES)
def built(request: pytest.FixtureRequest) -> Built:
    network = zoo_network(request.param)
    graph = network.onnx()
    return Built(network, graph, inferred_shapes(graph))


def inferred_shapes(graph: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    light = onnx.ModelProto(ir_version=graph.ir_version, opset_import=graph.opset_import)
    light.graph.name = "without weights"
    for part in ("node", "input", "output"):
        getattr(light.graph, part).extend(getattr(graph.graph, part))
    for tensor in graph.graph.initializer:
        added = light.graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        if tensor.data_type == onnx.TensorProto.INT64:
            added.raw_data = tensor.raw_data
    inferred = shape_inference.infer_shapes(light, strict_mode=True, data_prop=True).graph
    values = {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in [*inferred.input, *inferred.value_info, *inferred.output]
    }
    return values | {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}


def test_the_graph_is_valid(built: Built) -> None:
    graph = built.graph
    onnx.checker.check_model(graph)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    assert (graph.graph.input[0].name, graph.graph.output[0].name) == ("input", "output")
    assert [len(part) for part in (graph.graph.input, graph.graph.output)] == [1, 1]
    assert built.shapes["input"] == (1, *built.network.shape)
    assert built.shapes["output"] == (1, built.network.classes)


def test_inferred_shapes_are_those_of_the_walk(built: Built) -> None:
    for node in built.network.nodes[:-1]:
        assert built.shapes[node.name] == (1, *node.outcome.shape), node.name


def test_the_operators_of_the_graph_have_the_multiply_adds_of_the_walk(built: Built) -> None:
    total = 0
    for node in built.graph.graph.node:
        output = math.prod(built.shapes[node.output[0]])
        if node.op_type == "Conv":
            total += output * math.prod(built.shapes[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            total += output * built.shapes[node.input[0]][-1]
    assert total == built.network.macs


def test_no_value_overflows_vanishes_or_is_denormal(built: Built) -> None:
    """Arithmetic with denormal numbers is many times slower, so that latencies would be wrong."""
    names = [name for node in built.graph.graph.node for name in node.output if name != "output"]
    outputs = built.graph.graph.output
    outputs.extend(onnx.ValueInfoProto(name=name) for name in names)
    values = run(built.graph, images(built.network), ["output", *names])
    del outputs[1:]
    smallest = np.finfo(np.float32).smallest_normal
    assert values[0].std() > 0
    for value in values:
        assert np.isfinite(value).all()
        assert value.any()
        small = (np.abs(value) < smallest) & (value != 0)
        assert small.mean() < 1e-4


_LARGE_NAMES = [pytest.param(name, marks=pytest.mark.slow) for name in ("vit-b-16", "bit-r50x1", "mlp-mixer-b-16")]


@pytest.mark.parametrize("name", ["lenet-5", "squeezenet-1.1", "shufflenet-v2-1.0", "mobilenetv2", *_LARGE_NAMES])
def test_images_of_a_batch_do_not_affect_each_other(name: str) -> None:
    network = zoo_network(name)
    two = images(network, 2)
    (both,) = run(network.onnx(batch=2), two)
    single = network.onnx()
    for i in range(2):
        (alone,) = run(single, two[i : i + 1])
        np.testing.assert_allclose(both[i], alone[0], rtol=1e-4, atol=1e-4 * np.abs(alone).max())


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
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the memory is read from /proc")
def test_the_graph_of_vgg_is_held_in_memory_once() -> None:
    """Its largest matrix is there as an array, as bytes and in the graph: 411 MB each. All others are there once."""
    program = """
import pathlib
from nas.zoo.catalog import zoo_network
graph = zoo_network("vgg-16").onnx()
print(next(line for line in pathlib.Path("/proc/self/status").open() if line.startswith("VmHWM")))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    python = 150e6
    assert int(found.stdout.split()[1]) * 1024 < 553e6 + 2 * 411e6 + python


@pytest.mark.parametrize("module", ["nas.zoo.catalog", "nas.zoo.graph"])
def test_no_torch_is_loaded(module: str) -> None:
    program = f"import sys, {module}; assert not {{'torch', 'optuna', 'plotly', 'onnxruntime'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
