"""Tests of search spaces: choice indices, named options and architectures are converted into each other."""

import math
from itertools import product
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.presets import preset
from nas.arch.spec import SKIPS
from nas.errors import ArchitectureError, SpaceError
from nas.space.count import count_networks
from nas.space.decode import ENUMERABLE, Choice, SearchSpace, Value
from nas.space.files import find_space
from nas.space.schema import read_space

_SPACES = {name: find_space(name) for name in ("efficientnet", "mnasnet", "mobilenetv3", "nasbench_macro")}
_TINY: dict[str, Any] = {
    "net": "resolution=32 classes=10",
    "stem": {"channels": [8, 16], "kernel": 3},
    "head": {"kind": "conv", "channels": {"of": 32, "times": [1, 2]}, "dropout": 0.1},
    "stages": [
        {"name": "one", "operator": ["conv", "mbconv e6"], "channels": 16, "layers": {"of": 1, "plus": [-1, 0, 1]}},
        {"name": "two", "operator": ["absent", "dsconv k5"], "channels": 16, "kernel_": None},
    ],
}
del _TINY["stages"][1]["kernel_"]


@pytest.fixture
def tiny() -> SearchSpace:
    return read_space(_TINY, "tiny.yaml", "tiny")


@st.composite
def combinations(draw: st.DrawFn) -> tuple[SearchSpace, tuple[int, ...]]:
    space = _SPACES[draw(st.sampled_from(sorted(_SPACES)))]
    return space, tuple(draw(st.integers(0, len(choice.values) - 1)) for choice in space.all_choices)


@given(combinations())
@settings(deadline=None)
def test_choice_indices_and_named_options_are_inverses(drawn: tuple[SearchSpace, tuple[int, ...]]) -> None:
    space, indices = drawn
    params = space.params(indices)
    assert space.indices(params) == indices
    assert space.architecture(params) == space.from_indices(indices)
    assert set(params) == {choice.name for choice in space.choices}


@given(combinations())
@settings(deadline=None)
def test_named_options_are_read_from_text(drawn: tuple[SearchSpace, tuple[int, ...]]) -> None:
    space, indices = drawn
    assert space.indices({name: str(value) for name, value in space.params(indices).items()}) == indices


@given(combinations())
@settings(deadline=None)
def test_a_chooser_decodes_the_architecture_of_its_options(drawn: tuple[SearchSpace, tuple[int, ...]]) -> None:
    space, indices = drawn
    params = space.params(indices)
    asked: list[str] = []

    def choose(name: str, options: tuple[Value, ...]) -> Value:
        asked.append(name)
        assert params[name] in options
        return params[name]

    assert space.decode(choose) == space.architecture(params)
    assert asked == [choice.name for choice in space.choices]


@given(combinations())
@settings(deadline=None, max_examples=25)
def test_the_nearest_architecture_to_one_in_the_space_is_itself(drawn: tuple[SearchSpace, tuple[int, ...]]) -> None:
    space, indices = drawn
    arch = space.from_indices(indices)
    for form in (arch, canonical(arch)):  # with the stages of the space, and with equal stages joined
        assert canonical(space.from_indices(space.nearest(form))) == canonical(arch)


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(_SPACES)))
@settings(deadline=None, max_examples=30)
def test_samples_are_in_range_and_depend_on_the_seed(seed: int, name: str) -> None:
    space = _SPACES[name]
    drawn = space.sample(np.random.default_rng(seed), 50)
    assert drawn.shape == (50, len(space.all_choices))
    assert (drawn >= 0).all()
    assert (drawn < [len(choice.values) for choice in space.all_choices]).all()
    np.testing.assert_array_equal(drawn, space.sample(np.random.default_rng(seed), 50))


def test_sampling_reaches_every_option_about_equally() -> None:
    space = _SPACES["mnasnet"]
    drawn = space.sample(np.random.default_rng(0), 6000)
    for column, choice in zip(drawn.T, space.all_choices, strict=True):
        counts = np.bincount(column, minlength=len(choice.values))
        assert (abs(counts / 6000 - 1 / len(choice.values)) < 0.04).all()


@given(combinations())
@settings(deadline=None)
def test_forms_are_the_parts_that_choice_indices_make(drawn: tuple[SearchSpace, tuple[int, ...]]) -> None:
    space, indices = drawn
    arch = space.from_indices(indices)
    numbers = space.forms(np.array([indices], dtype=np.intp))[0]
    stem, *stages, head = (forms[i] for forms, i in zip(space.alternatives, numbers, strict=True))
    assert (stem, tuple(s for s in stages if s is not None), head) == (arch.stem, arch.stages, arch.head)


def test_every_combination_is_enumerated_once(tiny: SearchSpace) -> None:
    every = list(tiny.enumerate())
    assert len(every) == len(set(every)) == tiny.size == 2 * (2 * 3) * 2 * 2
    assert math.prod(len(choice.values) for choice in tiny.choices) == tiny.size


def test_the_networks_of_a_tiny_space_are_counted_as_in_a_full_list(tiny: SearchSpace) -> None:
    networks = {canonical(tiny.from_indices(indices)) for indices in tiny.enumerate()}
    # At least one layer remains, so two of the three depths are equal.
    assert len(networks) == count_networks(tiny) == 2 * (2 * 2) * 2 * 2


@given(st.lists(st.sampled_from([16, 24]), min_size=2, max_size=3), st.data())
@settings(deadline=None, max_examples=40)
def test_networks_are_counted_as_in_a_full_list(channels: list[int], data: st.DataObject) -> None:
    operators = st.lists(
        st.sampled_from(["absent", "conv", "mbconv", "mbconv e3", "fused", "basic"]),
        min_size=1,
        max_size=3,
        unique=True,
    )
    layers = st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True)
    skips = st.lists(st.sampled_from(SKIPS), min_size=1, max_size=2, unique=True)
    stages = [
        {"operator": data.draw(operators), "layers": data.draw(layers), "skip": data.draw(skips), "channels": n}
        for n in channels
    ]
    stages[0]["operator"] = ["conv", "mbconv"]
    space = read_space(_TINY | {"stages": stages}, "tiny.yaml", "tiny")
    assert count_networks(space) == len({canonical(space.from_indices(indices)) for indices in space.enumerate()})


@pytest.mark.parametrize("name", ["efficientnet", "mnasnet"])
def test_a_large_space_cannot_be_enumerated(name: str) -> None:
    assert _SPACES[name].size > ENUMERABLE
    with pytest.raises(SpaceError, match=f"{_SPACES[name].size:,}"):
        _SPACES[name].enumerate()


def test_a_fixed_choice_leaves_one_option(tiny: SearchSpace) -> None:
    fixed = tiny.fix({"one.operator": "mbconv e6", "stem.channels": 16})
    assert fixed.size == tiny.size // 4
    assert {choice.name for choice in fixed.choices} == {"one.layers", "two.operator", "head.channels"}
    every = {fixed.from_indices(indices) for indices in fixed.enumerate()}
    assert every == {
        arch
        for arch in (tiny.from_indices(indices) for indices in tiny.enumerate())
        if arch.stem.channels == 16 and arch.stages[0].operator == "mbconv"
    }
    assert tiny.size == 48


def test_fixing_a_choice_again_to_its_only_option_changes_nothing(tiny: SearchSpace) -> None:
    once = tiny.fix({"stem.channels": 16})
    assert once.fix({"stem.channels": "16"}).size == once.size
    with pytest.raises(SpaceError, match=r"stem\.channels cannot be 8"):
        once.fix({"stem.channels": 8})


def test_a_value_is_found_by_its_text_and_the_first_of_equal_texts_is_used() -> None:
    choice = Choice("kernel", (5, 3, "3", 5.0), ({}, {}, {}, {}))
    assert [choice.index(value) for value in (5, "5", 3, "3", 5.0, "5.0")] == [0, 0, 1, 1, 3, 3]


def test_fixed_choices_may_be_left_out_of_named_options(tiny: SearchSpace) -> None:
    fixed = tiny.fix({"stem.channels": 16})
    params = fixed.params(next(iter(fixed.enumerate())))
    assert "stem.channels" not in params
    assert fixed.architecture(params | {"stem.channels": 16}) == fixed.architecture(params)


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"one.colour": 3}, "'one.colour'"),
        ({"stem.channels": 12}, "stem.channels cannot be 12"),
        ({"one.operator": "conv k3"}, "one.operator cannot be 'conv k3'"),
        ({"stem.channels": None}, "stem.channels"),
    ],
)
def test_unknown_choices_and_options_are_rejected(tiny: SearchSpace, params: dict[str, Any], shown: str) -> None:
    for use in (tiny.fix, tiny.architecture):
        with pytest.raises(SpaceError) as caught:
            use(params)
        assert shown in caught.value.problem or "no option is given" in caught.value.problem
        assert caught.value.remedy


def test_an_open_choice_must_be_given(tiny: SearchSpace) -> None:
    params = tiny.params(next(iter(tiny.enumerate())))
    del params["one.layers"]
    with pytest.raises(SpaceError, match=r"one\.layers"):
        tiny.architecture(params)


def test_a_space_without_an_open_choice_is_rejected(tiny: SearchSpace) -> None:
    with pytest.raises(SpaceError, match="no choice"):
        tiny.fix(tiny.params(next(iter(tiny.enumerate()))))


def test_a_space_takes_the_resolution_and_the_classes_of_a_target(tiny: SearchSpace) -> None:
    arch = tiny.for_target(resolution=96, classes=7).from_indices([0] * len(tiny.all_choices))
    assert (arch.resolution, arch.classes) == (96, 7)
    assert arch == tiny.from_indices([0] * len(tiny.all_choices)).adapted(resolution=96, classes=7)
    assert tiny.for_target().net == tiny.net


def test_the_nearest_architecture_has_the_closest_channels(tiny: SearchSpace) -> None:
    wanted = attrs.evolve(
        tiny.from_indices([1, 1, 2, 1, 1]), stem=attrs.evolve(tiny.from_indices([1, 1, 2, 1, 1]).stem, channels=15)
    )
    assert tiny.nearest(wanted) == (1, 1, 2, 1, 1)


def test_an_architecture_with_too_many_layers_has_no_nearest(tiny: SearchSpace) -> None:
    with pytest.raises(ArchitectureError, match="16 layers in 7 stages cannot be dealt out to the 2 stages"):
        tiny.nearest(preset("efficientnet-b0"))


def test_choice_indices_in_any_kind_of_sequence_make_the_same_architecture(tiny: SearchSpace) -> None:
    for indices in product(range(2), range(2), range(3), range(2), range(2)):
        assert tiny.from_indices(np.array(indices)) == tiny.from_indices(list(indices)) == tiny.from_indices(indices)
