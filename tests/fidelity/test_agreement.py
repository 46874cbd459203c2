"""Agreement against closed forms, scipy's plain functions, and lists made up so that the truth is known."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nas.fidelity.agreement import Floats, Interval, ceiling, chance_as_good, kendall, resampled, spearman

LISTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=5, max_size=30)


def related(rng: np.random.Generator, count: int, correlation: float) -> Floats:
    return rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=count).T


def test_the_intervals_are_the_papers() -> None:
    # One of ten pairs is the wrong way round.
    found = kendall([[1, 2, 3, 4, 5]], [2, 1, 3, 4, 5])
    assert found.value == pytest.approx(0.8)
    centre, half = 0.5 * math.log(1.8 / 0.2), 1.959964 * math.sqrt(0.437)
    assert found.low == pytest.approx(math.tanh(centre - half), abs=1e-6)
    assert found.high == pytest.approx(math.tanh(centre + half), abs=1e-6)
    ranks = spearman([[1, 2, 3, 4, 5]], [2, 1, 3, 4, 5])
    assert ranks.value == pytest.approx(1 - 6 * 2 / (5 * 24))
    half = 1.959964 * math.sqrt((1 + 0.9**2 / 2) / 2)
    assert ranks.low == pytest.approx(math.tanh(math.atanh(0.9) - half), abs=1e-6)


def tau_of(pair: Floats) -> Interval:
    return kendall([pair[0].tolist()], pair[1].tolist())


@pytest.mark.parametrize("tau", [0.3, 0.6, 0.8])
def test_nineteen_of_twenty_intervals_hold_the_truth(tau: float) -> None:
    """Greiner: two normal variables of correlation sin(πτ/2) have that tau."""
    rng, held = np.random.default_rng(1), []
    for _ in range(300):
        found = tau_of(related(rng, 16, math.sin(math.pi * tau / 2)))
        held.append(found.low <= tau <= found.high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_full_agreement_leaves_room_for_doubt() -> None:
    found = kendall([range(10)], range(10))
    assert (found.value, found.high) == pytest.approx((1, 1))
    assert 0.8 < found.low < 0.95
    opposite = kendall([range(10)], range(10, 0, -1))
    assert (opposite.low, opposite.high) == pytest.approx((-1, -found.low))


def test_more_networks_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    few, many = (tau_of(related(rng, count, 0.8)) for count in (10, 300))
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_what_tells_nothing_apart_has_no_correlation() -> None:
    assert math.isnan(spearman([[1] * 6], range(6)).value)
    assert math.isnan(kendall([[1] * 6], range(6)).low)


@pytest.mark.parametrize(("noise", "seeds"), [(0.3, 2), (1.0, 2), (1.0, 3), (2.0, 2)])
def test_the_ceiling_is_what_the_truth_itself_is_read_to_have(noise: float, seeds: int) -> None:
    rng = np.random.default_rng(2)
    true = rng.normal(size=3_000)
    readings = true[:, None] + noise * rng.normal(size=(3_000, seeds))
    reached = kendalltau(true, readings.mean(axis=1)).statistic
    assert ceiling(readings.tolist()) == pytest.approx(reached, abs=0.03)


def test_the_ceiling_of_uneven_readings() -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(size=4_000)
    readings = [[t + rng.normal() for _ in range(1 + i % 2)] for i, t in enumerate(true)]
    reached = kendalltau(true, [np.mean(r) for r in readings]).statistic
    assert ceiling(readings) == pytest.approx(reached, abs=0.03)


def test_where_nothing_is_repeated_there_is_no_ceiling() -> None:
    assert math.isnan(ceiling([[0.1], [0.2], [0.3]]))
    assert ceiling([[0.1, 0.9], [0.9, 0.1], [0.4, 0.7]]) == 0
    assert math.isnan(ceiling([[0.5, 0.5], [0.5, 0.5]]))


@given(LISTS)
def test_resampled_taus_are_scipys(pairs: list[tuple[int, int]]) -> None:
    guess, truth = zip(*pairs, strict=True)
    assume(len(set(guess)) > 1 and len(set(truth)) > 1)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(pairs), [1 / len(pairs)] * len(pairs), size=4)
    drawn = [np.repeat(np.arange(len(pairs)), w) for w in weights]
    wanted = [kendalltau(np.array(guess)[d], np.array(truth)[d]).statistic for d in drawn]
    assert resampled(weights.astype(float), guess, truth) == pytest.approx(np.nan_to_num(wanted), abs=1e-9)


def test_a_better_list_is_told_from_a_worse_one() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=40).tolist()
    good, bad = ((truth + noise * rng.normal(size=40)).tolist() for noise in (0.3, 2))
    assert chance_as_good([bad], [good], truth) < 0.01
    assert chance_as_good([good], [bad], truth) > 0.99
    assert chance_as_good([good], [good], truth) == 1


def test_several_seeds_count_by_their_mean() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=20).tolist()
    guesses = [(truth + rng.normal(size=20)).tolist() for _ in range(3)]
    assert kendall(guesses, truth).value == pytest.approx(np.mean([kendalltau(g, truth).statistic for g in guesses]))
