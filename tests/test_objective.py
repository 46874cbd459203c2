"""Tests of scores and cost ranges against the formulas and figures of the papers."""

from math import inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nas.cost.analytic import MACS
from nas.cost.base import Target
from nas.errors import TargetError
from nas.objective import OBJECTIVES, PARETO, Limits, limits, make_reward, score

_REWARDS = [name for name in OBJECTIVES if name != PARETO]


def target(limit: float) -> Target:
    return Target("flops", "macs", MACS, limit, f"flops={limit}")


@pytest.mark.parametrize(
    ("name", "cost", "expected"),
    [
        ("soft", 37.5, 0.7873),
        ("soft", 90, 0.7405),
        ("soft", 150, 0.7145),
        ("hard", 37.5, 0.75),
        ("hard", 90, 0.625),
        ("hard", 150, 0.375),
        ("soft", 75, 0.75),
        ("hard", 75, 0.75),
    ],
)
def test_the_published_scores_of_accuracy_75_at_a_target_of_75(name: str, cost: float, expected: float) -> None:
    assert score(0.75, [cost], [target(75)], make_reward(name)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("cost", "w", "expected"), [(37.5, -0.07, 0.715), (75, -0.07, 0.75), (90, -0.07, 0.736), (150, -1, -0.25)]
)
def test_the_absolute_reward_adds_w_times_the_relative_distance(cost: float, w: float, expected: float) -> None:
    assert score(0.75, [cost], [target(75)], make_reward("absolute", w)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("soft", 0.8 * 0.5**-0.07 * 2**-0.07),
        ("hard", 0.8 / 2),
        ("absolute", 0.8 - 0.07 * 0.5 - 0.07 * 1),
    ],
)
def test_every_target_that_is_missed_changes_the_score(name: str, expected: float) -> None:
    assert score(0.8, [50, 200], [target(100), target(100)], make_reward(name)) == pytest.approx(expected)


@given(
    st.sampled_from(_REWARDS),
    st.floats(0.01, 1),
    st.floats(1e3, 1e10),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(1, 9),
)
def test_a_second_target_is_a_limit_without_reward_or_penalty_below_it(
    name: str, accuracy: float, limit: float, one: float, two: float, above: float
) -> None:
    reward, targets = make_reward(name), [target(300e6), target(limit)]

    def scored(share: float) -> float:
        return score(accuracy, [290e6, share * limit], targets, reward)

    assert scored(one) == scored(two) == score(accuracy, [290e6], targets[:1], reward)
    assert scored(1 + above) < scored(1)


def test_the_limit_of_parameters_from_a_report() -> None:
    """Two million parameters under a limit of five million, which scored .558, and five million, which scored .600."""
    targets = [target(300e6), target(5e6)]
    assert [score(0.6, [300e6, params], targets, make_reward("absolute")) for params in (2e6, 5e6)] == [0.6, 0.6]


def test_the_exponent_of_mobilenetv3_small() -> None:
    assert score(0.75, [150], [target(75)], make_reward("soft", -0.15)) == pytest.approx(0.75 * 2**-0.15)


def test_the_w_of_a_hard_reward_applies_only_above_the_target() -> None:
    reward = make_reward("hard", -2)
    assert score(0.8, [50], [target(100)], reward) == 0.8
    assert score(0.8, [200], [target(100)], reward) == pytest.approx(0.2)


def test_without_targets_the_score_is_the_accuracy() -> None:
    for name in _REWARDS:
        assert score(0.7, [], [], make_reward(name)) == 0.7


def test_a_cost_without_a_target_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score(0.7, [1.0, 2.0], [target(1)], make_reward("soft"))


_ACCURACIES = st.floats(0.01, 1)
_COSTS = st.floats(1e3, 1e10)
_WEIGHTS = st.floats(-5, -1e-3)


@given(st.sampled_from(_REWARDS), _ACCURACIES, _ACCURACIES, _COSTS, _COSTS)
def test_a_higher_accuracy_at_the_same_cost_never_lowers_the_score(
    name: str, a: float, b: float, cost: float, limit: float
) -> None:
    assume(a < b)
    reward = make_reward(name)
    assert score(a, [cost], [target(limit)], reward) <= score(b, [cost], [target(limit)], reward)


@given(st.sampled_from(_REWARDS), _WEIGHTS, _ACCURACIES, _COSTS, _COSTS, _COSTS)
def test_a_higher_cost_above_the_target_never_raises_the_score(
    name: str, w: float, accuracy: float, limit: float, one: float, two: float
) -> None:
    low, high = limit + min(one, two), limit + max(one, two)
    reward = make_reward(name, w)
    assert score(accuracy, [high], [target(limit)], reward) <= score(accuracy, [low], [target(limit)], reward)


@given(_WEIGHTS, _ACCURACIES, _COSTS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_lower_costs_below_the_target_raise_soft_keep_hard_and_lower_absolute_scores(
    w: float, accuracy: float, limit: float, one: float, two: float
) -> None:
    low, high = sorted((one * limit, two * limit))

    def score_gain(name: str) -> float:
        at_low, at_high = (score(accuracy, [cost], [target(limit)], make_reward(name, w)) for cost in (low, high))
        return at_low - at_high

    assert score_gain("soft") >= 0
    assert score_gain("hard") == 0
    assert score_gain("absolute") <= 0


@given(st.sampled_from(_REWARDS), _WEIGHTS, _ACCURACIES, _COSTS, st.floats(0.1, 10), st.floats(0.01, 1000))
def test_the_unit_of_cost_and_target_does_not_matter(
    name: str, w: float, accuracy: float, limit: float, ratio: float, unit: float
) -> None:
    assume(abs(ratio - 1) > 1e-6)
    reward = make_reward(name, w)
    in_one_unit = score(accuracy, [ratio * limit], [target(limit)], reward)
    in_another_unit = score(accuracy, [ratio * limit * unit], [target(limit * unit)], reward)
    assert in_one_unit == pytest.approx(in_another_unit, rel=1e-6, abs=1e-9)


@given(_ACCURACIES, _COSTS, _WEIGHTS)
def test_at_the_target_every_score_is_the_accuracy(accuracy: float, limit: float, w: float) -> None:
    for name in _REWARDS:
        assert score(accuracy, [limit], [target(limit)], make_reward(name, w)) == accuracy


@pytest.mark.parametrize("w", [0.07, 1, 1e-9, -100.1, -inf, inf, nan])
@pytest.mark.parametrize("name", _REWARDS)
def test_a_w_that_would_reward_costs_above_the_target_is_rejected(name: str, w: float) -> None:
    with pytest.raises(TargetError, match="w is") as caught:
        make_reward(name, w)
    assert "-0.07" in caught.value.remedy


@pytest.mark.parametrize("name", ["", "Soft", "reward", "softer"])
def test_an_unknown_objective_is_rejected_with_the_known_ones(name: str) -> None:
    with pytest.raises(TargetError, match="has no reward") as caught:
        make_reward(name)
    assert all(known in caught.value.remedy for known in OBJECTIVES if known != PARETO)


def test_pareto_has_no_reward() -> None:
    with pytest.raises(TargetError, match=PARETO):
        make_reward(PARETO)


@pytest.mark.parametrize("name", _REWARDS)
def test_the_band_applies_to_the_first_target_and_others_have_only_an_upper_limit(name: str) -> None:
    found = limits([target(400), target(5)], band=0.85, objective=name)
    assert found == Limits((340, 0), (400, 5))


def test_pareto_has_only_upper_limits() -> None:
    assert limits([target(400), target(5)], band=0.85, objective=PARETO) == Limits((0, 0), (400, 5))


def test_a_band_of_0_accepts_all_costs_below_the_target() -> None:
    assert limits([target(400)], band=0, objective="soft") == Limits((0,), (400,))


def test_without_targets_there_are_no_limits() -> None:
    assert limits([], band=0.85, objective="soft") == Limits((), ())


@pytest.mark.parametrize("band", [-0.1, 1, 1.5, 85, nan, inf, -inf])
def test_a_band_that_is_not_a_share_is_rejected(band: float) -> None:
    with pytest.raises(TargetError, match="band is") as caught:
        limits([target(400)], band=band, objective="soft")
    assert "0 to below 1" in caught.value.remedy
