"""Tests of measured latencies: single networks, the guide, and the final candidates."""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import attrs
import numpy as np
import pytest

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture, Stage
from nas.cost.base import CostModel
from nas.cost.guide import GUIDE_NETWORKS
from nas.cost.guided import MAX_REFUSED, GuidedCost
from nas.cost.measured import BATCH_SIZE, PASSES, Judge, Stopwatch, TableLatency, measured_latency
from nas.cost.table import LatencyTable
from nas.cost.table_builder import make_table
from nas.cost.table_plan import TablePlan
from nas.errors import DeviceError, DeviceLostError
from nas.graph.fragment import whole
from tests.contracts.cost_model import CostModelContract
from tests.cost.fake_meter import FakeMeter
from tests.cost.small_space import chain_of, drawn, listed, small_space


def latency_on(meter: FakeMeter) -> GuidedCost[Stopwatch]:
    return measured_latency(chain_of(small_space()), "symmetric", meter)


@cache
def quiet() -> GuidedCost[Stopwatch]:
    return latency_on(FakeMeter())


class TestMeasured(CostModelContract):
    """Test single networks only: the guide estimates many at once, and is less exact than a measurement."""

    tolerance = 1e-9

    def model(self) -> CostModel:
        return quiet()


def test_many_networks_and_their_range_are_estimated_by_the_guide() -> None:
    meter, space = FakeMeter(), small_space()
    latency = latency_on(meter)
    indices = space.sample(np.random.default_rng(9), 50)
    many = latency.many(chain_of(space), space.forms(indices))
    assert many.tolist() == pytest.approx([latency.predict_roughly(space.from_indices(p)) for p in indices])
    low, high = latency.span(chain_of(space))
    assert low <= many.min() <= many.max() <= high
    assert len(meter.measured) == GUIDE_NETWORKS


def stopwatch(meter: FakeMeter) -> Stopwatch:
    return Stopwatch(meter, meter.reference_ms)


def one_network() -> list[Architecture]:
    """Return three encodings of one network."""
    first, last = Stage("fused", 8, layers=2), Stage("conv", 16, stride=2)
    arch = attrs.evolve(listed(small_space())[0], stages=(first, last))
    conv = Stage("conv", 8)
    return [arch, canonical(arch), attrs.evolve(arch, stages=(conv, conv, attrs.evolve(last, skip="none")))]


def test_equal_networks_are_measured_once() -> None:
    meter = FakeMeter(noise=0.05)
    watch = stopwatch(meter)
    costs = [watch.estimate(arch) for arch in one_network() * 2]
    assert len(set(costs)) == 1
    assert len(meter.measured) == 1


def test_threads_measure_each_network_once() -> None:
    meter = FakeMeter(noise=0.05)
    watch = stopwatch(meter)
    archs = drawn(small_space(), 12, seed=2)
    with ThreadPoolExecutor(8) as pool:
        costs = list(pool.map(watch.estimate, archs * 4))
    assert costs == costs[:12] * 4
    assert len(meter.measured) == len(set(map(canonical, archs)))


def test_a_latency_is_scaled_to_the_first_latency_of_the_reference() -> None:
    meter = FakeMeter(drift=0.01)
    watch = stopwatch(meter)
    for arch in drawn(small_space(), 5, seed=2):
        cost = watch.estimate(arch)
        assert cost.value == pytest.approx(meter.hidden_ms(whole(arch)))
        assert (cost.unit, cost.source) == ("ms", "measured on cpu")


def test_a_lost_device_is_reported_and_not_cached() -> None:
    meter = FakeMeter(fails_at=1, failure=DeviceLostError("lost", "look for it"))
    watch = stopwatch(meter)
    first, second = drawn(small_space(), 2, seed=2)
    known = watch.estimate(first)
    for _ in range(2 * MAX_REFUSED):
        with pytest.raises(DeviceLostError):
            watch.estimate(second)
    assert watch.estimate(first) == known
    meter.fails_at = None
    assert watch.estimate(second).value == pytest.approx(meter.hidden_ms(whole(second)))


def test_a_rejected_network_has_an_infinite_cost_and_the_next_is_measured() -> None:
    meter = FakeMeter(fails_at=0)
    watch = stopwatch(meter)
    first, second = drawn(small_space(), 2, seed=2)
    assert watch.estimate(first).value == math.inf
    assert "refused by cpu: the simulated device failed" in watch.estimate(first).source
    meter.fails_at = None
    assert watch.estimate(second).value < math.inf


def test_several_rejected_networks_in_a_row_are_an_error() -> None:
    watch = stopwatch(FakeMeter(fails_at=0))
    *some, last = drawn(small_space(), MAX_REFUSED, seed=2)
    assert [watch.estimate(arch).value for arch in some] == [math.inf] * (MAX_REFUSED - 1)
    with pytest.raises(DeviceError, match="simulated device failed"):
        watch.estimate(last)


def test_a_failing_device_gives_no_guide() -> None:
    with pytest.raises(DeviceError):
        latency_on(FakeMeter(fails_at=GUIDE_NETWORKS - 1))


@pytest.fixture
def table(tmp_path: Path) -> LatencyTable:
    plan = TablePlan(chain_of(small_space()), "symmetric")
    return make_table(plan, FakeMeter(), "small", tmp_path / "partial")


def test_networks_with_layers_outside_the_table_are_measured(table: LatencyTable) -> None:
    meter = FakeMeter()
    latency = TableLatency(table, stopwatch(meter))
    known = listed(small_space())[5]
    assert latency.estimate(known) == table.estimate(known)
    assert not meter.measured
    other = attrs.evolve(known, resolution=48)
    assert latency.estimate(other).source == "measured on cpu"
    assert meter.measured == [(whole(canonical(other)),)]


@pytest.mark.parametrize(("before", "slowest"), [(0.5, 1.0), (2.0, 2.0)])
def test_final_latencies_are_those_of_the_slower_state(before: float, slowest: float) -> None:
    meter = FakeMeter()
    archs = drawn(small_space(), BATCH_SIZE + 3, seed=2)
    costs = Judge(meter, before * meter.reference_ms).together(archs)
    hidden = [slowest * meter.hidden_ms(whole(arch)) for arch in archs]
    assert [cost.value for cost in costs] == pytest.approx(hidden)
    assert [cost.spread for cost in costs] == pytest.approx([0] * len(archs), abs=1e-9)


def test_final_candidates_are_measured_in_every_pass_with_the_spread_of_the_passes() -> None:
    meter = FakeMeter(noise=0.02)
    archs = drawn(small_space(), BATCH_SIZE + 3, seed=2)
    costs = Judge(meter, meter.reference_ms).together(archs)
    networks = [whole(arch) for arch in archs]
    assert meter.measured == [tuple(networks[:BATCH_SIZE]), tuple(networks[BATCH_SIZE:])] * PASSES
    shares = [cost.spread / cost.value for cost in costs]
    assert np.sqrt(np.mean(np.square(shares))) == pytest.approx(0.02, rel=0.5)


def test_no_candidates_give_no_costs_and_a_failing_device_is_an_error() -> None:
    assert Judge(FakeMeter(fails_at=0), 1.0).together([]) == []
    with pytest.raises(DeviceError):
        Judge(FakeMeter(fails_at=PASSES - 1), 1.0).together(drawn(small_space(), 3, seed=2))
