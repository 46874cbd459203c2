"""Tests of latency tables of a simulated device against its true times."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType

import attrs
import numpy as np
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.arch.canonical import canonical
from nas.arch.layers import walk_part
from nas.arch.spec import Architecture, Stage
from nas.cost.base import Chain, ChainCostModel, Cost
from nas.cost.correction import KINDS, NO_CORRECTION, Correction, fit_correction, layer_kind
from nas.cost.layers import Layer
from nas.cost.table import LatencyTable, Origin
from nas.cost.table_builder import make_table
from nas.cost.table_check import check_table
from nas.cost.table_plan import TablePlan
from nas.device.spec import Device
from nas.errors import TargetError
from nas.graph.fragment import Fragment, whole
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.space.schema import read_space
from tests.contracts.cost_model import ChainCostModelContract
from tests.cost.fake_meter import MACHINE, FakeMeter
from tests.cost.small_space import SMALL, chain_of, drawn, listed, small_space

FACTORS = dict(zip(KINDS, (1.1, 0.9, 1.3, 0.7, 2.0), strict=True))
FITTED = Correction(MappingProxyType(FACTORS), 0.25, 0.02, 24)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[FakeMeter, SearchSpace], LatencyTable]:
    """Return a function that measures a table of a space on a device."""

    def made(meter: FakeMeter, space: SearchSpace) -> LatencyTable:
        partial = tmp_path_factory.mktemp("table") / "table.partial"
        return make_table(TablePlan(chain_of(space), "symmetric"), meter, space.name, partial)

    return made


Make = Callable[[FakeMeter, SearchSpace], LatencyTable]


@pytest.mark.parametrize("space", [small_space(), find_space("nasbench_macro")], ids=lambda space: space.name)
def test_unseen_networks_are_predicted_exactly_without_noise(make: Make, space: SearchSpace) -> None:
    meter = FakeMeter(drift=1e-3)
    table = make(meter, space)
    reported = [table.estimate(arch).value / table.origin.reference_ms for arch in drawn(space, 100, seed=9)]
    hidden = [meter.hidden_ms(whole(arch)) / meter.reference_ms for arch in drawn(space, 100, seed=9)]
    assert reported == pytest.approx(hidden, rel=1e-5)
    assert table.correction.factors == pytest.approx(NO_CORRECTION.factors, abs=1e-5)
    assert table.correction.error == pytest.approx(0, abs=1e-5)


def test_layer_latencies_exclude_context_and_overhead(make: Make) -> None:
    meter = FakeMeter()
    table = make(meter, small_space())
    inner = [layer for layer in table.layers_ms if isinstance(layer.part, Stage)]
    alone = [meter.layer_ms(placed) for layer in inner for placed in Fragment((layer.part,), layer.shape).walk()]
    assert [table.layers_ms[layer] for layer in inner] == pytest.approx(alone, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_noise_of_layers_does_not_add_up_in_networks(make: Make, seed: int) -> None:
    meter = FakeMeter(noise=0.03, drift=1e-3, seed=seed)
    space = small_space()
    check = check_table(make(meter, space), [whole(arch) for arch in drawn(space, 60, seed=9)], meter)
    assert check.table.mape < 1.5 * check.retest.mape
    assert check.table.spearman > 0.95


def formula_ms(layer: Layer) -> float:
    """Return a positive time that depends on everything in a layer."""
    nodes = walk_part(layer.part, layer.shape, 1)
    return 1e-3 * len(nodes) + 1e-6 * sum(node.shape.elements + node.weights for node in nodes)


class Formula(dict[Layer, float]):
    """Give a time for every possible layer."""

    def get(self, layer: Layer, _default: object = None) -> float:
        return formula_ms(layer)


@cache
def table_of_all(classes: int, padding: str) -> LatencyTable:
    origin = Origin(MACHINE, Device(), "simulated", 2.0, "all", classes, padding, "0", "2026-01-01 00:00", 2)
    return LatencyTable("all", origin, Formula(), Formula(), FITTED)


@frozen
class AnyTask:
    """Combine the tables for all numbers of classes and paddings into one cost model."""

    table: Callable[[int, str], LatencyTable]

    def estimate(self, arch: Architecture) -> Cost:
        return self.table(arch.classes, arch.padding).estimate(arch)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        return self.table(chain.classes, "symmetric").many(chain, index)

    def span(self, chain: Chain) -> tuple[float, float]:
        return self.table(chain.classes, "symmetric").span(chain)


class TestTable(ChainCostModelContract):
    tolerance = 1e-9

    def model(self) -> ChainCostModel:
        return AnyTask(table_of_all)


@st.composite
def picked(draw: st.DrawFn) -> tuple[SearchSpace, list[tuple[int, ...]]]:
    space = draw(st.sampled_from(SPACES))
    indices = st.tuples(*(st.integers(0, len(choice.values) - 1) for choice in space.all_choices))
    return space, draw(st.lists(indices, min_size=1, max_size=5))


SPACES = (small_space(), find_space("mnasnet"), find_space("nasbench_macro"))


@given(picked())
@settings(max_examples=40)
def test_a_prediction_is_the_corrected_sum_of_layers_and_the_intercept(
    chosen: tuple[SearchSpace, list[tuple[int, ...]]],
) -> None:
    space, indices = chosen
    chain, archs = chain_of(space), [space.from_indices(each) for each in indices]
    table = table_of_all(chain.classes, "symmetric")
    by_hand = [FITTED.intercept + sum(layers_of(arch)) for arch in archs]
    assert [table.estimate(arch).value for arch in archs] == pytest.approx(by_hand, rel=1e-9)
    assert table.many(chain, space.forms(np.array(indices))).tolist() == pytest.approx(by_hand, rel=1e-9)
    low, high = table.span(chain)
    assert low <= min(by_hand) * (1 + 1e-9)
    assert high >= max(by_hand) * (1 - 1e-9)


def layers_of(arch: Architecture) -> Iterator[float]:
    """Yield the corrected time of each layer, without caching."""
    for placed in whole(canonical(arch)).walk():
        yield FACTORS[layer_kind(placed.part)] * formula_ms(Layer(placed.part, placed.shape))


def test_the_range_of_a_small_space_is_its_fastest_and_slowest_network(make: Make) -> None:
    space = small_space()
    table = make(FakeMeter(noise=0.03), space)
    times = [table.estimate(arch).value for arch in listed(space)]
    assert table.span(chain_of(space)) == pytest.approx((min(times), max(times)), rel=1e-12)


def test_a_prediction_names_its_table_and_has_a_spread(make: Make) -> None:
    space = small_space()
    table = attrs.evolve(make(FakeMeter(noise=0.03), space), name="board")
    cost = table.estimate(listed(space)[0])
    assert (cost.unit, cost.source) == ("ms", "table board")
    assert cost.spread == pytest.approx(cost.value * (table.correction.error or 0))
    assert np.isnan(attrs.evolve(table, correction=NO_CORRECTION).estimate(listed(space)[0]).spread)


def test_a_missing_layer_is_named(make: Make) -> None:
    space = small_space()
    table = make(FakeMeter(), space)
    arch = attrs.evolve(listed(space)[0], stages=(Stage("mbconv", 8, kernel=7, expansion=4),))
    with pytest.raises(TargetError, match=r"'mbconv r1 k7 s1 e4 c8 relu' on 8x16x16"):
        table.estimate(arch)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"classes": 11}, "of classes 10, not 11"),
        ({"padding": "same"}, "of padding symmetric, not same"),
        ({"resolution": 33}, "on 3x33x33"),
    ],
)
def test_another_task_is_rejected_with_the_difference(make: Make, asked: Mapping[str, object], named: str) -> None:
    space = small_space()
    table = make(FakeMeter(), space)
    with pytest.raises(TargetError, match=named) as caught:
        table.estimate(attrs.evolve(listed(space)[0], **asked))  # type: ignore[arg-type]
    assert "nas latency table" in caught.value.remedy


def test_a_space_with_a_missing_layer_is_rejected(make: Make) -> None:
    table = make(FakeMeter(), small_space())
    table.check_chain(chain_of(small_space()), "symmetric")
    larger = [SMALL["stages"][0], SMALL["stages"][1] | {"kernel": [3, 5]}]
    more = read_space(SMALL | {"stages": larger}, "more.yaml", "more")
    with pytest.raises(TargetError, match="k5"):
        table.check_chain(chain_of(more), "symmetric")
    with pytest.raises(TargetError, match="padding"):
        table.check_chain(chain_of(small_space()), "same")


def sums_of(networks: int, seed: int = 3) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(1, 10, (networks, len(KINDS)))


def test_a_common_factor_and_an_intercept_are_found_exactly() -> None:
    kind_sums = sums_of(24)
    found = fit_correction(kind_sums, 0.5 + 1.25 * kind_sums.sum(axis=1))
    assert found.factors == pytest.approx(dict.fromkeys(KINDS, 1.25), rel=1e-5)
    assert found.intercept == pytest.approx(0.5, rel=1e-4)
    assert found.networks == 24


def test_few_networks_give_factors_that_are_closer_to_each_other() -> None:
    truth = np.array(list(FACTORS.values()))
    few, many = (
        np.array(list(fit_correction(kind_sums, kind_sums @ truth).factors.values()))
        for kind_sums in map(sums_of, (12, 2000))
    )
    assert many == pytest.approx(truth, rel=0.02)
    assert np.ptp(few) < np.ptp(many) <= np.ptp(truth)


def test_the_error_is_that_of_leave_one_out_cross_validation() -> None:
    kind_sums = sums_of(12)
    measured = kind_sums.sum(axis=1) * (1 + 0.05 * np.random.default_rng(4).standard_normal(12))
    errors = []
    for i in range(12):
        rest = fit_correction(np.delete(kind_sums, i, 0), np.delete(measured, i))
        guess = rest.intercept + kind_sums[i] @ np.array(list(rest.factors.values()))
        errors.append(guess / measured[i] - 1)
    assert fit_correction(kind_sums, measured).error == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)
