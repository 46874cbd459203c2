"""Scores and limits, against the papers' formulas and figures."""

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
def test_the_absolute_reward_is_accuracy_and_w_times_the_distance(cost: float, w: float, expected: float) -> None:
    assert score(0.75, [cost], [target(75)], make_reward("absolute", w)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("soft", 0.8 * 2**-0.07 * 0.5**-0.07),
        ("hard", 0.8 / 2),
        ("absolute", 0.8 - 0.07 * 1 - 0.07 * 0.5),
    ],
)
def test_every_target_enters_the_score(name: str, expected: float) -> None:
    assert score(0.8, [200, 50], [target(100), target(100)], make_reward(name)) == pytest.approx(expected)


def test_mobilenetv3_small_s_exponent() -> None:
    assert score(0.75, [150], [target(75)], make_reward("soft", -0.15)) == pytest.approx(0.75 * 2**-0.15)


def test_a_hard_reward_s_w_holds_above_the_target_alone() -> None:
    reward = make_reward("hard", -2)
    assert score(0.8, [50], [target(100)], reward) == 0.8
    assert score(0.8, [200], [target(100)], reward) == pytest.approx(0.2)


def test_no_target_leaves_the_accuracy() -> None:
    for name in _REWARDS:
        assert score(0.7, [], [], make_reward(name)) == 0.7


def test_a_cost_without_its_target_is_a_mistake_and_not_a_score() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score(0.7, [1.0, 2.0], [target(1)], make_reward("soft"))


_ACCURACIES = st.floats(0.01, 1)
_COSTS = st.floats(1e3, 1e10)
_WEIGHTS = st.floats(-5, -1e-3)


@given(st.sampled_from(_REWARDS), _ACCURACIES, _ACCURACIES, _COSTS, _COSTS)
def test_more_accurate_at_the_same_cost_is_better(name: str, a: float, b: float, cost: float, limit: float) -> None:
    assume(a < b)
    reward = make_reward(name)
    assert score(a, [cost], [target(limit)], reward) <= score(b, [cost], [target(limit)], reward)


@given(st.sampled_from(_REWARDS), _WEIGHTS, _ACCURACIES, _COSTS, _COSTS, _COSTS)
def test_dearer_above_the_target_is_never_better(
    name: str, w: float, accuracy: float, limit: float, one: float, two: float
) -> None:
    low, high = limit + min(one, two), limit + max(one, two)
    reward = make_reward(name, w)
    assert score(accuracy, [high], [target(limit)], reward) <= score(accuracy, [low], [target(limit)], reward)


@given(_WEIGHTS, _ACCURACIES, _COSTS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_below_the_target_soft_goes_on_paying_hard_is_flat_and_absolute_pulls_back(
    w: float, accuracy: float, limit: float, one: float, two: float
) -> None:
    low, high = sorted((one * limit, two * limit))

    def gain(name: str) -> float:
        cheap, dear = (score(accuracy, [cost], [target(limit)], make_reward(name, w)) for cost in (low, high))
        return cheap - dear

    assert gain("soft") >= 0
    assert gain("hard") == 0
    assert gain("absolute") <= 0


@given(st.sampled_from(_REWARDS), _WEIGHTS, _ACCURACIES, _COSTS, st.floats(0.1, 10), st.floats(0.01, 1000))
def test_the_unit_of_cost_and_target_does_not_matter(
    name: str, w: float, accuracy: float, limit: float, ratio: float, unit: float
) -> None:
    assume(abs(ratio - 1) > 1e-6)
    reward = make_reward(name, w)
    here = score(accuracy, [ratio * limit], [target(limit)], reward)
    there = score(accuracy, [ratio * limit * unit], [target(limit * unit)], reward)
    assert here == pytest.approx(there, rel=1e-6, abs=1e-9)


@given(_ACCURACIES, _COSTS, _WEIGHTS)
def test_on_the_target_every_reward_is_the_accuracy(accuracy: float, limit: float, w: float) -> None:
    for name in _REWARDS:
        assert score(accuracy, [limit], [target(limit)], make_reward(name, w)) == accuracy


@pytest.mark.parametrize("w", [0.07, 1, 1e-9, -100.1, -inf, inf, nan])
@pytest.mark.parametrize("name", _REWARDS)
def test_a_w_that_would_pay_for_missing_the_target_is_refused(name: str, w: float) -> None:
    with pytest.raises(TargetError, match="w is") as caught:
        make_reward(name, w)
    assert "-0.07" in caught.value.remedy


@pytest.mark.parametrize("name", ["", "Soft", "reward", "softer"])
def test_an_unknown_objective_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(TargetError, match="has no reward") as caught:
        make_reward(name)
    assert all(known in caught.value.remedy for known in OBJECTIVES if known != PARETO)


def test_a_front_of_costs_has_no_single_reward() -> None:
    with pytest.raises(TargetError, match=PARETO):
        make_reward(PARETO)


@pytest.mark.parametrize("name", _REWARDS)
def test_the_band_is_under_the_first_target_and_the_others_are_ceilings(name: str) -> None:
    found = limits([target(400), target(5)], band=0.85, objective=name)
    assert found == Limits((340, 0), (400, 5))


def test_a_front_of_costs_has_ceilings_alone() -> None:
    assert limits([target(400), target(5)], band=0.85, objective=PARETO) == Limits((0, 0), (400, 5))


def test_no_band_lets_everything_below_in() -> None:
    assert limits([target(400)], band=0, objective="soft") == Limits((0,), (400,))


def test_no_target_has_no_limits() -> None:
    assert limits([], band=0.85, objective="soft") == Limits((), ())


@pytest.mark.parametrize("band", [-0.1, 1, 1.5, 85, nan, inf, -inf])
def test_a_band_that_is_no_share_is_refused(band: float) -> None:
    with pytest.raises(TargetError, match="band is") as caught:
        limits([target(400)], band=band, objective="soft")
    assert "0 to below 1" in caught.value.remedy
