"""Tests of the canonical form: equal for all encodings of one network, and different for different networks."""

from typing import Any

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.code import format_text, parse_text
from nas.arch.layers import Node, walk
from nas.arch.presets import preset, preset_names
from nas.arch.spec import SKIPS, Architecture, ConvStem, Gate, MaxPoolStem, PoolHead, Stage
from nas.cost.analytic import cost
from tests.strategies import architectures

# The fields of an architecture that its nodes do not contain.
_NET_FIELDS = ("resolution", "in_channels", "classes", "padding", "norm", "drop_path")


def network(arch: Architecture) -> tuple[Any, ...]:
    """Return the operations and settings of a network, which do not depend on how its stages are written."""
    parts: list[tuple[Node, ...]] = [placed.nodes for placed in walk(arch)]
    return (*(getattr(arch, name) for name in _NET_FIELDS), *parts)


def with_stages(arch: Architecture, *stages: Stage) -> Architecture:
    return attrs.evolve(arch, stages=stages)


def tiny(*stages: Stage, channels: int = 8) -> Architecture:
    return Architecture(ConvStem(channels), stages, PoolHead(), resolution=32, classes=10)


@given(architectures())
@settings(deadline=None, max_examples=100)
def test_the_canonical_form_is_the_same_network_at_the_same_cost(arch: Architecture) -> None:
    form = canonical(arch)
    assert network(form) == network(arch)
    assert cost(form) == cost(arch)
    assert canonical(form) == form
    assert canonical(parse_text(format_text(form))) == form


@given(architectures(), st.data())
@settings(deadline=None, max_examples=100)
def test_a_split_stage_is_the_same_network(arch: Architecture, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(arch.stages) - 1))
    stage = arch.stages[at]
    assume(stage.layers > 1)
    cut = data.draw(st.integers(1, stage.layers - 1))
    first = attrs.evolve(stage, layers=cut)
    rest = attrs.evolve(stage, layers=stage.layers - cut, stride=1)
    split = with_stages(arch, *arch.stages[:at], first, rest, *arch.stages[at + 1 :])
    assert split != arch
    assert canonical(split) == canonical(arch)


@given(architectures(), st.sampled_from([1, 3, 5]))
@settings(deadline=None)
def test_a_fused_block_that_does_not_expand_is_a_convolution(arch: Architecture, kernel: int) -> None:
    stages = [attrs.evolve(s, operator="fused", expansion=1, kernel=kernel, divisor=1) for s in arch.stages]
    plain = [attrs.evolve(s, operator="conv") for s in stages]
    assert canonical(with_stages(arch, *stages)) == canonical(with_stages(arch, *plain))


@given(architectures())
@settings(deadline=None)
def test_an_inverted_block_that_expands_is_an_mbconv(arch: Architecture) -> None:
    stages = [attrs.evolve(s, operator="inverted") for s in arch.stages]
    other = [attrs.evolve(s, operator="inverted" if s.expansion == 1 else "mbconv") for s in stages]
    assert canonical(with_stages(arch, *stages)) == canonical(with_stages(arch, *other))


def test_an_inverted_block_that_does_not_expand_is_not_an_mbconv() -> None:
    assert canonical(tiny(Stage("inverted", 8))) == tiny(Stage("inverted", 8)) != canonical(tiny(Stage("mbconv", 8)))


def test_a_divisor_is_left_out_where_it_changes_nothing() -> None:
    # The stem has 8 channels: 2.3 times 8 is 18, and 16 as a multiple of 8; 2 times 8 is a multiple of 8.
    changing = tiny(Stage("mbconv", 8, expansion=2.3, divisor=8))
    assert canonical(changing) == changing
    assert canonical(tiny(Stage("mbconv", 8, expansion=2, divisor=8))) == tiny(Stage("mbconv", 8, expansion=2))
    assert canonical(tiny(Stage("fused", 8, divisor=8))) == tiny(Stage("conv", 8))
    # Inside the first layer are 16 channels with and without the divisor, inside the second 38 or 40.
    mixed = tiny(Stage("bottleneck", 8), Stage("mbconv", 19, layers=2, expansion=2, divisor=8))
    assert canonical(mixed).stages[1:] == (
        Stage("mbconv", 19, expansion=2),
        Stage("mbconv", 19, expansion=2, divisor=8),
    )


@given(architectures())
@settings(deadline=None)
def test_no_skip_equals_an_identity_skip_where_none_is_possible(arch: Architecture) -> None:
    channels, stages = arch.stem.channels, []
    for stage in arch.stages:
        possible = stage.stride == 1 and stage.channels == channels
        other = {"identity": "none", "none": "identity"}.get(stage.skip, stage.skip)
        stages.append(attrs.evolve(stage, layers=1, skip=stage.skip if possible else other))
        channels = stage.channels
    single = with_stages(arch, *(attrs.evolve(stage, layers=1) for stage in arch.stages))
    assert canonical(with_stages(arch, *stages)) == canonical(single)


@pytest.mark.parametrize(
    "stage",
    [
        Stage("dsconv", 24, gate=Gate(0.25)),
        Stage("mbconv", 24, gate=Gate(0.25)),
        Stage("conv", 8, gate=Gate(0.25)),
        Stage("mbconv", 24, expansion=1.01, gate=Gate(0.25)),
    ],
)
def test_a_gate_refers_to_the_input_channels_where_both_widths_are_equal(stage: Stage) -> None:
    gate = Gate(0.25, of="expanded")
    assert canonical(tiny(attrs.evolve(stage, gate=gate))) == canonical(tiny(stage)) == tiny(stage)


def test_consecutive_equal_layers_become_one_stage() -> None:
    first, more = Stage("mbconv", 16, stride=2, expansion=6), Stage("mbconv", 16, expansion=6)
    together = tiny(Stage("mbconv", 16, layers=4, stride=2, expansion=6))
    assert canonical(tiny(first, more, attrs.evolve(more, layers=2))) == together
    assert canonical(tiny(attrs.evolve(first, layers=3), more)) == together


def test_a_first_layer_that_cannot_skip_is_joined_with_layers_without_skip() -> None:
    first, without_skip = Stage("conv", 16, stride=2), Stage("conv", 16, skip="none")
    assert canonical(tiny(first, without_skip)) == tiny(Stage("conv", 16, layers=2, stride=2, skip="none"))
    assert canonical(tiny(first, without_skip, Stage("conv", 16))) == tiny(
        Stage("conv", 16, layers=2, stride=2, skip="none"), Stage("conv", 16)
    )


@given(architectures())
@settings(deadline=None)
def test_a_projection_equals_an_identity_skip_where_one_is_possible(arch: Architecture) -> None:
    stages = [attrs.evolve(stage, skip="projection") for stage in arch.stages]
    written, channels = [], arch.stem.channels
    for stage in stages:  # each layer on its own, with one of the two equal skips
        possible = stage.stride == 1 and stage.channels == channels
        written.append(attrs.evolve(stage, layers=1, skip="identity" if possible else "projection"))
        written += [attrs.evolve(stage, layers=1, stride=1, skip="identity")] * (stage.layers - 1)
        channels = stage.channels
    assert canonical(with_stages(arch, *written)) == canonical(with_stages(arch, *stages))


def test_a_stage_that_projects_in_its_first_layer_holds_all_its_layers() -> None:
    first, more = Stage("basic", 16, stride=2, skip="projection"), Stage("basic", 16)
    together = tiny(attrs.evolve(first, layers=3))
    assert canonical(tiny(first, more, attrs.evolve(more, skip="projection"))) == canonical(together) == together
    assert canonical(tiny(first, more, more)) == together
    apart = tiny(first, attrs.evolve(more, skip="none"), more)
    assert canonical(apart) == apart
    assert canonical(tiny(Stage("basic", 8, layers=2, skip="projection"))) == tiny(Stage("basic", 8, layers=2))


@given(st.lists(st.sampled_from(SKIPS), min_size=1, max_size=5), st.sampled_from([1, 2]))
@settings(deadline=None)
def test_joining_layers_that_differ_only_in_their_skip_keeps_the_network(skips: list[str], stride: int) -> None:
    first, *rest = (Stage("conv", 16, skip=skip) for skip in skips)
    arch = tiny(attrs.evolve(first, stride=stride), *rest)
    assert network(canonical(arch)) == network(arch)
    assert canonical(canonical(arch)) == canonical(arch)


_BASE = tiny(Stage("mbconv", 8, layers=2, expansion=6, gate=Gate(0.25)), Stage("mbconv", 16, stride=2, expansion=3))


@pytest.mark.parametrize(
    ("at", "change"),
    [
        (0, {"operator": "fused"}),
        (0, {"layers": 1}),
        (0, {"layers": 3}),
        (0, {"kernel": 5}),
        (0, {"stride": 2}),
        (0, {"expansion": 3}),
        (0, {"expansion": 1}),
        (0, {"channels": 16}),
        (0, {"gate": None}),
        (0, {"gate": Gate(0.5)}),
        (0, {"gate": Gate(0.25, "expanded")}),
        (0, {"gate": Gate(0.25, activation="silu")}),
        (0, {"gate": Gate(0.25, gate="hard_sigmoid")}),
        (0, {"gate": Gate(0.25, divisor=8)}),
        (0, {"skip": "none"}),
        (0, {"skip": "pool"}),
        (0, {"activation": "silu"}),
        (0, {"operator": "bottleneck"}),
        (1, {"skip": "pool"}),
        (1, {"skip": "projection"}),
        (1, {"operator": "fused"}),
    ],
)
def test_another_stage_gives_another_canonical_form(at: int, change: dict[str, Any]) -> None:
    stages = [attrs.evolve(stage, **change) if i == at else stage for i, stage in enumerate(_BASE.stages)]
    assert canonical(with_stages(_BASE, *stages)) != canonical(_BASE)


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 64},
        {"classes": 11},
        {"in_channels": 1},
        {"padding": "same"},
        {"drop_path": 0.1},
        {"head": PoolHead(0.1)},
        {"stem": ConvStem(8, kernel=5)},
        {"stem": MaxPoolStem(8, kernel=3)},
    ],
)
def test_other_settings_stems_or_heads_give_another_canonical_form(change: dict[str, Any]) -> None:
    assert canonical(attrs.evolve(_BASE, **change)) != canonical(_BASE)


@given(architectures(), architectures())
@settings(deadline=None)
def test_equal_canonical_forms_are_equal_networks(a: Architecture, b: Architecture) -> None:
    b = attrs.evolve(b, **{name: getattr(a, name) for name in ("stem", "head", *_NET_FIELDS)})
    assert (canonical(a) == canonical(b)) <= (network(a) == network(b))


@pytest.mark.parametrize("name", preset_names())
def test_published_networks_have_different_canonical_forms(name: str) -> None:
    others = {canonical(preset(other)) for other in preset_names() if other != name}
    assert canonical(preset(name)) not in others
