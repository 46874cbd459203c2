"""Tests of the nodes and their shapes, against counts written out by hand."""

from math import ceil

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.layers import INPUT, Node, Shape, walk, walk_part
from nas.arch.presets import preset
from nas.arch.spec import Architecture, ConvHead, ConvStem, Gate, MaxPoolStem, MlpHead, Part, PoolHead, Stage
from nas.cost.analytic import cost, layer_cost
from tests.strategies import architectures


def side(arch: Architecture) -> int:
    """Return the side of the last stage's output, computed by dividing by one stride after the other."""
    length = arch.resolution
    pooled = (2,) if isinstance(arch.stem, MaxPoolStem) else ()
    for stride in (arch.stem.stride, *pooled, *(stage.stride for stage in arch.stages)):
        length = ceil(length / stride)
    return length


@given(architectures())
@settings(deadline=None, max_examples=50)
def test_a_stride_rounds_the_sides_up(arch: Architecture) -> None:
    head = list(walk(arch))[-1]
    assert head.shape == Shape(arch.stages[-1].channels, side(arch), side(arch))
    assert head.nodes[-1].shape == Shape(arch.classes, 1, 1)


@given(architectures())
@settings(deadline=None, max_examples=50)
def test_parts_are_named_in_order_and_each_starts_with_the_output_shape_of_the_one_before(
    arch: Architecture,
) -> None:
    parts = list(walk(arch))
    layers = [f"stages.{i}.{j}" for i, stage in enumerate(arch.stages) for j in range(stage.layers)]
    assert [placed.name for placed in parts] == ["stem", *layers, "head"]
    shape = Shape(arch.in_channels, arch.resolution, arch.resolution)
    for placed in parts:
        assert placed.shape == shape
        shape = placed.nodes[-1].shape


@given(architectures())
@settings(deadline=None, max_examples=50)
def test_only_the_first_layer_of_a_stage_has_a_stride(arch: Architecture) -> None:
    for placed in walk(arch):
        if isinstance(placed.part, Stage):
            stage, layer = placed.name.split(".")[1:]
            assert placed.part.layers == 1
            assert placed.part.stride == (arch.stages[int(stage)].stride if layer == "0" else 1)


@given(architectures())
@settings(deadline=None, max_examples=50)
def test_nodes_have_unique_names_and_read_outputs_of_earlier_nodes(arch: Architecture) -> None:
    for placed in walk(arch):
        known: dict[str, Shape] = {INPUT: placed.shape}
        for node in placed.nodes:
            assert node.name not in known
            assert node.in_channels == known[node.inputs[0]].channels
            if node.op == "add":
                assert {known[name] for name in node.inputs} == {node.shape}
            known[node.name] = node.shape


def names(nodes: tuple[Node, ...]) -> str:
    return " ".join(node.name for node in nodes)


_IN = Shape(16, 8, 8)
_GATE = "se_mean se_reduce se_reduce_act se_expand se_gate se_scale"
_ORDERS: list[tuple[Part, str]] = [
    (ConvStem(8), "conv conv_act"),
    (ConvHead(32, 0.2), "conv conv_act mean dropout classifier"),
    (PoolHead(), "mean classifier"),
    (MaxPoolStem(8), "conv conv_act pool"),
    (MlpHead(32, 48, 0.2), "conv conv_act mean features features_act dropout classifier"),
    (MlpHead(32, 48, activation="linear"), "conv mean features classifier"),
    (Stage("conv", 8), "conv conv_act"),
    (Stage("conv", 16, activation="linear"), "conv add"),
    (Stage("dsconv", 8), "depthwise depthwise_act pointwise pointwise_act"),
    (Stage("mbconv", 16, expansion=6), "expand expand_act depthwise depthwise_act project add"),
    (Stage("mbconv", 16), "depthwise depthwise_act project add"),
    (Stage("inverted", 16), "expand expand_act depthwise depthwise_act project add"),
    (Stage("inverted", 24, expansion=6, stride=2), "expand expand_act depthwise depthwise_act project"),
    (Stage("mbconv", 16, skip="none", gate=Gate(0.25)), f"depthwise depthwise_act {_GATE} project"),
    (Stage("fused", 16, expansion=4, gate=Gate(0.25)), f"expand expand_act {_GATE} project add"),
    (Stage("fused", 16), "conv conv_act add"),
    (Stage("mbconv", 16, stride=2), "depthwise depthwise_act project"),
    (Stage("mbconv", 16, stride=2, skip="pool"), "depthwise depthwise_act project skip_pool add"),
    (Stage("mbconv", 24, skip="pool"), "depthwise depthwise_act project skip_pool skip_resize add"),
    (Stage("basic", 16), "conv1 conv1_act conv2 add act"),
    (Stage("basic", 16, skip="none", activation="linear"), "conv1 conv2"),
    (Stage("basic", 24, gate=Gate(0.25)), f"conv1 conv1_act conv2 {_GATE} act"),
    (Stage("basic", 24, skip="projection"), "conv1 conv1_act conv2 skip_conv add act"),
    (Stage("bottleneck", 16, skip="projection"), "reduce reduce_act spatial spatial_act restore add act"),
    (
        Stage("bottleneck", 16, stride=2, skip="projection", gate=Gate(0.25)),
        f"reduce reduce_act spatial spatial_act restore {_GATE} skip_conv add act",
    ),
]


@pytest.mark.parametrize(("part", "order"), _ORDERS)
def test_a_part_computes_its_nodes_in_this_order(part: Part, order: str) -> None:
    assert names(walk_part(part, _IN, 10)) == order


@pytest.mark.parametrize(
    ("part", "macs", "params"),
    [
        # A stem on 3 x 224 x 224.
        (ConvStem(32), 9 * 3 * 32 * 112**2, 9 * 3 * 32 + 2 * 32),
        # The head: its convolution sees 7 x 7 where the input is 7 x 7.
        (ConvHead(1280), 3 * 1280 * 224**2 + 1280 * 10, 3 * 1280 + 2 * 1280 + 1280 * 10 + 10),
        (PoolHead(), 3 * 10, 3 * 10 + 10),
        (Stage("conv", 8, kernel=5), 25 * 3 * 8 * 224**2, 25 * 3 * 8 + 2 * 8),
        (
            Stage("dsconv", 8, stride=2),
            (9 * 3 + 3 * 8) * 112**2,
            9 * 3 + 2 * 3 + 3 * 8 + 2 * 8,
        ),
        (
            Stage("fused", 8, stride=2, expansion=4),
            (9 * 3 * 12 + 12 * 8) * 112**2,
            9 * 3 * 12 + 2 * 12 + 12 * 8 + 2 * 8,
        ),
        # A pooling after it costs nothing that is counted.
        (MaxPoolStem(64), 49 * 3 * 64 * 112**2, 49 * 3 * 64 + 2 * 64),
        (
            MlpHead(96, 128),
            3 * 96 * 224**2 + 96 * 128 + 128 * 10,
            3 * 96 + 2 * 96 + 96 * 128 + 128 + 128 * 10 + 10,
        ),
        (
            Stage("basic", 8, kernel=5, stride=2, skip="projection"),
            (25 * 3 * 8 + 25 * 8 * 8 + 3 * 8) * 112**2,
            25 * 3 * 8 + 25 * 8 * 8 + 3 * 8 + 3 * 2 * 8,
        ),
        (
            Stage("bottleneck", 16, stride=2, expansion=4, skip="projection"),
            3 * 4 * 224**2 + (9 * 4 * 4 + 4 * 16 + 3 * 16) * 112**2,
            3 * 4 + 9 * 4 * 4 + 4 * 16 + 3 * 16 + 2 * (4 + 4 + 16 + 16),
        ),
    ],
)
def test_the_cost_of_a_part_equals_the_count_by_hand(part: Part, macs: int, params: int) -> None:
    counted = layer_cost(part, Shape(3, 224, 224), 10)
    assert (counted.macs, counted.params) == (macs, params)


def test_the_cost_of_an_mbconv_with_a_gate_equals_the_count_by_hand() -> None:
    # EfficientNet-B0's third stage, first layer: 24 x 56 x 56 to 40 x 28 x 28, inside 144, squeezed to 24 / 4 = 6.
    counted = layer_cost(Stage("mbconv", 40, kernel=5, stride=2, expansion=6, gate=Gate(0.25)), Shape(24, 56, 56), 10)
    expand, depthwise, squeeze, project = 24 * 144, 25 * 144, 2 * 144 * 6, 144 * 40
    assert counted.macs == expand * 56**2 + (depthwise + project) * 28**2 + squeeze
    assert counted.params == expand + depthwise + squeeze + project + 2 * (144 + 144 + 40) + 6 + 144
    assert counted.shape == Shape(40, 28, 28)


@pytest.mark.parametrize(
    ("gate", "squeezed"),
    [(Gate(0.25), 4), (Gate(0.25, "expanded"), 24), (Gate(0.01), 1), (Gate(0.3), 4), (Gate(1.0), 16)],
)
def test_the_squeezed_width_is_rounded_down_and_at_least_1(gate: Gate, squeezed: int) -> None:
    nodes = walk_part(Stage("mbconv", 16, expansion=6, gate=gate), _IN, 10)
    assert {node.name: node.shape for node in nodes}["se_reduce"] == Shape(squeezed, 1, 1)


@pytest.mark.parametrize(
    ("ratio", "divisor", "squeezed"),
    # A quarter of 96 is 24; 0.1 of it is 9.6, and 8 would be more than a tenth below; 0.3 of it is 28.8.
    [(0.25, 8, 24), (0.1, 8, 16), (0.3, 8, 32), (0.3, 5, 30), (0.01, 8, 8), (0.01, 64, 64), (0.3, 1, 28)],
)
def test_the_squeezed_width_is_a_multiple_of_the_divisor(ratio: float, divisor: int, squeezed: int) -> None:
    gate = Gate(ratio, "expanded", divisor=divisor)
    nodes = walk_part(Stage("mbconv", 16, expansion=6, gate=gate), _IN, 10)
    assert {node.name: node.shape for node in nodes}["se_reduce"] == Shape(squeezed, 1, 1)


@pytest.mark.parametrize(("expansion", "inside"), [(4, 4), (2.5, 6), (3, 5), (1, 16), (100, 1)])
def test_the_expansion_of_a_bottleneck_refers_to_its_output(expansion: float, inside: int) -> None:
    nodes = walk_part(Stage("bottleneck", 16, expansion=expansion), Shape(24, 8, 8), 10)
    assert [node.shape.channels for node in nodes if node.op == "conv"] == [inside, inside, 16]


@pytest.mark.parametrize(("expansion", "inside"), [(1.5, 24), (1.01, 16), (2.47, 40), (6, 96)])
def test_a_fractional_expansion_is_rounded_to_whole_channels(expansion: float, inside: int) -> None:
    nodes = walk_part(Stage("mbconv", 16, expansion=expansion), _IN, 10)
    assert nodes[0].shape.channels == inside


@pytest.mark.parametrize(
    ("operator", "expansion", "divisor", "inside"),
    # 36.8 is nearest to 40, 19.2 to 16, which is more than a tenth below it, and 6.4 to 8; see `round_channels`.
    [
        *[("mbconv", 2.3, 8, 40), ("mbconv", 2.3, 4, 36), ("inverted", 1.2, 8, 24), ("inverted", 1, 64, 64)],
        *[("fused", 2.3, 8, 40), ("bottleneck", 2.5, 8, 8), ("bottleneck", 2.5, 4, 8), ("bottleneck", 2.5, 3, 6)],
    ],
)
def test_the_channels_inside_are_a_multiple_of_the_divisor(
    operator: str, expansion: float, divisor: int, inside: int
) -> None:
    nodes = walk_part(Stage(operator, 16, expansion=expansion, divisor=divisor), _IN, 10)
    assert nodes[0].shape.channels == inside


@given(st.sampled_from(["efficientnet-b0", "mnasnet-a1", "mobilenetv1"]), st.integers(1, 12))
def test_only_the_classifier_depends_on_the_number_of_classes(name: str, classes: int) -> None:
    arch = preset(name).adapted(resolution=32, classes=classes)
    without = cost(attrs.evolve(arch, classes=classes + 1))
    width = arch.head.channels if isinstance(arch.head, ConvHead) else arch.stages[-1].channels
    assert without.macs - cost(arch).macs == width
    assert without.params - cost(arch).params == width + 1
