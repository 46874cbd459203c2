"""The cost filter: what is let in, the way in, and its share of a space."""

import os
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.base import Cost, Target
from nas.cost.target import parse_target
from nas.errors import StudyError, TargetError
from nas.objective import limits
from nas.samplers.cost_range import CostRange, make_cost_range
from nas.samplers.filtered import MOST_CHECKS
from nas.search.plan import move_starts
from nas.search.run import search
from nas.search.settings import Settings
from nas.space.files import find_space
from tests.search.fakes import SMALLEST, FakeEvaluator, MadeUpLatency, cost_range_of, make_space, sampler_of

TINY = make_space()
MNASNET = find_space("mnasnet")
MACRO = find_space("nasbench_macro")
NAMES = {"flops": "macs", "params": "params", "peak_memory": "peak_bytes"}


def every(band: CostRange) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    return np.array(list(band.space.enumerate()), dtype=np.intp)


def test_costs_are_those_of_the_architectures() -> None:
    band = cost_range_of(MNASNET, "flops=300M", "params=5M", "peak_memory=20MB")
    indices = MNASNET.sample(np.random.default_rng(0), 20)
    archs = [MNASNET.from_indices(row) for row in indices]
    alone = [[COUNTED[NAMES[t.name]].estimate(arch).value for t in band.targets] for arch in archs]
    assert band.costs(indices).tolist() == alone


def test_both_ends_of_the_band_are_inside() -> None:
    costs = cost_range_of(TINY, "flops=1M").costs(every(cost_range_of(TINY, "flops=1M")))[:, 0]
    cost = int(np.sort(costs)[40])
    exactly = cost_range_of(TINY, f"flops={cost / 1000}k", band=0.5)
    assert (exactly.excess(every(exactly))[costs == cost] == 0).all()
    at_the_low_end = cost_range_of(TINY, f"flops={cost / 500}k", band=0.5)
    assert (at_the_low_end.excess(every(at_the_low_end))[costs == cost] == 0).all()
    below = cost_range_of(TINY, f"flops={(cost - 1) / 1000}k", band=0.5)
    assert (below.excess(every(below))[costs == cost] > 0).all()


def test_excess_is_the_share_outside_summed_over_targets() -> None:
    band = cost_range_of(TINY, "flops=1M", "params=5k")
    costs = band.costs(every(band))
    low, high = np.array([0.9e6, 0]), np.array([1e6, 5e3])
    expected = (np.clip(low - costs, 0, None) + np.clip(costs - high, 0, None)) / high
    assert band.excess(every(band)) == pytest.approx(expected.sum(axis=1))


def test_neighbours_differ_in_one_option() -> None:
    band = cost_range_of(TINY, "flops=1M")
    indices = np.zeros(len(TINY.all_choices), dtype=np.intp)
    around = band.neighbours(indices)
    assert len({tuple(row) for row in around}) == len(around)
    assert len(around) == sum(len(choice.values) - 1 for choice in TINY.all_choices)
    assert ((around != indices).sum(axis=1) == 1).all()


@given(seed=st.integers(0, 10_000), target=st.floats(0.2, 2.6), extra=st.floats(2, 40))
@settings(deadline=None, max_examples=60)
def test_what_is_brought_in_is_inside(seed: int, target: float, extra: float) -> None:
    try:
        band = cost_range_of(TINY, f"flops={target:.3f}M", f"params={extra:.3f}k")
    except TargetError:
        return
    rng = np.random.default_rng(seed)
    start = TINY.sample(rng, 1)[0]
    before = start.copy()
    inside = band.bring_in(start, rng)
    assert (start == before).all()
    assert inside is None or band.excess(inside[None])[0] == 0


@pytest.mark.parametrize("megas", [60, 150, 300, 600, 1200])
def test_nearly_every_way_into_a_large_space_is_found(megas: int) -> None:
    band, rng = cost_range_of(MNASNET, f"flops={megas}M"), np.random.default_rng(0)
    found = [band.bring_in(indices, rng) for indices in MNASNET.sample(rng, 10)]
    inside = [indices for indices in found if indices is not None]
    assert len(inside) >= 9
    assert (band.excess(np.array(inside)) == 0).all()


def test_what_is_inside_stays() -> None:
    band = cost_range_of(TINY, "flops=1M")
    inside = every(band)[band.excess(every(band)) == 0][0]
    assert (band.bring_in(inside, np.random.default_rng(0)) == inside).all()


@pytest.mark.parametrize("target", ["flops=50M", "flops=100M", "params=1M", "peak_memory=400kB"])
def test_the_share_is_that_of_all_combinations(target: str) -> None:
    band = cost_range_of(MACRO, target, band=0.8)
    exact = float((band.excess(every(band)) == 0).mean())
    share = band.share(np.random.default_rng(0), 20_000)
    assert share == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5 + 1e-4)


@pytest.mark.skipif("NAS_TEST_DATA" not in os.environ, reason="NAS_TEST_DATA names no folder")
@pytest.mark.parametrize(("column", "target", "limit"), [("flops", "flops=60M", 60e6), ("params", "params=2M", 2e6)])
def test_nasbench_macros_own_counts_give_the_same_share(column: str, target: str, limit: float) -> None:
    table = pytest.importorskip("pyarrow.parquet").read_table(
        Path(os.environ["NAS_TEST_DATA"], "nasbench_macro.parquet")
    )
    counts = np.array(table[column].to_pylist())
    band = cost_range_of(MACRO, target)
    inside = band.excess(every(band)) == 0
    assert int(inside.sum()) == int(((counts >= 0.9 * limit) & (counts <= limit)).sum())


@pytest.mark.parametrize("target", ["flops=0.2M", "flops=3M", "params=10", "params=1G", "peak_memory=1B"])
def test_an_impossible_target_says_what_is_possible(target: str) -> None:
    text = target if not target.endswith("=10") else "params=0.01k"
    with pytest.raises(TargetError) as error:
        cost_range_of(TINY, text)
    name = text.partition("=")[0]
    reachable = cost_range_of(TINY, "peak_memory=1GB" if name == "peak_memory" else f"{name}=1T", objective="pareto")
    costs = reachable.costs(every(reachable))[:, 0]
    amount = reachable.targets[0].amount
    assert f"from {amount(costs.min())} to {amount(costs.max())}" in str(error.value)
    assert parse_target(text).text in str(error.value)


def test_a_target_a_little_above_the_largest_cost_lets_the_largest_in() -> None:
    band = cost_range_of(MNASNET, "flops=1T", objective="pareto")
    least, most = band.targets[0].cost.span(band.chain)
    near = cost_range_of(MNASNET, f"flops={most / 0.95 / 1e6:.6f}M")
    assert near.bring_in(MNASNET.sample(np.random.default_rng(0), 1)[0], np.random.default_rng(0)) is not None
    assert least < most


def test_no_target_is_an_error() -> None:
    with pytest.raises(TargetError, match="no target"):
        cost_range_of(TINY)


def test_the_smallest_space_has_as_many_networks_as_it_should() -> None:
    space = make_space(SMALLEST)
    assert space.size == 4
    assert len({space.from_indices(indices) for indices in space.enumerate()}) == 3


def rough_target(limit: float, rough: float = 0.25) -> Target:
    return Target("latency", "latency_ms", MadeUpLatency(rough), limit, f"latency={limit}ms on made-up", "ms")


@pytest.mark.parametrize("limit", [0.6, 1.2, 2.0])
def test_a_rough_cost_of_many_lets_in_only_what_its_estimate_allows(limit: float) -> None:
    target = rough_target(limit)
    band = make_cost_range(TINY, [target], limits([target], band=0.7, objective="soft"))
    estimates = np.array([target.cost.estimate(TINY.from_indices(indices)).value for indices in every(band)])
    inside = (0.7 * limit <= estimates) & (estimates <= limit)
    assert [band.admits(TINY.from_indices(indices)) for indices in every(band)] == inside.tolist()
    assert ((band.excess(every(band)) == 0) != inside).any()
    view = search(
        TINY, FakeEvaluator(), Settings([target], trials=128, band=0.7, epochs=1), COUNTED, storage="sqlite://"
    )
    assert 0 < view.counted == len({record.arch for record in view.records})
    assert all(0.7 * limit <= record.costs["latency_ms"] <= limit for record in view.records)
    both = inside & (band.excess(every(band)) == 0)
    assert view.counted == len({TINY.from_indices(indices) for indices in every(band)[both]})


def test_an_exact_cost_admits_what_has_no_excess() -> None:
    band = cost_range_of(TINY, "flops=1.2M", "params=12k", band=0.5)
    alone = [band.admits(TINY.from_indices(indices)) for indices in every(band)]
    assert alone == (band.excess(every(band)) == 0).tolist()
    assert 0 < sum(alone) < len(alone)


class Contrary(MadeUpLatency):
    """Ten times of what it says of many at once, and it counts how often it is asked."""

    asked = 0

    def estimate(self, arch: Architecture) -> Cost:
        Contrary.asked += 1
        return attrs.evolve(super().estimate(arch), value=10 * super().estimate(arch).value)


@pytest.fixture(name="contrary")
def _contrary() -> CostRange:
    Contrary.asked = 0
    target = attrs.evolve(rough_target(300), cost=Contrary())
    return make_cost_range(MNASNET, [target], limits([target], band=0.5, objective="soft"))


def test_a_cost_that_is_always_wrong_is_given_up_after_so_many_looks(contrary: CostRange) -> None:
    assert sampler_of(contrary, "random").suggest(0) is None
    assert Contrary.asked == MOST_CHECKS


def test_a_network_to_start_from_that_is_outside_by_its_own_cost_is_told(contrary: CostRange) -> None:
    settings = Settings(contrary.targets, band=0.5, start_from=(preset("mobilenetv2"),))
    with pytest.raises(StudyError, match="its own cost is outside"):
        move_starts(contrary, settings)
