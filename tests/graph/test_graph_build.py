"""Tests of graphs against torch models of the same architectures: equal outputs, and equal ONNX Runtime operators."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice, product
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

from nas.arch.code import parse_text
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
from nas.graph.form import FORM
from nas.graph.fragment import Fragment, whole
from nas.graph.weights import Weights, folded_weights
from nas.models.build import build_model
from tests.strategies import architectures

Values = NDArray[Any]
# Networks with more operators would be so deep that rounding errors grow above the tolerance.
PAIRED = max(len(SKIPS), len(ACTIVATIONS))
PAIRS = (("conv", "dsconv"), ("mbconv", "fused"), ("inverted",), ("basic", "bottleneck"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def combined(padding: str, gate: str | None, operators: tuple[str, ...]) -> Architecture:
    """Return a network with a layer for each combination of operator, skip and activation; other fields vary.

    With a gate, which comes behind the activation and ends before the skip, each skip and each activation occurs with
    each operator, but not with each other.
    """
    both = product(SKIPS, ACTIVATIONS) if gate is None else islice(zip(cycle(SKIPS), cycle(ACTIVATIONS)), PAIRED)
    stages = []
    for i, (operator, (skip, activation)) in enumerate(product(operators, both)):
        stages.append(
            Stage(
                operator,
                channels=(24, 24, 32, 32, 24, 20, 20)[i % 7],
                kernel=(3, 1, 5, 7)[i % 4],
                stride=2 if i % 11 == 6 else 1,
                expansion=(2, 1, 1.5)[i // 4 % 3] if operator in EXPANDING_OPERATORS else 1,
                gate=Gate(0.5, GATE_WIDTHS[i % 2], ACTIVATIONS[(i + 1) % PAIRED], gate, (1, 8)[i % 3 % 2])
                if gate
                else None,
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
        # A large epsilon keeps rounding errors from growing, and changes the output if it is ignored.
        norm=Norm(eps=1 if residual and not gate else 0.1),
        drop_path=0.2,
    )


# Both paddings take turns, so that each of them occurs with every gate and with every operator: torch exports a
# network of each kind of layer in eight seconds.
COMBINED = {
    f"{padding}-{gate}-{'-'.join(operators)}": combined(padding, gate, operators)
    for i, gate in enumerate((None, *GATES))
    for j, operators in enumerate(PAIRS)
    for padding in (PADDINGS[(i + j) % len(PADDINGS)],)
}
PRESETS = ("mnasnet-a1", "efficientnet-b0", "efficientnet-lite0", "mobilenetv3-small", "resnet-18")


def images(arch: Architecture, count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, arch.in_channels, arch.resolution, arch.resolution, generator=generator)


def randomized(arch: Architecture) -> nn.Sequential:
    """Return a model with random biases and normalizations, so that an omitted or swapped one changes the output."""
    torch.manual_seed(0)
    model = build_model(arch)
    for name, values in model.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            values.normal_(0.0, 0.3)
        elif name.endswith(("norm.weight", "running_var")):
            values.uniform_(0.5, 2.0)
    return model.eval()


def randomized_with_statistics(arch: Architecture) -> nn.Sequential:
    """Return a model with random biases and scales, but with statistics of real feature maps.

    Without these statistics, the output of a deep network would hardly depend on its input.
    """
    model = randomized(arch)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images(arch, 16, seed=2))
    return model.eval()


def weights_of(arch: Architecture, model: nn.Module) -> Weights:
    return folded_weights(arch, {name: values.numpy() for name, values in model.state_dict().items()})


def run(graph: onnx.ModelProto, inputs: Values, optimized: Path | None = None) -> Values:
    """Return the outputs of ONNX Runtime, which saves its optimized graph in the file `optimized`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return np.asarray(output)


def relative_difference(found: Values, expected: Values) -> float:
    """Return the largest difference, divided by the largest value."""
    assert found.shape == expected.shape
    return float(abs(found - expected).max() / abs(expected).max())


@settings(max_examples=30)
@given(architectures(), st.sampled_from([1, 2]))
def test_any_graph_has_the_outputs_of_the_torch_model(arch: Architecture, batch: int) -> None:
    model, inputs = randomized(arch), images(arch, batch)
    graph = build_graph(whole(arch), weights_of(arch, model), batch=batch)
    with torch.no_grad():
        expected = model.double()(inputs.double()).numpy()
    assert relative_difference(run(graph, inputs.numpy()), expected) < 1e-4


@settings(max_examples=30)
@given(architectures(), st.integers(1, 3))
def test_any_graph_is_valid_and_declares_its_shapes(arch: Architecture, batch: int) -> None:
    graph = build_graph(whole(arch), batch=batch)
    onnx.checker.check_model(graph, full_check=True)
    assert shapes(graph) == {
        "input": (batch, arch.in_channels, arch.resolution, arch.resolution),
        "output": (batch, arch.classes),
    }


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3-small"])
def test_a_graph_of_an_open_batch_has_the_outputs_of_one_of_each_batch(name: str) -> None:
    fragment = whole(preset(name).adapted(resolution=32, classes=5))
    graph = build_graph(fragment, batch=None)
    onnx.checker.check_model(graph, full_check=True)
    ends = [graph.graph.input[0], graph.graph.output[0]]
    assert [end.type.tensor_type.shape.dim[0].dim_param for end in ends] == ["batch", "batch"]
    for batch in (1, 3):
        inputs = np.random.default_rng(0).random((batch, 3, 32, 32), dtype=np.float32)
        np.testing.assert_array_equal(run(graph, inputs), run(build_graph(fragment, batch=batch), inputs))


def shapes(graph: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.graph.input, *graph.graph.output)
    }


@settings(max_examples=15)
@given(architectures())
def test_fragments_run_one_after_the_other_have_the_outputs_of_the_network(arch: Architecture) -> None:
    network = whole(arch)
    weights, values = weights_of(arch, randomized(arch)), images(arch, 2).numpy()
    expected = run(build_graph(network, weights, batch=2), values)
    *_, head = network.walk()
    rows: list[tuple[tuple[Part, ...], Any]] = [((arch.stem, *arch.stages), network.shape), ((arch.head,), head.shape)]
    for parts, shape in rows:
        graph = build_graph(Fragment(parts, shape, arch.classes, arch.padding), weights, batch=2)
        onnx.checker.check_model(graph, full_check=True)
        values = run(graph, values)
        assert shapes(graph)["output"] == values.shape
    assert relative_difference(values, expected) < 1e-5


def test_building_a_graph_is_deterministic() -> None:
    network = whole(preset("mnasnet-a1"))
    assert build_graph(network).SerializeToString() == build_graph(network).SerializeToString()


# A digest of the operators of each form of graphs. An operator, an attribute or the opset that changes needs another
# form, because stored latencies of this one would otherwise be used with other graphs.
DIGESTS = {"opset18 operators1": "b88c88f180f70809"}
EVERY_KIND = """
net resolution=32 classes=10 padding=same act=relu6
stem maxpool k7 s2 c16 hard_swish
conv c24 poolskip
dsconv s2 c16 poolskip silu
mbconv e2 c16 se0.25
fused e2 k5 c24 se0.5:expanded:silu:hard_sigmoid projskip
basic s2 c32 projskip linear
inverted e1 k5 c32 se0.25
bottleneck e4 c40 projskip
head mlp c16 f12 relu
"""


def test_other_operators_need_another_form() -> None:
    arch = parse_text(EVERY_KIND)
    assert {stage.operator for stage in arch.stages} == {*OPERATORS}
    graph = build_graph(whole(arch))
    operators = [
        (node.op_type, sorted((a.name, onnx.helper.get_attribute_value(a)) for a in node.attribute), len(node.input))
        for node in graph.graph.node
    ]
    described = repr((graph.opset_import[0].version, operators))
    assert DIGESTS[FORM] == hashlib.sha256(described.encode()).hexdigest()[:16]


# The first two would have terabytes, so creating them would fail. In the last, only the biases exceed the limit.
@pytest.mark.parametrize(
    "parts",
    [
        (ConvStem(8), ConvHead(2**31 - 1)),
        (ConvStem(8), Stage("conv", 2**31 - 1, kernel=99)),
        (ConvStem(500_000_000, 1),),
    ],
    ids=["head", "stage", "biases"],
)
def test_weights_above_2_gb_are_rejected_before_they_are_created(parts: tuple[Part, ...]) -> None:
    with pytest.raises(ArchitectureError, match="2 GB") as caught:
        build_graph(Fragment(parts, Shape(1, 8, 8)))
    assert caught.value.remedy


@frozen
class Pair:
    """Hold the graphs of a network that this package and torch's exporter write, with inputs and torch's outputs."""

    own: onnx.ModelProto
    exported: onnx.ModelProto
    inputs: Values
    outputs: Values


@pytest.fixture(scope="module", params=[*COMBINED, *PRESETS])
def pair(request: pytest.FixtureRequest) -> Pair:
    arch = COMBINED.get(request.param) or preset(request.param)
    model, inputs = randomized_with_statistics(arch), images(arch, 2)
    own = build_graph(whole(arch), weights_of(arch, model), batch=2)
    exported = torch.onnx.export(model, (inputs,), dynamo=True, verbose=False)
    assert exported is not None
    with torch.no_grad():
        return Pair(own, exported.model_proto, inputs.numpy(), model.double()(inputs.double()).numpy())


exporting = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")


def test_the_combined_architectures_have_every_combination() -> None:
    layers, skips, activations, paddings, gates = set(), set(), set(), set(), set()
    for arch in COMBINED.values():
        for stage in arch.stages:
            gate = stage.gate and (stage.gate.of, stage.gate.activation, stage.gate.gate)
            if gate is None:
                layers.add((stage.operator, stage.skip, stage.activation))
            for place in (arch.padding, gate and gate[-1]):
                skips.add((place, stage.operator, stage.skip))
                activations.add((place, stage.operator, stage.activation))
            paddings.add((arch.padding, gate and gate[-1]))
            gates.add(gate)
    places = (*PADDINGS, None, *GATES)
    assert layers == set(product(OPERATORS, SKIPS, ACTIVATIONS))
    assert skips == set(product(places, OPERATORS, SKIPS))
    assert activations == set(product(places, OPERATORS, ACTIVATIONS))
    assert paddings == set(product(PADDINGS, (None, *GATES)))
    assert gates == {None, *product(GATE_WIDTHS, ACTIVATIONS, GATES)}


@pytest.mark.slow
@exporting
def test_every_operator_has_the_outputs_of_torch_and_of_its_exported_graph(pair: Pair) -> None:
    own = run(pair.own, pair.inputs)
    assert relative_difference(own[:1], own[1:]) > 0.01  # The output of the deep network depends on its input.
    assert relative_difference(own, pair.outputs) < 1e-4
    assert relative_difference(own, run(pair.exported, pair.inputs)) < 1e-4


@pytest.mark.slow
@exporting
def test_onnx_runtime_optimizes_a_graph_and_the_exported_graph_to_the_same_operators(
    pair: Pair, tmp_path: Path
) -> None:
    found = []
    for graph in (pair.own, pair.exported):
        run(graph, pair.inputs, optimized=tmp_path / "optimized.onnx")
        nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
        found.append(Counter((node.domain, node.op_type) for node in nodes))
    assert found[0] == found[1]
