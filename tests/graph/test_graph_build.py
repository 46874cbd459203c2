"""Graphs against the torch models of the same architectures: the same numbers, and the same work in ONNX Runtime."""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from nas.arch.layers import Shape
from nas.arch.presets import preset
from nas.arch.spec import (
    ACTIVATIONS,
    EXPANDING_OPERATORS,
    GATE_WIDTHS,
    GATES,
    OPERATORS,
    PADDINGS,
    SKIPS,
    Architecture,
    ConvHead,
    ConvStem,
    Gate,
    MaxPoolStem,
    MlpHead,
    Norm,
    Part,
    PoolHead,
    Stage,
)
from nas.errors import ArchitectureError
from nas.graph.build import build_graph
from nas.graph.fragment import Fragment, whole
from nas.graph.weights import Weights, folded_weights
from nas.models.build import build_model
from tests.strategies import architectures

Values = NDArray[Any]
PAIRS = (OPERATORS[:2], OPERATORS[2:4], OPERATORS[4:])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def packed(padding: str, gate: str | None, operators: tuple[str, ...]) -> Architecture:
    """Each operator with every skip and activation, a layer each; the rest varies along."""
    stages = []
    for i, (operator, skip, activation) in enumerate(product(operators, SKIPS, ACTIVATIONS)):
        stages.append(
            Stage(
                operator,
                channels=(24, 24, 32, 32, 24, 20, 20)[i % 7],
                kernel=(3, 1, 5, 7)[i % 4],
                stride=2 if i % 11 == 6 else 1,
                expansion=(2, 1, 1.5)[i // 4 % 3] if operator in EXPANDING_OPERATORS else 1,
                gate=Gate(0.5, GATE_WIDTHS[i % 2], ACTIVATIONS[i % 7 % 5], gate, (1, 8)[i % 3 % 2]) if gate else None,
                skip=skip,
                activation=activation,
            )
        )
    residual = operators == PAIRS[-1]
    head = MlpHead(16, 12, 0.2, "hard_swish") if residual else ConvHead(16, 0.2, "hard_swish")
    return Architecture(
        (MaxPoolStem if residual else ConvStem)(24, 3, 1 if residual else 2, "silu"),
        tuple(stages),
        head if gate else PoolHead(0.1),
        resolution=59,
        classes=7,
        padding=padding,
        # Keeps rounding from growing from layer to layer, and shows where it is left out.
        norm=Norm(eps=1 if residual and not gate else 0.1),
        drop_path=0.2,
    )


PACKED = {
    f"{padding}-{gate}-{'-'.join(operators)}": packed(padding, gate, operators)
    for padding, gate, operators in product(PADDINGS, (None, *GATES), PAIRS)
}
PRESETS = ("mnasnet-a1", "efficientnet-b0", "efficientnet-lite0", "mobilenetv3-small", "resnet-18")


def images(arch: Architecture, count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, arch.in_channels, arch.resolution, arch.resolution, generator=generator)


def scrambled(arch: Architecture) -> nn.Sequential:
    """A model whose biases and normalisations show when they are left out or swapped."""
    torch.manual_seed(0)
    model = build_model(arch)
    for name, values in model.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            values.normal_(0.0, 0.3)
        elif name.endswith(("norm.weight", "running_var")):
            values.uniform_(0.5, 2.0)
    return model.eval()


def settled(arch: Architecture) -> nn.Sequential:
    """A scrambled model with the statistics of real maps, so that a deep one's output still depends on its input."""
    model = scrambled(arch)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images(arch, 16, seed=2))
    return model.eval()


def weights_of(arch: Architecture, model: nn.Module) -> Weights:
    return folded_weights(arch, {name: values.numpy() for name, values in model.state_dict().items()})


def run(graph: onnx.ModelProto, inputs: Values, optimized: Path | None = None) -> Values:
    """What ONNX Runtime makes of the inputs; its own graph goes to the file `optimized`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return np.asarray(output)


def off_by(found: Values, expected: Values) -> float:
    """The largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    return float(abs(found - expected).max() / abs(expected).max())


@settings(max_examples=60)
@given(architectures(), st.sampled_from([1, 2]))
def test_any_architecture_gives_the_outputs_of_its_torch_model(arch: Architecture, batch: int) -> None:
    model, inputs = scrambled(arch), images(arch, batch)
    graph = build_graph(whole(arch), weights_of(arch, model), batch=batch)
    with torch.no_grad():
        expected = model.double()(inputs.double()).numpy()
    assert off_by(run(graph, inputs.numpy()), expected) < 1e-4


@settings(max_examples=60)
@given(architectures(), st.integers(1, 3))
def test_any_graph_is_valid_and_says_its_shapes(arch: Architecture, batch: int) -> None:
    graph = build_graph(whole(arch), batch=batch)
    onnx.checker.check_model(graph, full_check=True)
    assert shapes(graph) == {
        "input": (batch, arch.in_channels, arch.resolution, arch.resolution),
        "output": (batch, arch.classes),
    }


def shapes(graph: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.graph.input, *graph.graph.output)
    }


@settings(max_examples=30)
@given(architectures())
def test_a_network_s_parts_in_a_row_give_its_outputs(arch: Architecture) -> None:
    network = whole(arch)
    weights, values = weights_of(arch, scrambled(arch)), images(arch, 2).numpy()
    expected = run(build_graph(network, weights, batch=2), values)
    *_, head = network.walk()
    rows: list[tuple[tuple[Part, ...], Any]] = [((arch.stem, *arch.stages), network.shape), ((arch.head,), head.shape)]
    for parts, shape in rows:
        graph = build_graph(Fragment(parts, shape, arch.classes, arch.padding), weights, batch=2)
        onnx.checker.check_model(graph, full_check=True)
        values = run(graph, values)
        assert shapes(graph)["output"] == values.shape
    assert off_by(values, expected) < 1e-5


def test_the_same_input_makes_the_same_file() -> None:
    network = whole(preset("mnasnet-a1"))
    assert build_graph(network).SerializeToString() == build_graph(network).SerializeToString()


# The first are terabytes, so making them would fail; of the last, the kernels alone would fit.
@pytest.mark.parametrize(
    "parts",
    [
        (ConvStem(8), ConvHead(2**31 - 1)),
        (ConvStem(8), Stage("conv", 2**31 - 1, kernel=99)),
        (ConvStem(500_000_000, 1),),
    ],
    ids=["head", "stage", "biases"],
)
def test_weights_above_2_gb_are_refused_before_they_are_made(parts: tuple[Part, ...]) -> None:
    with pytest.raises(ArchitectureError, match="2 GB") as caught:
        build_graph(Fragment(parts, Shape(1, 8, 8)))
    assert caught.value.remedy


@frozen
class Pair:
    """The same network as this package's graph and as torch's exporter writes it, with inputs and torch's outputs."""

    own: onnx.ModelProto
    exported: onnx.ModelProto
    inputs: Values
    outputs: Values


@pytest.fixture(scope="module", params=[*PACKED, *PRESETS])
def pair(request: pytest.FixtureRequest) -> Pair:
    arch = PACKED.get(request.param) or preset(request.param)
    model, inputs = settled(arch), images(arch, 2)
    own = build_graph(whole(arch), weights_of(arch, model), batch=2)
    exported = torch.onnx.export(model, (inputs,), dynamo=True, verbose=False)
    assert exported is not None
    with torch.no_grad():
        return Pair(own, exported.model_proto, inputs.numpy(), model.double()(inputs.double()).numpy())


exporting = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")


def test_the_packed_architectures_have_every_combination() -> None:
    layers, gates = set(), set()
    for arch in PACKED.values():
        for stage in arch.stages:
            gate = stage.gate and (stage.gate.of, stage.gate.activation, stage.gate.gate)
            layers.add((arch.padding, gate and gate[-1], stage.operator, stage.skip, stage.activation))
            gates.add(gate)
    assert layers == set(product(PADDINGS, (None, *GATES), OPERATORS, SKIPS, ACTIVATIONS))
    assert gates == {None, *product(GATE_WIDTHS, ACTIVATIONS, GATES)}


@pytest.mark.slow
@exporting
def test_every_operator_gives_the_outputs_of_torch_and_of_its_export(pair: Pair) -> None:
    own = run(pair.own, pair.inputs)
    assert off_by(own[:1], own[1:]) > 0.01  # a deep network still tells its inputs apart
    assert off_by(own, pair.outputs) < 1e-4
    assert off_by(own, run(pair.exported, pair.inputs)) < 1e-4


@pytest.mark.slow
@exporting
def test_onnx_runtime_makes_the_same_operators_of_every_graph_and_its_export(pair: Pair, tmp_path: Path) -> None:
    found = []
    for graph in (pair.own, pair.exported):
        run(graph, pair.inputs, optimized=tmp_path / "optimized.onnx")
        nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
        found.append(Counter((node.domain, node.op_type) for node in nodes))
    assert found[0] == found[1]
