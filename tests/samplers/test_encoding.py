"""Codes of architectures: equal where the networks are, and figures that are their costs."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.layers import stage_layers
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, cost
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Codes, Encoder
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from tests.search.fakes import all_indices, make_space

NAMES = ("nasbench_macro", "mnasnet", "mobilenetv3", "efficientnet")
SPACES = {name: find_space(name) for name in NAMES} | {"tiny": make_space()}
ENCODERS = {name: Encoder(space, COUNTED) for name, space in SPACES.items()}
every_space = pytest.mark.parametrize("name", ENCODERS)


def archs_of(space: SearchSpace, indices: ChoiceIndices) -> list[Architecture]:
    return [canonical(space.from_indices(row.tolist())) for row in indices]


def fields_of(encoder: Encoder) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Masks of each field's columns: what a place and a name have in common."""
    first = encoder.groups[0]
    places = [mask for i, mask in enumerate(encoder.groups) if not any((mask & m).any() for m in encoder.groups[:i])]
    names = encoder.groups[len(places) :]
    assert sum(places, np.zeros(len(first), int)).tolist() == [1] * len(first)
    assert sum(names, np.zeros(len(first), int)).tolist() == [1] * len(first)
    yield from (place & name for place in places for name in names if (place & name).any())


def equal_where_networks_are(encoder: Encoder, indices: ChoiceIndices) -> None:
    """One code for one network, and one network for one code."""
    codes = [row.tobytes() for row in encoder.encode(indices).values]
    archs = archs_of(encoder.space, indices)
    assert len(set(codes)) == len(set(archs)) == len(set(zip(codes, archs, strict=True)))


def test_all_of_nasbench_macro_has_as_many_codes_as_networks() -> None:
    encoder = ENCODERS["nasbench_macro"]
    indices = all_indices(encoder.space)
    assert len(indices) == 6561
    equal_where_networks_are(encoder, indices)
    assert len(np.unique(encoder.encode(indices).values, axis=0)) == 3969


def test_all_of_a_small_space_has_as_many_codes_as_networks() -> None:
    equal_where_networks_are(ENCODERS["tiny"], all_indices(SPACES["tiny"]))


def near(space: SearchSpace, seed: int) -> ChoiceIndices:
    """Random picks, each with some that differ in up to two choices."""
    rng = np.random.default_rng(seed)
    indices = space.sample(rng, 60).repeat(5, axis=0)
    for row in indices:
        at = rng.integers(indices.shape[1], size=rng.integers(3))
        row[at] = space.sample(rng, 1)[0][at]
    return indices


@every_space
def test_codes_are_equal_exactly_where_networks_are(name: str) -> None:
    for seed in range(3):
        equal_where_networks_are(ENCODERS[name], near(SPACES[name], seed))


@every_space
def test_absent_layers_count_alike_wherever_in_their_run_they_are(name: str) -> None:
    """Layers of one run that may be left out, their options exchanged."""
    encoder, space = ENCODERS[name], SPACES[name]
    names = [choice.name for choice in space.all_choices]
    absent = [part.name for part in space.parts if None in part.forms]
    indices = space.sample(np.random.default_rng(3), 40)
    for here, there in pairwise(absent):
        if int(there[-1]) != int(here[-1]) + 1:
            continue
        swapped = indices.copy()
        for at, own in enumerate(names):
            if own.startswith(f"{here}."):
                other = names.index(own.replace(here, there))
                swapped[:, [at, other]] = swapped[:, [other, at]]
        equal_where_networks_are(encoder, np.concatenate([indices, swapped]))


@every_space
def test_each_field_has_exactly_one_1(name: str) -> None:
    encoder = ENCODERS[name]
    values = encoder.encode(SPACES[name].sample(np.random.default_rng(1), 50)).values
    assert set(np.unique(values)) <= {0.0, 1.0}
    fields = list(fields_of(encoder))
    assert len(fields) == encoder.fields
    for mask in fields:
        assert mask.sum() >= 2
        assert (values[:, mask].sum(axis=1) == 1).all()


@every_space
def test_figures_are_depth_and_logarithms_of_costs(name: str) -> None:
    space = SPACES[name]
    indices = space.sample(np.random.default_rng(2), 40)
    archs = [space.from_indices(row.tolist()) for row in indices]
    counted = [cost(arch) for arch in archs]
    depth = [sum(len(list(stage_layers(stage))) for stage in arch.stages) for arch in archs]
    logs = [[np.log(c.macs), np.log(c.params), np.log(4 * c.peak_elements)] for c in counted]
    figures = ENCODERS[name].encode(indices).figures
    assert figures[:, 0].tolist() == depth
    assert figures[:, 1:] == pytest.approx(np.array(logs), rel=1e-12)
    assert list(COUNTED) == ["macs", "params", "peak_bytes"]


@given(seed=st.integers(0, 1000), name=st.sampled_from(list(SPACES)), count=st.integers(0, 6))
def test_each_is_encoded_by_itself(seed: int, name: str, count: int) -> None:
    encoder = ENCODERS[name]
    indices = SPACES[name].sample(np.random.default_rng(seed), count)
    before = indices.copy()
    codes = encoder.encode(indices)
    assert (indices == before).all()
    assert codes.values.shape[0] == codes.figures.shape[0] == count
    for i in range(count):
        alone = encoder.encode(indices[i : i + 1])
        assert (alone.values == codes.values[i]).all()
        assert (alone.figures == codes.figures[i]).all()


def test_codes_are_taken_apart_and_put_together() -> None:
    encoder = ENCODERS["tiny"]
    codes = encoder.encode(SPACES["tiny"].sample(np.random.default_rng(0), 7))
    first, rest = codes[:3], codes[np.arange(3, 7)]
    again: Codes = first + rest
    assert (again.values == codes.values).all()
    assert (again.figures == codes.figures).all()


def test_a_space_without_costs_has_its_depth_alone() -> None:
    encoder = Encoder(SPACES["tiny"], {})
    assert encoder.encode(SPACES["tiny"].sample(np.random.default_rng(0), 4)).figures.shape == (4, 1)
