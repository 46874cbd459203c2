"""Tests of the layers of a space against a walk of each architecture, and of the fragments that time a layer."""

from collections.abc import Iterable

import attrs
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.layers import Node, Shape, walk, walk_part
from nas.arch.spec import (
    EXPANDING_OPERATORS,
    OPERATORS,
    PADDINGS,
    SKIPS,
    Architecture,
    ConvHead,
    ConvStem,
    Gate,
    Head,
    MaxPoolStem,
    MlpHead,
    Part,
    PoolHead,
    Stage,
    Stem,
)
from nas.cost.base import Chain
from nas.cost.correction import KINDS, layer_kind
from nas.cost.layers import (
    CONTEXT_CHANNELS,
    Layer,
    context_pair,
    distinct_layers,
    input_context_shape,
    layer_in_context,
    out_shape,
    output_context_shape,
)
from nas.graph.build import build_graph
from nas.graph.fragment import Fragment
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from tests.contracts.cost_model import chains, members
from tests.cost.small_space import chain_of, listed, small_space
from tests.strategies import heads, stages, stems

Work = tuple[Shape, tuple[Node, ...]]


def walked(archs: Iterable[Architecture]) -> set[Work]:
    """Return the input shape and the nodes of each layer of each architecture."""
    return {(placed.shape, placed.nodes) for arch in archs for placed in walk(arch)}


def work_of(layers: Iterable[Layer], classes: int) -> list[Work]:
    return [(layer.shape, walk_part(layer.part, layer.shape, classes)) for layer in layers]


@pytest.mark.parametrize("space", [small_space(), find_space("nasbench_macro")], ids=lambda space: space.name)
def test_the_layers_of_a_space_are_those_of_all_its_architectures_without_repetition(space: SearchSpace) -> None:
    chain = chain_of(space)
    found = work_of(distinct_layers(chain), chain.classes)
    assert set(found) == walked(listed(space))
    assert len(found) == len(set(found))


@given(chains())
@settings(max_examples=20)
def test_the_layers_of_a_chain_are_those_of_all_its_architectures(chain: Chain) -> None:
    layers = distinct_layers(chain)
    assert set(work_of(layers, chain.classes)) == walked(arch for _, arch in members(chain))
    assert len(set(layers)) == len(layers)


def test_mnasnet_has_2452_layers() -> None:
    assert len(distinct_layers(chain_of(find_space("mnasnet")))) == 2452


def part_of_each_kind() -> list[Part]:
    made: list[Part] = [ConvStem(12), ConvStem(12, 7, 1, "silu"), PoolHead(0.1), ConvHead(20, 0.2, "hard_swish")]
    made += [MaxPoolStem(12), MlpHead(20, 24, 0.2, "hard_swish")]
    for i, (operator, skip) in enumerate((operator, skip) for operator in OPERATORS for skip in SKIPS):
        expansion = 1.5 if operator in EXPANDING_OPERATORS else 1
        for channels, stride in ((6, 1), (9, 2)):
            gate = Gate(0.25) if i % 3 else None
            made.append(Stage(operator, channels, 1, 5, stride, expansion, gate, skip, "relu6"))
    return made


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side", [1, 2, 7])
def test_every_kind_of_layer_and_its_context_build_valid_graphs(side: int, padding: str) -> None:
    for part in part_of_each_kind():
        layer = Layer(part, Shape(6, side, side))
        ends = [shape for shape in (input_context_shape(layer), output_context_shape(layer, 10)) if shape is not None]
        for fragment in (layer_in_context(layer, 10, padding), *(context_pair(shape, padding) for shape in ends)):
            onnx.checker.check_model(build_graph(fragment), full_check=True)


def test_every_layer_has_a_kind_with_a_factor() -> None:
    assert {layer_kind(part) for part in part_of_each_kind()} == set(KINDS)
    assert [layer_kind(Stage(operator, 8)) for operator in ("basic", "bottleneck")] == ["dense", "dense"]


def single_layers() -> st.SearchStrategy[Stage]:
    return stages().map(lambda stage: attrs.evolve(stage, layers=1))


@given(single_layers() | stems() | heads(), st.integers(1, 12), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=40)
def test_the_shapes_of_a_layer_in_its_context(part: Part, channels: int, height: int, width: int) -> None:
    layer = Layer(part, Shape(channels, height, width))
    built = layer_in_context(layer, 7, "symmetric")
    placed = [each for each in built.walk() if each.part == part]
    assert layer.shape in [each.shape for each in placed]
    assert built.shape == (layer.shape if isinstance(part, Stem) else Shape(CONTEXT_CHANNELS, height, width))
    last = built.walk()[-1].nodes[-1].shape
    assert last.channels == (7 if isinstance(part, Head) else CONTEXT_CHANNELS)


@given(st.integers(1, 12), st.integers(1, 9))
def test_the_shapes_of_a_context_pair(channels: int, side: int) -> None:
    meeting = Shape(channels, side, side)
    first, second = context_pair(meeting, "symmetric").walk()
    assert first.nodes[-1].shape == second.shape == meeting
    assert first.shape == second.nodes[-1].shape == Shape(CONTEXT_CHANNELS, side, side)


@given(single_layers(), st.integers(1, 12))
def test_the_context_after_a_layer_reads_its_output_shape(stage: Stage, channels: int) -> None:
    layer = Layer(stage, Shape(channels, 9, 9))
    assert (
        output_context_shape(layer, 10)
        == out_shape(layer, 10)
        == Fragment((stage,), layer.shape).walk()[-1].nodes[-1].shape
    )


def test_a_stem_has_no_context_before_it_and_a_head_none_after_it() -> None:
    arch = listed(small_space())[0]
    stem, head = Layer(arch.stem, Shape(3, 32, 32)), Layer(arch.head, Shape(16, 8, 8))
    assert (input_context_shape(stem), output_context_shape(head, 10)) == (None, None)
    assert layer_in_context(stem, 10, "symmetric").parts[0] == arch.stem
    assert layer_in_context(head, 10, "symmetric").parts[-1] == arch.head
