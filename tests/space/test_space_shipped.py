"""Tests of the shipped spaces against the papers and against the published counts of NAS-Bench-Macro."""

import os
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow.parquet as pq
import pytest

from nas.arch.canonical import canonical
from nas.arch.layers import Shape
from nas.arch.presets import preset
from nas.arch.spec import Stage
from nas.cost.analytic import COUNTED, chain_costs, cost
from nas.cost.base import Chain
from nas.errors import SpaceError
from nas.space.count import count_networks
from nas.space.decode import SearchSpace
from nas.space.files import find_space, space_names

# Channels of each stage after rounding to multiples of 8.
_MNASNET_CHANNELS = [
    {16, 24}, {24, 32}, {24, 32, 40}, {48, 64, 80}, {72, 96, 120}, {120, 160, 200}, {240, 320, 400}
]  # fmt: skip

_MNASNET_LAYERS = [{1, 2}, {1, 2, 3}, {2, 3, 4}, {3, 4, 5}, {2, 3, 4}, {2, 3, 4}, {1, 2}]


@pytest.fixture(scope="module")
def macro() -> SearchSpace:
    return find_space("nasbench_macro")


@pytest.fixture(scope="module")
def mnasnet() -> SearchSpace:
    return find_space("mnasnet")


@pytest.fixture(scope="module")
def table() -> dict[str, list[Any]]:
    folder = os.environ.get("NAS_TEST_DATA")
    if not folder:
        pytest.skip("NAS_TEST_DATA does not name the folder with nasbench_macro.parquet")
    columns = ["arch", "flops", "params"]
    found: dict[str, list[Any]] = pq.read_table(Path(folder) / "nasbench_macro.parquet", columns=columns).to_pydict()
    return found


def chain_of(space: SearchSpace) -> Chain:
    side = space.net["resolution"]
    return Chain(Shape(space.net["in_channels"], side, side), space.net["classes"], space.alternatives)


def test_four_spaces_are_shipped_and_load_by_their_names() -> None:
    assert space_names() == ("efficientnet", "mnasnet", "mobilenetv3", "nasbench_macro")
    for name in space_names():
        space = find_space(name)
        assert space.name == name
        assert "arXiv" in space.source
        assert all(preset(baseline) for baseline in space.baselines)


def test_all_costs_of_nasbench_macro_equal_the_published_costs(macro: SearchSpace, table: dict[str, list[Any]]) -> None:
    indices = np.array([[int(digit) for digit in code] for code in table["arch"]], dtype=np.intp)
    assert indices.shape == (6561, 8)
    counted = chain_costs(chain_of(macro), macro.forms(indices))
    np.testing.assert_array_equal(counted[:, 0], table["flops"])
    np.testing.assert_array_equal(counted[:, 1], table["params"])


def test_the_cost_of_each_nasbench_macro_network_equals_the_published_cost(
    macro: SearchSpace, table: dict[str, list[Any]]
) -> None:
    for code, flops, params in zip(*table.values(), strict=True):
        counted = cost(macro.from_indices([int(digit) for digit in code]))
        assert (counted.macs, counted.params) == (flops, params), code


def test_nasbench_macro_holds_3969_networks(macro: SearchSpace) -> None:
    assert macro.size == 6561
    assert len({canonical(macro.from_indices(indices)) for indices in macro.enumerate()}) == 3969
    assert count_networks(macro) == 3969


@pytest.mark.parametrize("figure", list(COUNTED))
def test_the_cost_range_of_nasbench_macro_equals_that_of_a_full_list(macro: SearchSpace, figure: str) -> None:
    model, chain = COUNTED[figure], chain_of(macro)
    every = np.array(list(macro.enumerate()), dtype=np.intp)
    costs = model.many(chain, macro.forms(every))
    assert model.span(chain) == (costs.min(), costs.max())


@pytest.mark.parametrize("name", ["efficientnet", "mnasnet", "mobilenetv3", "nasbench_macro"])
def test_costs_of_parts_add_up_to_costs_of_networks(name: str) -> None:
    space = find_space(name)
    indices = space.sample(np.random.default_rng(0), 200)
    archs = [space.from_indices(row) for row in indices]
    chain = chain_of(space)
    costs = [cost(arch) for arch in archs]
    expected = [attrs.astuple(c) for c in costs]
    assert chain_costs(chain, space.forms(indices)).tolist() == [list(row) for row in expected]
    for i, figure in enumerate(("macs", "params")):
        least, most = COUNTED[figure].span(chain)
        assert all(least <= row[i] <= most for row in expected)


def test_mnasnet_has_432_options_for_each_of_seven_blocks(mnasnet: SearchSpace) -> None:
    assert [part.size for part in mnasnet.parts] == [1, *[432] * 7, 1]
    assert mnasnet.size == 432**7


def test_the_channels_of_mnasnet_are_rounded_to_8_and_some_are_equal(mnasnet: SearchSpace) -> None:
    found = [{form.channels for form in part.forms if isinstance(form, Stage)} for part in mnasnet.parts[1:-1]]
    assert found == _MNASNET_CHANNELS


@pytest.mark.parametrize(("block", "layers"), list(enumerate(_MNASNET_LAYERS)))
def test_the_layers_of_mnasnet_vary_by_one_and_at_least_one_remains(
    mnasnet: SearchSpace, block: int, layers: set[int]
) -> None:
    assert {form.layers for form in mnasnet.parts[1 + block].forms if isinstance(form, Stage)} == layers


def test_the_blocks_of_mnasnet_are_those_of_the_paper(mnasnet: SearchSpace) -> None:
    forms = [form for part in mnasnet.parts[1:-1] for form in part.forms if isinstance(form, Stage)]
    assert {(form.operator, form.expansion) for form in forms} == {
        ("conv", 1),
        ("mbconv", 1),
        ("mbconv", 3),
        ("mbconv", 6),
    }
    assert {form.kernel for form in forms} == {3, 5}
    assert {form.skip for form in forms} == {"identity", "pool", "none"}
    assert {form.gate and (form.gate.ratio, form.gate.of) for form in forms} == {None, (0.25, "input")}
    strides = [{form.stride for form in part.forms if isinstance(form, Stage)} for part in mnasnet.parts[1:-1]]
    assert strides == [{1}, {2}, {2}, {2}, {1}, {2}, {1}]


@pytest.mark.parametrize(
    ("name", "different_field"), [("mnasnet-a1", "channels"), ("mnasnet-b1", "channels"), ("mobilenetv2", "")]
)
def test_the_published_mnasnets_are_outside_the_space_in_one_stage(
    mnasnet: SearchSpace, name: str, different_field: str
) -> None:
    arch = preset(name)
    near = mnasnet.from_indices(mnasnet.nearest(arch))
    stages = [stage for part in mnasnet.parts[1:-1] for stage in [set(part.forms)]]
    outside = [
        i for i, (stage, forms) in enumerate(zip(arch.stages, stages, strict=True)) if not _is_form(stage, forms)
    ]
    assert len(outside) == (1 if different_field else 0)
    for i in set(range(7)) - set(outside):
        assert attrs.evolve(near.stages[i], activation=arch.stages[i].activation) == arch.stages[i]
    for i in outside:
        assert getattr(near.stages[i], different_field) != getattr(arch.stages[i], different_field)


def _is_form(stage: Stage, forms: set[Any]) -> bool:
    return attrs.evolve(stage, activation="relu") in forms


def test_efficientnet_b0_is_in_its_space() -> None:
    space = find_space("efficientnet")
    b0 = preset("efficientnet-b0")
    assert space.from_indices(space.nearest(b0)) == b0
    assert space.baselines == ("efficientnet-b0",)


@pytest.fixture(scope="module")
def once_for_all() -> SearchSpace:
    return find_space("mobilenetv3")


def test_the_number_of_once_for_all_networks_equals_the_published_number(once_for_all: SearchSpace) -> None:
    # Five units of two, three or four layers with nine forms each: the paper's 2e19.
    assert count_networks(once_for_all) == (9**2 + 9**3 + 9**4) ** 5
    assert f"{count_networks(once_for_all):.0e}" == "2e+19"


def test_the_units_of_once_for_all_are_those_of_mobilenetv3(once_for_all: SearchSpace) -> None:
    large = preset("mobilenetv3-large")
    stem, first, *layers, head = once_for_all.parts
    assert (stem.forms, first.forms, head.forms) == ((large.stem,), large.stages[:1], (large.head,))
    assert [None in part.forms for part in layers] == [False, False, True, True] * 5
    for unit, published in enumerate((large.stages[1], *(large.stages[i] for i in (3, 4, 7, 8)))):
        for at, part in enumerate(layers[4 * unit : 4 * unit + 4]):
            like = attrs.evolve(published, layers=1, stride=published.stride if at == 0 else 1)
            sizes = [(kernel, expansion) for kernel in (3, 5, 7) for expansion in (3, 4, 6)]
            expected = {attrs.evolve(like, kernel=kernel, expansion=expansion) for kernel, expansion in sizes}
            assert set(part.forms) - {None} == expected


def test_mobilenetv3_is_outside_the_space_only_in_its_third_unit(once_for_all: SearchSpace) -> None:
    large = preset("mobilenetv3-large")
    near = canonical(once_for_all.from_indices(once_for_all.nearest(large)))
    assert near.stages[:4] == large.stages[:4]
    assert near.stages[-2:] == large.stages[-2:]
    assert [stage.expansion for stage in near.stages[4:-2]] == [6, 3]


@pytest.mark.parametrize("word", ["", "nope", ".", "tests", "a" * 300, "a/" * 200, "mnasnet ", "\0", "../mnasnet"])
def test_an_unknown_space_is_rejected_with_the_known_names(word: str) -> None:
    with pytest.raises(SpaceError, match="no search space is called") as caught:
        find_space(word)
    assert "nasbench_macro" in caught.value.remedy


def test_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    for name in ("own.yaml", "own.yml", "own.txt"):
        path = tmp_path / name
        path.write_text("net: ''\nstem: conv c8\nhead: pool\nstages: [{operator: conv, channels: [8, 16]}]", "utf-8")
        assert find_space(str(path)).name == "own"


@pytest.mark.parametrize("name", ["gone.yaml", "gone.yml", "\0.yaml"])
def test_the_message_names_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpaceError) as caught:
        find_space(str(tmp_path / name))
    assert str(tmp_path) in caught.value.problem
    assert caught.value.remedy
