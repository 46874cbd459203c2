"""Tests of counted costs against independent counts."""

from collections.abc import Sequence

import attrs
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import TensorProto, numpy_helper

from nas.arch.layers import INPUT, Node, Shape, walk, walk_part
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture, ConvHead, ConvStem, Gate, MaxPoolStem, MlpHead, Part, PoolHead, Stage
from nas.cost.analytic import COUNTED, IN_PLACE, MACS, PARAMS, cost, layer_cost, peak_memory, place_costs, size
from nas.cost.base import ChainCostModel
from nas.device.quantize import quantize
from nas.errors import TargetError
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from tests.contracts.cost_model import ChainCostModelContract
from tests.strategies import architectures


class TestMacs(ChainCostModelContract):
    def model(self) -> ChainCostModel:
        return MACS


class TestParams(ChainCostModelContract):
    def model(self) -> ChainCostModel:
        return PARAMS


class TestSize(ChainCostModelContract):
    def model(self) -> ChainCostModel:
        return size("int8")


class TestPeakMemory(ChainCostModelContract):
    def model(self) -> ChainCostModel:
        return peak_memory("fp16")


def live_elements(nodes: Sequence[Node], shape: Shape) -> int:
    """Return the peak memory by checking, at each node, for every tensor whether it is in memory."""
    made = {INPUT: -1} | {node.name: i for i, node in enumerate(nodes)}
    sizes = {INPUT: shape.elements} | {node.name: node.shape.elements for node in nodes}
    needed = {
        name: max([i for i, node in enumerate(nodes) if name in node.inputs], default=len(nodes)) for name in made
    }
    moments = [shape.elements]
    for now, node in enumerate(nodes):
        held = {name for name in made if made[name] <= now <= needed[name]}
        if node.op in IN_PLACE and needed[node.inputs[0]] == now:
            held.remove(node.inputs[0])
        moments.append(sum(sizes[name] for name in held))
    return max(moments)


@given(architectures())
@settings(deadline=None, max_examples=25)
def test_peak_memory_is_the_largest_sum_of_live_tensors(arch: Architecture) -> None:
    assert cost(arch).peak_elements == max(live_elements(placed.nodes, placed.shape) for placed in walk(arch))


@pytest.mark.parametrize("name", preset_names())
def test_peak_memory_of_published_networks_is_the_largest_sum_of_live_tensors(name: str) -> None:
    arch = preset(name)
    assert cost(arch).peak_elements == max(live_elements(placed.nodes, placed.shape) for placed in walk(arch))


_IN = Shape(16, 8, 8)  # 1,024 elements


@pytest.mark.parametrize(
    ("part", "peak"),
    [
        # The depthwise convolution reads 6,144 and writes 6,144 while the skip holds the input's 1,024.
        (Stage("mbconv", 16, expansion=6), 6144 + 6144 + 1024),
        (Stage("mbconv", 16, expansion=6, skip="none"), 6144 + 6144),
        (Stage("mbconv", 16, expansion=6, skip="pool"), 6144 + 6144 + 1024),
        # Strided, no skip: expanding is worse (1,024 + 6,144) than 6,144 + 1,536, which is worst.
        (Stage("mbconv", 16, expansion=6, stride=2), 6144 + 1536),
        (Stage("mbconv", 16, expansion=6, stride=4), 1024 + 6144),
        # The pooled skip holds the input to the end: 1,024 beside the 6,144 and 1,536.
        (Stage("mbconv", 16, expansion=6, stride=2, skip="pool"), 6144 + 1536 + 1024),
        # Squeezing adds its few elements (96 + 1 ... 96) to a single copy of the tensor, less than two of them.
        (Stage("mbconv", 16, expansion=6, gate=Gate(0.25)), 6144 + 6144 + 1024),
        # Nothing expands and nothing is held: input and output; the activation is written over its input.
        (Stage("conv", 24), 1024 + 1536),
        (Stage("conv", 16), 1024 + 1024),
        (Stage("dsconv", 16, skip="none"), 1024 + 1024),
        (Stage("dsconv", 16), 1024 + 1024 + 1024),
        # The zero-filled skip: input (read by the pooling), pooled and branch; then pooled, filled and branch.
        (Stage("conv", 64, skip="pool"), 4096 + 1024 + 4096),
        (ConvStem(8, stride=1), 1024 + 512),
        (ConvHead(64), 1024 + 4096),
        (PoolHead(), 1024 + 16),
        # The sum is written over the branch, and the activation over the sum.
        (Stage("basic", 16), 1024 + 1024 + 1024),
        (Stage("basic", 16, skip="none"), 1024 + 1024),
        # Restoring reads 256 and writes 1,024 beside the input; the projection reads the input beside the branch.
        (Stage("bottleneck", 16, expansion=4), 256 + 1024 + 1024),
        (Stage("bottleneck", 64, expansion=4, skip="projection"), 1024 + 4096 + 4096),
        # The pooling reads what the convolution wrote.
        (MaxPoolStem(64, stride=1), 4096 + 1024),
        (MlpHead(64, 128), 1024 + 4096),
    ],
)
def test_peak_memory_of_one_layer_by_hand(part: Part, peak: int) -> None:
    assert layer_cost(part, _IN, 10).peak_elements == peak
    assert live_elements(walk_part(part, _IN, 10), _IN) == peak


def test_a_classifier_larger_than_all_feature_maps_sets_the_peak() -> None:
    arch = Architecture(ConvStem(1), (Stage("conv", 1),), PoolHead(), resolution=4, in_channels=1, classes=1000)
    assert cost(arch).peak_elements == 1 + 1000


def test_a_large_image_is_in_memory_while_the_stem_reads_it() -> None:
    arch = Architecture(ConvStem(1, stride=4), (Stage("conv", 1),), PoolHead(), resolution=64, classes=2)
    assert cost(arch).peak_elements == 3 * 64 * 64 + 16 * 16


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("fp16", 2), ("bf16", 2), ("int8", 1)])
def test_memory_in_bytes_is_proportional_to_the_bytes_of_the_precision(precision: str, width: int) -> None:
    arch = preset("mobilenetv2")
    elements = cost(arch).peak_elements
    assert cost(arch).peak_bytes(precision) == width * elements
    assert peak_memory(precision).estimate(arch).value == width * elements


def stored_bytes(model: onnx.ModelProto, *types: int, named: tuple[str, ...] = ("",)) -> int:
    """Return the bytes of those constants of a graph that have one of some types and name endings."""
    kept = [each for each in model.graph.initializer if each.data_type in types and each.name.endswith(named)]
    return sum(numpy_helper.to_array(each).nbytes for each in kept)


# The bounds of relu6 are constants of the graph too, but are not weights.
WEIGHTS = (".weight", ".bias")


@given(architectures())
@settings(deadline=None, max_examples=25)
def test_size_equals_the_bytes_of_the_weights_in_the_graph(arch: Architecture) -> None:
    model = build_graph(whole(arch))
    assert size().estimate(arch).value == stored_bytes(model, TensorProto.FLOAT, named=WEIGHTS)


@pytest.mark.parametrize("name", ["mobilenetv2", "mnasnet-a1", "efficientnet-b0", "mobilenetv1"])
def test_size_of_published_networks_equals_the_bytes_of_the_weights_in_their_graphs(name: str) -> None:
    arch = preset(name)
    model = build_graph(whole(arch))
    assert size().estimate(arch).value == stored_bytes(model, TensorProto.FLOAT, named=WEIGHTS)
    assert size("fp16").estimate(arch).value == size().estimate(arch).value / 2


RESIDUAL = (
    Stage("basic", 8, 2),
    Stage("bottleneck", 16, 2, stride=2, expansion=4, skip="projection", gate=Gate(0.25, divisor=8)),
)


@pytest.mark.parametrize("gate", [None, Gate(0.25), Gate(0.25, "expanded", "relu", "hard_sigmoid", 8)])
@pytest.mark.parametrize("residual", [False, True])
def test_size_at_int8_equals_a_quantized_graph_without_scales_and_zero_points(
    gate: Gate | None, residual: bool
) -> None:
    stages = (Stage("mbconv", 8, 2, expansion=3, gate=gate), Stage("fused", 12, stride=2, expansion=2, gate=gate))
    arch = Architecture(ConvStem(8), stages, ConvHead(24), resolution=16, classes=5)
    if residual:
        arch = attrs.evolve(
            arch, stem=MaxPoolStem(8), stages=(*RESIDUAL, *stages), head=MlpHead(24, 16, 0.0, "hard_swish")
        )
    model = quantize(build_graph(whole(arch)))
    # A weight has 8 bits and a bias 32; the scales and zero points of each channel are not counted.
    kept = stored_bytes(model, TensorProto.INT8, TensorProto.INT32, named=(".weight_quantized", ".bias_quantized"))
    assert size("int8").estimate(arch).value == kept
    assert not stored_bytes(model, TensorProto.FLOAT, named=WEIGHTS)


def test_an_unknown_precision_is_rejected_with_the_known_ones() -> None:
    for count in (peak_memory, size):
        with pytest.raises(TargetError, match="fp8") as caught:
            count("fp8")
        assert "int8" in caught.value.remedy


def test_the_costs_that_studies_store_for_every_architecture() -> None:
    b0 = preset("efficientnet-b0")
    kept = {name: model.estimate(b0) for name, model in COUNTED.items()}
    assert {name: (c.value, c.unit, c.source, c.spread) for name, c in kept.items()} == {
        "macs": (cost(b0).macs, "MACs", "counted", 0.0),
        "params": (5_288_548, "params", "counted", 0.0),
        "peak_bytes": (cost(b0).peak_bytes(), "bytes", "counted", 0.0),
    }


@given(architectures())
@settings(deadline=None, max_examples=25)
def test_the_costs_of_stem_stages_and_head_add_up(arch: Architecture) -> None:
    places = place_costs(arch)
    assert [place.name for place in places] == ["stem", *(f"stage{i + 1}" for i in range(len(arch.stages))), "head"]
    assert sum(place.cost.macs for place in places) == cost(arch).macs
    assert sum(place.cost.params for place in places) == cost(arch).params
    assert max(place.cost.peak_elements for place in places) == cost(arch).peak_elements


@given(architectures())
@settings(deadline=None, max_examples=25)
def test_parameters_do_not_depend_on_the_resolution(arch: Architecture) -> None:
    assert cost(attrs.evolve(arch, resolution=2 * arch.resolution)).params == cost(arch).params


@given(architectures())
@settings(deadline=None, max_examples=25)
def test_one_more_layer_costs_more(arch: Architecture) -> None:
    longer = attrs.evolve(arch, stages=(*arch.stages, attrs.evolve(arch.stages[-1], stride=1)))
    assert cost(longer).macs > cost(arch).macs
    assert cost(longer).params > cost(arch).params
    assert cost(longer).peak_elements >= cost(arch).peak_elements


def test_a_very_deep_stage_is_counted_without_a_walk_of_all_layers() -> None:
    one, many = (preset("mobilenetv2"), attrs.evolve(preset("mobilenetv2"), stages=(Stage("conv", 8, layers=1000),)))
    layer = 9 * 8 * 8 * 112 * 112
    assert cost(many).macs == 9 * 3 * 32 * 112**2 + 9 * 32 * 8 * 112**2 + 999 * layer + 8 * 1280 * 112**2 + 1280 * 1000
    assert cost(one).macs < cost(many).macs


def test_costs_are_whole_numbers_of_any_size() -> None:
    wide = attrs.evolve(preset("efficientnet-b0"), resolution=100_000)
    assert isinstance(cost(wide).macs, int)
    assert cost(wide).macs > np.iinfo(np.int32).max
