"""Tests of the inverse: choice indices are found exactly for the networks that a full list of the space contains."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.layers import stage_layers
from nas.arch.presets import preset
from nas.arch.spec import SKIPS, Architecture, Stage
from nas.space.decode import SearchSpace
from nas.space.files import find_space, space_names
from nas.space.inverse import Inverse
from nas.space.schema import read_space
from tests.strategies import architectures

_SPACES = {
    # Stages that may be absent, next to stages with the same layers: a network can be divided in several ways.
    "absent": """
        stem: conv k3 s2 c8
        head: pool dropout=0
        stages:
          - {operator: [absent, conv], kernel: 3, channels: [8, 16], layers: [1, 2, 3]}
          - {operator: [absent, conv, fused e1], kernel: 3, channels: [8, 16], layers: [1, 2]}
          - {operator: conv, kernel: [3, 5], channels: 16, layers: [1, 2]}
    """,
    # Channels of the stem, stages and head that are equal after rounding.
    "coinciding": """
        stem: {kind: conv, kernel: 3, channels: [8, 16]}
        head: {kind: conv, channels: {of: 32, times: [1, 1.01, 2]}}
        stages:
          - {operator: mbconv e3, kernel: 3, channels: {of: 16, times: [0.9, 1, 1.1, 1.5]}}
          - {operator: [mbconv e3, dsconv], kernel: 3, channels: {of: 24, times: [0.7, 1]}, layers: [1, 2]}
    """,
    # Identity skips where none is possible, and projections where an identity is possible.
    "skips": """
        stem: conv k3 s2 c8
        head: pool dropout=0
        stages:
          - {operator: basic, kernel: 3, stride: [1, 2], channels: 8, skip: [identity, none, projection, pool]}
          - {operator: basic, kernel: 3, stride: [1, 2], channels: [8, 16], skip: [identity, none, projection, pool]}
          - {operator: [absent, basic], kernel: 3, stride: 1, channels: 16, skip: [identity, none], layers: [1, 2]}
    """,
    # Gates whose input channels and gated channels are equal.
    "gates": """
        stem: conv k3 s2 c8
        head: pool dropout=0
        stages:
          - {operator: [conv, mbconv e1], channels: [8, 16], kernel: 3, se: [0, 0.25, "0.25:expanded"]}
          - {operator: [conv, mbconv e1, mbconv e2], channels: 16, kernel: 3, se: [0, 0.25, "0.25:expanded"]}
          - {operator: [absent, conv], channels: 16, kernel: 3, se: [0.25, "0.25:expanded"], layers: [1, 2]}
    """,
}
_NET = "channels=3 resolution=32 classes=10 padding=symmetric bn=0.01/0.001 drop_path=0 act=relu"
_ALTERED: Mapping[str, Any] = {"resolution": 33, "in_channels": 1, "classes": 11, "padding": "same", "drop_path": 0.5}


@cache
def space(name: str) -> SearchSpace:
    if name not in _SPACES:
        return find_space(name)
    return read_space({"net": _NET, **yaml.safe_load(_SPACES[name])}, f"{name}.yaml", name)


@cache
def inverse(name: str) -> Inverse:
    return Inverse(space(name))


@cache
def every_network(name: str) -> frozenset[Architecture]:
    return frozenset(canonical(space(name).from_indices(indices)) for indices in space(name).enumerate())


def check(name: str, arch: Architecture) -> None:
    indices = inverse(name).indices(arch)
    assert indices is not None
    assert len(indices) == len(space(name).all_choices)
    assert canonical(space(name).from_indices(indices)) == canonical(arch)


@pytest.mark.parametrize("name", [*_SPACES, "nasbench_macro"])
def test_every_network_of_a_space_is_found(name: str) -> None:
    for indices in space(name).enumerate():
        check(name, space(name).from_indices(indices))
    for arch in every_network(name):
        check(name, arch)


@st.composite
def from_shipped_spaces(draw: st.DrawFn) -> tuple[str, Architecture]:
    name = draw(st.sampled_from(space_names()))
    indices = tuple(draw(st.integers(0, len(choice.values) - 1)) for choice in space(name).all_choices)
    return name, space(name).from_indices(indices)


@given(from_shipped_spaces(), st.booleans())
@settings(deadline=None)
def test_networks_of_shipped_spaces_are_found(drawn: tuple[str, Architecture], cut: bool) -> None:
    name, arch = drawn
    layers = tuple(layer for stage in arch.stages for layer in stage_layers(stage))
    check(name, attrs.evolve(arch, stages=layers) if cut else arch)
    check(name, canonical(arch))


@st.composite
def recombined(draw: st.DrawFn) -> tuple[str, Architecture]:
    """Draw a network of stages of a space, in any order and number; one of them may be changed."""
    name = draw(st.sampled_from(sorted(_SPACES)))
    forms = [form for part in space(name).parts[1:-1] for form in part.forms if isinstance(form, Stage)]
    stages = draw(st.lists(st.sampled_from(forms), min_size=1, max_size=4))
    if draw(st.booleans()):
        kernel, layers, skip = draw(st.sampled_from([3, 5])), draw(st.integers(1, 3)), draw(st.sampled_from(SKIPS))
        stages[0] = attrs.evolve(stages[0], kernel=kernel, layers=layers, skip=skip)
    made = space(name).from_indices([len(choice.values) - 1 for choice in space(name).all_choices])
    return name, attrs.evolve(made, stages=tuple(stages))


@st.composite
def arbitrary(draw: st.DrawFn) -> tuple[str, Architecture]:
    """Draw a network of arbitrary stages with the stem, head and settings of a space."""
    name = draw(st.sampled_from(sorted(_SPACES)))
    made = space(name).from_indices([len(choice.values) - 1 for choice in space(name).all_choices])
    return name, attrs.evolve(made, stages=draw(architectures()).stages)


@given(recombined() | arbitrary())
@settings(max_examples=400, deadline=None)
def test_a_network_is_found_exactly_if_the_full_list_contains_it(drawn: tuple[str, Architecture]) -> None:
    name, arch = drawn
    if canonical(arch) in every_network(name):
        check(name, arch)
    else:
        assert inverse(name).indices(arch) is None


@pytest.mark.parametrize("name", _ALTERED)
def test_the_settings_of_a_network_must_be_those_of_the_space(name: str) -> None:
    arch = next(iter(sorted(every_network("absent"), key=repr)))
    check("absent", arch)
    assert inverse("absent").indices(attrs.evolve(arch, **{name: _ALTERED[name]})) is None


def test_the_stem_and_the_head_must_be_those_of_the_space() -> None:
    arch = space("coinciding").from_indices([0] * len(space("coinciding").all_choices))
    check("coinciding", arch)
    for end in ("stem", "head"):
        other = attrs.evolve(getattr(arch, end), channels=999)
        assert inverse("coinciding").indices(attrs.evolve(arch, **{end: other})) is None


def test_the_space_for_another_target_finds_networks_of_that_target() -> None:
    other = Inverse(space("absent").for_target(resolution=64, classes=3))
    arch = space("absent").from_indices([1] * len(space("absent").all_choices))
    assert other.indices(arch) is None
    assert other.indices(arch.adapted(resolution=64, classes=3)) == inverse("absent").indices(arch)


def test_only_networks_with_the_fixed_options_are_found() -> None:
    fixed = space("absent").fix({"stage3.kernel": 5})
    found = {arch for arch in every_network("absent") if Inverse(fixed).indices(arch)}
    assert found == {canonical(fixed.from_indices(indices)) for indices in fixed.enumerate()}
    assert len(found) < len(every_network("absent"))


@pytest.mark.parametrize("name", [*_SPACES, *space_names()])
def test_the_same_options_are_found_in_any_order_of_calls(name: str) -> None:
    archs = [space(name).from_indices(row) for row in space(name).sample(np.random.default_rng(0), 50).tolist()]
    again = Inverse(space(name))
    backwards = [again.indices(arch) for arch in reversed(archs)]
    assert [inverse(name).indices(arch) for arch in archs] == backwards[::-1]
    assert backwards == [Inverse(space(name)).indices(canonical(arch)) for arch in reversed(archs)]


def test_published_networks_are_found_in_the_spaces_that_contain_them() -> None:
    b0 = preset("efficientnet-b0")
    assert inverse("efficientnet").indices(b0) == space("efficientnet").nearest(b0)
    assert inverse("mnasnet").indices(preset("mnasnet-a1")) is None
