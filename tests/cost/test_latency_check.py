"""Tests of the comparison of tables with measurements, against the definitions of the figures."""

from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import rankdata

from nas.cost.analytic import cost
from nas.cost.correction import CheckedError
from nas.cost.table import LatencyTable
from nas.cost.table_builder import make_table
from nas.cost.table_check import BATCH_SIZE, Check, agreement, check_table
from nas.cost.table_plan import TablePlan
from nas.errors import DeviceError, TargetError
from nas.graph.fragment import whole
from tests.cost.fake_meter import FakeMeter
from tests.cost.small_space import chain_of, drawn, small_space

ARCHS = drawn(small_space(), 25, seed=9)
NETWORKS = [whole(arch) for arch in ARCHS]
TIMES = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=3, max_size=20, unique_by=(min, max))


def test_agreement_by_hand() -> None:
    truth = np.array([1.0, 2.0, 4.0, 10.0])
    guess = np.array([1.04, 1.92, 4.36, 8.0])  # Errors of 4, 4, 9 and 20%, in the same order.
    found = agreement(guess, truth)
    assert attrs.astuple(found) == pytest.approx((0.0925, 0.5, 0.75, 1))
    assert agreement(guess[::-1], truth).spearman == pytest.approx(-1)


@given(TIMES)
def test_agreement_follows_the_definitions_of_its_figures(pairs: list[tuple[float, float]]) -> None:
    guess, truth = np.array(pairs).T
    found = agreement(guess, truth)
    off = [abs(a - b) / b for a, b in pairs]
    assert found.mape == pytest.approx(sum(off) / len(off))
    assert found.within_5pct <= found.within_10pct
    assert found.within_10pct == pytest.approx(np.mean(np.array(off) <= 0.1), abs=1e-12)
    ranks = np.corrcoef(rankdata(guess), rankdata(truth))[0, 1]
    assert found.spearman == pytest.approx(ranks, abs=1e-9)


@pytest.fixture
def table(tmp_path: Path) -> LatencyTable:
    plan = TablePlan(chain_of(small_space()), "symmetric")
    return make_table(plan, FakeMeter(), "small", tmp_path / "partial")


def test_a_table_of_a_device_without_noise_agrees_with_it(table: LatencyTable) -> None:
    meter = FakeMeter(drift=0.01)
    check = check_table(table, NETWORKS, meter)
    assert check.table.mape < 1e-5
    assert check.table.spearman == pytest.approx(1)
    assert (check.retest.mape, check.noise) == (0, 0)
    assert check.measured_ms == pytest.approx([meter.hidden_ms(network) for network in NETWORKS])
    assert check.macs.tolist() == [cost(arch).macs for arch in ARCHS]


def test_times_are_scaled_to_the_reference_latency_of_the_table(table: LatencyTable) -> None:
    slow = attrs.evolve(table, origin=attrs.evolve(table.origin, reference_ms=2 * table.origin.reference_ms))
    meter = FakeMeter(drift=0.01)
    check = check_table(slow, NETWORKS, meter)
    assert check.measured_ms == pytest.approx([2 * meter.hidden_ms(network) for network in NETWORKS])
    assert check.reference_ms == pytest.approx(meter.reference_ms * 1.01**2.5, rel=1e-3)


def test_a_change_in_one_kind_of_layer_is_detected(table: LatencyTable) -> None:
    check = check_table(table, NETWORKS, FakeMeter(factors={"gated": 1.5}))
    assert check.table.mape > 0.05
    assert check.retest.mape == 0


def made_check(predicted: list[float], measured: list[float], again: list[float]) -> Check:
    return Check(np.array(predicted), np.array(measured), np.array(again), np.ones(len(predicted)), 0.0, 1.0)


def test_the_error_is_the_root_mean_square_with_its_standard_error() -> None:
    check = made_check([1.1, 1.8, 4.0, 12.0], [1.0, 2.0, 4.0, 10.0], [1.0, 2.0, 4.0, 10.0])
    # Errors of 10, 10, 0 and 20%: squares of 0.01, 0.01, 0 and 0.04 with mean 0.015 and variance 0.0003.
    assert check.error.networks == 4
    assert check.error.error == pytest.approx(0.015**0.5)
    assert check.error.spread == pytest.approx((0.0003 / 4) ** 0.5 / (2 * 0.015**0.5))


def test_the_standard_error_is_the_spread_over_repeated_checks() -> None:
    rng = np.random.default_rng(0)
    checks = [made_check((1 + 0.2 * rng.standard_normal(50)).tolist(), [1.0] * 50, [1.0] * 50) for _ in range(1000)]
    errors = [check.error.error for check in checks]
    assert np.mean(errors) == pytest.approx(0.2, rel=0.02)
    assert np.mean([check.error.spread for check in checks]) == pytest.approx(np.std(errors), rel=0.1)


def test_a_check_says_nothing_where_noise_alone_explains_the_error() -> None:
    rng = np.random.default_rng(0)
    measured, again = (1 + 0.25 * np.clip(rng.standard_normal((2, 200)), -2, 2)).tolist()
    assert not made_check([1.0] * 200, measured, again).is_conclusive(0.15)
    assert made_check([1.0] * 200, measured, again).is_conclusive(0.9)
    assert made_check([2.0] * 200, measured, again).is_conclusive(0.15)


def test_a_checked_table_predicts_with_the_error_of_the_check(table: LatencyTable) -> None:
    checked = attrs.evolve(table, checked=CheckedError(0.08, 0.01, 40))
    cost = checked.estimate(ARCHS[0])
    assert cost.spread == pytest.approx(0.08 * cost.value)


def test_all_networks_are_measured_once_before_the_second_measurement(table: LatencyTable) -> None:
    meter, reported = FakeMeter(), list[tuple[int, int]]()
    check_table(table, NETWORKS, meter, lambda *progress: reported.append(progress))
    batches = [tuple(NETWORKS[start : start + BATCH_SIZE]) for start in range(0, len(NETWORKS), BATCH_SIZE)]
    assert meter.measured == batches * 2
    assert reported == [(i, 2 * len(batches)) for i in range(1, 2 * len(batches) + 1)]


def line_through(macs: NDArray[np.float64], times: NDArray[np.float64]) -> Check:
    return Check(times, times, times, macs, 0.0, 1.0)


def test_latencies_that_are_linear_in_macs_are_predicted_exactly() -> None:
    macs = np.array([1e6, 3e6, 7e6, 2e7])
    assert line_through(macs, 0.5 + 2e-7 * macs).by_macs.mape == pytest.approx(0, abs=1e-9)


def test_the_linear_function_of_macs_minimizes_the_relative_error() -> None:
    macs, times = np.array([1e6, 2e6, 3e6, 9e6]), np.array([1.0, 1.5, 4.0, 6.0])
    # Weighted least squares by the normal equations, with the weights 1 / time².
    design, weights = np.column_stack([np.ones(4), macs / 1e6]), np.diag(times**-2)
    best = design @ np.linalg.solve(design.T @ weights @ design, design.T @ weights @ times)
    assert line_through(macs, times).by_macs.mape == pytest.approx(np.abs(best / times - 1).mean(), rel=1e-6)


def test_a_table_predicts_better_than_macs(table: LatencyTable) -> None:
    check = check_table(table, NETWORKS, FakeMeter(noise=0.01))
    assert check.table.mape < check.by_macs.mape


def test_a_failing_device_and_a_missing_layer_are_reported(table: LatencyTable) -> None:
    with pytest.raises(DeviceError):
        check_table(table, NETWORKS, FakeMeter(fails_at=2))
    meter = FakeMeter()
    with pytest.raises(TargetError):
        check_table(table, [whole(attrs.evolve(ARCHS[0], resolution=48))], meter)
    assert not meter.measured
