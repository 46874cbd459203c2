"""Tests of search spaces whose resolution is a choice: decoding, counting, costs and tables follow it."""

import pickle
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.proxy import proxy_resolution
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, size
from nas.cost.base import ChainCostModel
from nas.cost.layers import distinct_layers, fragment_layers
from nas.cost.table_plan import sample_networks
from nas.errors import SpaceError
from nas.evaluate.supernet.places import space_digest
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.models.build import build_model
from nas.samplers.base import distributions
from nas.samplers.cost_range import space_chain
from nas.samplers.encoding import Encoder
from nas.space.count import count_networks
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.space.inverse import Inverse
from nas.space.schema import read_space
from tests.cost.test_latency_table import table_of_all

TINY: dict[str, Any] = {
    "net": "classes=10 padding=same",
    "resolution": [20, 33, 12],
    "stem": {"channels": [8, 16], "kernel": 3},
    "head": "conv c16",
    "stages": [
        {"operator": ["conv", "mbconv e3"], "se": [0, 0.25], "channels": [8, 16], "stride": 2, "layers": [1, 2]},
        {"name": "input", "operator": ["absent", "dsconv"], "channels": 16, "layers": [1, 3]},
    ],
}
MODELS: Mapping[str, ChainCostModel] = {**COUNTED, "size": size("int8"), "latency": table_of_all(10, "same")}


def tiny(**changes: Any) -> SearchSpace:
    return read_space(TINY | changes, "tiny.yaml", "tiny")


def fixed(resolution: int) -> SearchSpace:
    """Return the same space with one resolution, which is a setting of its networks."""
    own = {key: value for key, value in TINY.items() if key != "resolution"}
    return read_space(own | {"net": f"{TINY['net']} resolution={resolution}"}, "tiny.yaml", "tiny")


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    sizes = draw(st.lists(st.integers(1, 70), min_size=1, max_size=4, unique=True))
    return tiny(resolution=sizes)


def test_the_resolution_is_a_choice_like_any_other() -> None:
    space = tiny()
    assert space.choices[0].name == "resolution"
    assert space.size == 3 * fixed(20).size
    assert (space.resolutions, space.net["resolution"], space.full_resolution) == ((12, 20, 33), 33, 33)
    assert distributions(space)["resolution"].choices == (20, 33, 12)  # type: ignore[attr-defined]
    indices = (1, *(0 for _ in space.all_choices[1:]))
    assert space.params(indices)["resolution"] == 33
    assert space.indices(space.params(indices)) == indices
    assert space.from_indices(indices).resolution == space.architecture(space.params(indices)).resolution == 33
    sent = pickle.loads(pickle.dumps(space))  # noqa: S301 -- the bytes are made here
    assert sent.from_indices(indices) == space.from_indices(indices)


def test_the_networks_of_each_resolution_are_those_of_a_space_with_this_resolution() -> None:
    space = tiny()
    for option, resolution in enumerate(TINY["resolution"]):
        alone = fixed(resolution)
        for indices in alone.enumerate():
            assert space.from_indices((option, *indices)) == alone.from_indices(indices)


def test_every_network_is_counted_and_found_again() -> None:
    space = tiny()
    inverse, networks = Inverse(space), set()
    for indices in space.enumerate():
        network = canonical(space.from_indices(indices))
        networks.add(network)
        found = inverse.indices(network)
        assert found is not None
        assert canonical(space.from_indices(found)) == network
        assert canonical(space.from_indices(space.nearest(network))) == network
    assert count_networks(space) == len(networks) == 3 * count_networks(fixed(20))
    stranger = attrs.evolve(network, resolution=21)
    assert inverse.indices(stranger) is None
    assert space.from_indices(space.nearest(stranger)).resolution == 20
    assert inverse.indices(attrs.evolve(network, padding="symmetric")) is None


def test_a_resolution_can_be_fixed_to_an_option_or_to_any_number() -> None:
    space = tiny()
    one = space.fix({"resolution": "20"})
    assert one.size == fixed(20).size
    # The proxy images of a network stay the same, so that its accuracy does not depend on what is fixed.
    assert (one.resolutions, one.full_resolution) == ((20,), 33)
    other = space.for_target(resolution=77)
    assert [part.name for part in other.parts] == [part.name for part in fixed(20).parts]
    assert (other.resolutions, other.full_resolution, other.net["resolution"]) == ((77,), None, 77)
    assert space.for_target(classes=3).resolutions == space.resolutions
    with pytest.raises(SpaceError, match="has no choice 'resolution'"):
        other.fix({"resolution": "20"})


@pytest.mark.parametrize("resolution", [20, [20]])
def test_a_single_resolution_makes_the_networks_of_that_resolution(resolution: object) -> None:
    space, usual = tiny(resolution=resolution), fixed(20)
    assert space.choices[0].name == usual.choices[0].name
    assert {space.from_indices(i) for i in space.enumerate()} == {usual.from_indices(i) for i in usual.enumerate()}


@given(spaces(), st.data())
@settings(deadline=None, max_examples=25)
def test_the_costs_of_many_networks_are_those_of_each(space: SearchSpace, data: st.DataObject) -> None:
    chain = space_chain(space)
    indices = space.sample(np.random.default_rng(data.draw(st.integers(0, 99))), 20)
    for model in MODELS.values():
        each = [model.estimate(space.from_indices(row)).value for row in indices.tolist()]
        np.testing.assert_allclose(model.many(chain, space.forms(indices)), each, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_cost_range_is_that_of_a_full_list(name: str) -> None:
    space, model = tiny(), MODELS[name]
    costs = [model.estimate(space.from_indices(indices)).value for indices in space.enumerate()]
    assert model.span(space_chain(space)) == pytest.approx((min(costs), max(costs)), rel=1e-12)


def test_a_latency_table_has_the_layers_of_every_resolution() -> None:
    space = tiny()
    networks = [whole(space.from_indices(indices)) for indices in space.enumerate()]
    wanted = {layer for network in networks for layer in fragment_layers(network)}
    assert set(distinct_layers(space_chain(space))) == wanted
    drawn = sample_networks(space_chain(space), "same", 40, seed=0)
    assert {network.shape.height for network in drawn} == {12, 20, 33}
    assert {network.shape for network in drawn} <= {network.shape for network in networks}


def test_the_torch_module_and_the_onnx_graph_have_the_chosen_resolution() -> None:
    for option, side in enumerate(TINY["resolution"]):
        arch = tiny().from_indices((option, *(0 for _ in tiny().all_choices[1:])))
        assert build_model(arch)(torch.zeros(2, 3, side, side)).shape == (2, 10)
        assert [d.dim_value for d in build_graph(whole(arch)).graph.input[0].type.tensor_type.shape.dim][2:] == [
            side
        ] * 2


def test_networks_of_two_resolutions_have_different_encodings() -> None:
    space = tiny()
    codes = Encoder(space, {}).encode(np.array([(option, *[0] * 7) for option in range(3)], dtype=np.intp))
    assert len(np.unique(codes.values, axis=0)) == 3


def test_a_space_for_images_has_the_same_choices_with_their_resolutions() -> None:
    space = tiny().for_images(resolution=16, classes=4)
    assert [choice.values for choice in space.choices] == [choice.values for choice in tiny().choices]
    # 16 * 12 / 33 = 5.8, 16 * 20 / 33 = 9.7
    assert space.resolutions == (6, 10, 16)
    assert space.net["classes"] == 4


def test_images_are_smaller_in_proportion_and_have_at_least_4_pixels() -> None:
    assert [proxy_resolution(32, side, 224) for side in (224, 192, 160, 128, 8)] == [32, 27, 23, 18, 4]
    assert proxy_resolution(32, 448, 224) == 64  # a network that is larger than those of the space
    assert proxy_resolution(32, 8, None) == 32
    assert proxy_resolution(2, 8, 224) == 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "0 options are given"),
        ([32, 32], "given twice"),
        ([32, 0], "input resolution is 0"),
        ([32, 48.5], "input resolution is 48.5"),
        ([32, -1], "input resolution is -1"),
        ([32, 100_001], "from 1 to 100,000"),
        (["32"], "input resolution is '32'"),
        ([True], "option True is not allowed"),
        ([[32]], "is not allowed"),
        (None, "option None is not allowed"),
        ({"of": 32, "times": [1, 2]}, "is not a number or a list"),
        ("large", "input resolution is 'large'"),
    ],
)
def test_a_wrong_resolution_is_named(value: object, words: str) -> None:
    with pytest.raises(SpaceError, match=r"^tiny.yaml: resolution: ") as caught:
        tiny(resolution=value)
    assert words in str(caught.value)
    assert caught.value.remedy


def test_a_resolution_is_given_once() -> None:
    with pytest.raises(SpaceError, match="resolution is given by two keys"):
        tiny(net="resolution=32")


# Digests that version 0.1 gave: studies and supernets of it are found again by them.
DIGESTS = {
    "efficientnet": "09dc09b0ed23",
    "mnasnet": "3f8cd331b162",
    "mobilenetv3": "dd7c5f23efe6",
    "nasbench_macro": "2c51e98d3a4c",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_a_space_without_this_choice_is_as_before(name: str) -> None:
    space = find_space(name)
    assert (space.parts[0].name, space.full_resolution, space.resolutions) == ("stem", None, (space.net["resolution"],))
    assert space_digest(space) == DIGESTS[name]
    arch: Architecture = space.from_indices([0] * len(space.all_choices))
    assert space.net_of(arch) == space.net
