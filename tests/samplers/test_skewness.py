"""The scale on which levels are symmetric, against the transformation in scipy and against numerical derivatives."""

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import skew, yeojohnson

from nas.cost.analytic import COUNTED
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Floats
from nas.samplers.filtered import list_inside
from nas.samplers.ranking import CandidateRanker
from nas.samplers.skewness import POWERS, WIDENING, SkewedModel, Warp
from nas.samplers.surrogate import condition, fit_weights, to_accuracy
from nas.samplers.trial_arrays import FIRST, History
from nas.search.sampler_factory import make_ranker
from nas.search.settings import Settings
from nas.space.files import find_space
from tests.search.fakes import cost_range_of

MACRO = cost_range_of(find_space("nasbench_macro"), "flops=80M")
every_power = pytest.mark.parametrize("power", POWERS)
# Many high levels and a few far lower ones.
LEVELS = 1.5 - 0.2 * np.random.default_rng(0).gumbel(size=40)


def yeo_johnson(levels: Floats, power: float, measured: Floats | None = None) -> Floats:
    """Standardize levels, transform them with scipy, and standardize again, by the measured levels."""
    measured = levels if measured is None else measured
    own, known = ((each - measured.mean()) / measured.std() for each in (levels, measured))
    curved, middle = (yeojohnson(each, lmbda=power) for each in (own, known))
    return np.asarray((curved - middle.mean()) / middle.std())


@every_power
def test_values_are_those_of_scipy(power: float) -> None:
    warp, others = Warp.of(LEVELS, power), np.linspace(-1, 4, 21)
    assert warp.values(LEVELS) == pytest.approx(yeo_johnson(LEVELS, power), abs=1e-12)
    assert warp.values(others) == pytest.approx(yeo_johnson(others, power, LEVELS), abs=1e-12)
    assert warp.values(LEVELS).mean() == pytest.approx(0, abs=1e-12)
    assert warp.values(LEVELS).std() == pytest.approx(1)


@given(power=st.sampled_from(POWERS), levels=st.lists(st.floats(-0.001, 6.2), min_size=1, max_size=9))
def test_levels_of_values_are_the_levels_again(power: float, levels: list[float]) -> None:
    warp, own = Warp.of(LEVELS, power), np.array(levels)
    again, _ = warp.levels(warp.values(own), np.ones(len(own)))
    assert again == pytest.approx(own, rel=1e-9, abs=1e-9)


@given(power=st.sampled_from(POWERS), value=st.floats(-4, 6))
def test_values_of_levels_are_the_values_again(power: float, value: float) -> None:
    warp = Warp.of(LEVELS, power)
    level, _ = warp.levels(np.array([value]), np.ones(1))
    assert warp.values(level) == pytest.approx([value], rel=1e-9, abs=1e-9)


@every_power
def test_any_value_has_a_finite_level(power: float) -> None:
    for levels in (LEVELS, np.full(5, 0.7), np.array([0.1, 6.2])):
        found = Warp.of(levels, power).levels(np.linspace(-1e6, 1e6, 11), np.full(11, 3.0))
        assert all(np.isfinite(each).all() for each in found)


@every_power
def test_the_slope_is_the_derivative(power: float) -> None:
    warp, step = Warp.of(LEVELS, power), 1e-6
    at = np.linspace(0, 3, 30)
    numerical = (warp.values(at + step) - warp.values(at - step)) / (2 * step)
    assert warp.slope(at) == pytest.approx(numerical, rel=1e-6)


@every_power
def test_standard_deviations_of_levels_are_those_of_many_draws(power: float) -> None:
    warp, mean, spread = Warp.of(LEVELS, power), np.array([-1.5, 0.0, 1.5]), 0.02
    draws = mean[:, None] + spread * np.random.default_rng(0).standard_normal((3, 20_000))
    level, deviation = warp.levels(mean, np.full(3, spread))
    drawn = np.stack([warp.levels(row, row)[0] for row in draws])
    assert level == pytest.approx(np.median(drawn, axis=1), rel=2e-3)
    assert deviation == pytest.approx(drawn.std(axis=1), rel=0.03)


def test_with_power_1_the_model_is_that_of_the_levels() -> None:
    encoder, indices = ranker_of().encoder, some_networks(30)
    codes = encoder.encode(indices)
    known, new = slice(0, 20), slice(20, 30)
    levels = LEVELS[:20]
    weights = fit_weights(encoder, codes[known], levels)
    warp = Warp.of(levels, 1.0)
    plain = condition(encoder, codes[known], levels, weights)
    skewed = SkewedModel(condition(encoder, codes[known], warp.values(levels), weights), warp)
    mean, spread = plain.predict(codes[new])
    for found, expected in zip(skewed.predict(codes[new]), (mean, WIDENING * spread), strict=True):
        assert found == pytest.approx(expected, rel=1e-8)
    mean, covariance = plain.joint(codes[new])
    for found, expected in zip(skewed.joint(codes[new]), (mean, WIDENING**2 * covariance), strict=True):
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-12)


@every_power
def test_the_joint_distribution_agrees_with_single_predictions(power: float) -> None:
    encoder, indices = ranker_of().encoder, some_networks(30)
    codes = encoder.encode(indices)
    levels, warp = LEVELS[:20], Warp.of(LEVELS[:20], power)
    weights = fit_weights(encoder, codes[:20], warp.values(levels))
    model = SkewedModel(condition(encoder, codes[:20], warp.values(levels), weights), warp)
    mean, covariance = model.joint(codes)
    level, spread = model.predict(codes)
    assert mean == pytest.approx(level)
    assert np.sqrt(covariance.diagonal()) == pytest.approx(spread)
    # A monotone transformation to first order leaves the correlations as they are.
    _, plain = model.surrogate.joint(codes)
    assert correlations(covariance) == pytest.approx(correlations(plain))


def correlations(covariance: Floats) -> Floats:
    spread = np.sqrt(covariance.diagonal())
    return np.asarray(covariance / np.outer(spread, spread))


# ---------------------------------------------------------------------------------------------------------------
# The power that the ranker finds.


def ranker_of() -> CandidateRanker:
    return make_ranker(MACRO, Settings(MACRO.targets), COUNTED, list_inside(MACRO))


def some_networks(count: int, seed: int = 0) -> ChoiceIndices:
    listing = list_inside(MACRO)
    assert listing is not None
    return np.asarray(listing[np.random.default_rng(seed).permutation(len(listing))[:count]])


def history_of_levels(indices: ChoiceIndices, levels: Floats) -> History:
    return History(indices, to_accuracy(levels), np.zeros(len(levels), dtype=bool))


def drawn(count: int, seed: int) -> tuple[ChoiceIndices, Floats]:
    """Networks and normal values, most of them explained by the options of each network."""
    rng, indices = np.random.default_rng(seed), some_networks(count, seed)
    values = rng.normal(size=(8, 3))[np.arange(8), indices].sum(axis=1) + 0.5 * rng.normal(size=count)
    return indices, np.asarray((values - values.mean()) / values.std())


@pytest.mark.parametrize("seed", range(6))
def test_normal_levels_are_left_as_they_are(seed: int) -> None:
    indices, values = drawn(90, seed)
    power = ranker_of().weights(history_of_levels(indices, 1 + 0.2 * values))[1]
    assert power <= 1.25


def test_normal_levels_mostly_have_the_power_1() -> None:
    powers = []
    for seed in range(12):
        indices, values = drawn(90, 20 + seed)
        powers.append(ranker_of().weights(history_of_levels(indices, 1 + 0.2 * values))[1])
    assert np.mean(np.array(powers) == 1) > 0.5


@pytest.mark.parametrize("seed", range(6))
def test_levels_with_a_long_lower_tail_are_transformed(seed: int) -> None:
    indices, values = drawn(90, seed)
    levels = 1.5 - 0.2 * np.exp(-0.8 * values)
    assert skew(levels) < -0.8
    power = ranker_of().weights(history_of_levels(indices, levels))[1]
    assert power > 1.25
    assert abs(skew(Warp.of(levels, power).values(levels))) < 0.7 * abs(skew(levels))


def test_the_power_does_not_depend_on_unit_and_origin_of_the_levels() -> None:
    indices, values = drawn(60, 3)
    skewed = -np.exp(-0.8 * values)
    powers = {ranker_of().weights(history_of_levels(indices, a + b * skewed))[1] for a, b in ((1.5, 0.2), (3, 0.05))}
    assert len(powers) == 1


def test_equal_levels_are_left_as_they_are() -> None:
    history = history_of_levels(some_networks(12), np.full(12, 0.7))
    ranker = ranker_of()
    weights, power = ranker.weights(history)
    assert power == 1
    assert np.isfinite(weights).all()
    warp = Warp.of(np.full(12, 0.7), 2.0)
    assert warp.values(np.full(12, 0.7)) == pytest.approx(0, abs=1e-12)
    assert (warp.slope(np.array([0.7])) > 0).all()
    assert len(ranker.rank(history, np.random.default_rng(0))) > 5


@pytest.mark.parametrize("seed", range(4))
def test_few_levels_do_not_suffice_for_the_largest_power(seed: int) -> None:
    indices, values = drawn(FIRST, seed)
    assert ranker_of().weights(history_of_levels(indices, 1 + 0.2 * values))[1] < 2


def test_the_penalty_is_that_of_a_normal_distribution_of_the_power() -> None:
    warp = Warp.of(LEVELS, 1.0)
    assert warp.penalty() == 0
    assert evolve(warp, power=2.0).penalty() == pytest.approx(((2 - 1) / 0.5) ** 2 / 2)
