"""What candidates may be worth, against plain averages of scores and of areas."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from nas.cost.target import parse_target
from nas.objective import make_reward, score
from nas.samplers.acquisition import FrontImprovement, Known, ScoreImprovement, steps
from nas.samplers.encoding import Floats
from nas.samplers.surrogate import LEAST_ERROR, log_expected_improvement

TARGETS = (parse_target("flops=100M"), parse_target("params=5M"))
DRAWS = 4000
KNOWN = np.array([0.62, 0.71, 0.66, 0.74, 0.69])
# Costs of five known networks and of four candidates: MACs and parameters, some above their targets.
COSTS = np.array([[92e6, 3e6], [99e6, 4.9e6], [95e6, 2e6], [100e6, 6e6], [91e6, 5e6]])
CANDIDATES = np.array([[90e6, 2.5e6], [100e6, 5e6], [97e6, 6.5e6], [104e6, 1e6]])
MEANS = np.array([0.9, 1.3, 1.6, 1.1])
SPREADS = np.array([0.4, 0.05, 0.25, 0.8])


def draws_of(mean: float, spread: float, count: int = DRAWS) -> Floats:
    """Accuracies, evenly over their distribution: an average over them is off by little more than 1 / count."""
    levels = norm.ppf((np.arange(count) + 0.5) / count, mean, spread)
    return np.asarray(1 + LEAST_ERROR - np.exp(-levels))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("name", "w"), [("soft", None), ("hard", None), ("absolute", None), ("soft", -0.5)])
def test_a_score_is_the_objectives(name: str, w: float | None, count: int) -> None:
    reward, targets = make_reward(name, w), TARGETS[:count]
    expected = [score(a, c[:count].tolist(), targets, reward) for a, c in zip(KNOWN, COSTS, strict=True)]
    assert ScoreImprovement(reward, targets).score(KNOWN, COSTS[:, :count]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("name", "w"), [("soft", None), ("hard", None), ("absolute", None), ("absolute", -1.0)])
def test_the_expected_improvement_is_the_mean_improvement_of_the_score(name: str, w: float | None, count: int) -> None:
    reward, targets = make_reward(name, w), TARGETS[:count]
    scored = np.vectorize(lambda a, *costs: score(a, costs, targets, reward))
    best = max(scored(KNOWN, *COSTS[:, :count].T))
    expected = [
        np.maximum(scored(draws_of(mean, spread, 800), *costs[:count]) - best, 0).mean()
        for mean, spread, costs in zip(MEANS, SPREADS, CANDIDATES, strict=True)
    ]
    acquisition = ScoreImprovement(reward, targets)
    found = acquisition.log_expect(MEANS, SPREADS, CANDIDATES[:, :count], Known(KNOWN, COSTS[:, :count]))
    assert np.exp(found) == pytest.approx(expected, rel=0.02, abs=2e-4)
    assert max(expected) > 0.01


def test_the_dearer_of_two_alike_promises_less() -> None:
    acquisition = ScoreImprovement(make_reward("soft"), TARGETS[:1])
    same = np.array([1.2, 1.2])
    found = acquisition.log_expect(same, 0.3 * same, np.array([[90e6], [100e6]]), Known(KNOWN, COSTS[:, :1]))
    assert found[0] > found[1] > -np.inf


def area(accuracies: Sequence[float], costs: Sequence[float], limit: float, low: float) -> float:
    """What is reached below the limit, above the lowest accuracy: all cells of a grid that some point covers."""
    columns = sorted({0.0, limit, *(c for c in costs if c < limit)})
    rows = sorted({low, *(a for a in accuracies if a > low)})
    return sum(
        (right - left) * (top - bottom)
        for left, right in pairwise(columns)
        for bottom, top in pairwise(rows)
        if any(a >= top and c <= left for a, c in zip(accuracies, costs, strict=True))
    )


def test_areas_are_counted_right() -> None:
    assert area([0.5], [2], 10, 0.1) == pytest.approx(8 * 0.4)
    assert area([0.5, 0.6, 0.4], [2, 4, 3], 10, 0.4) == pytest.approx(8 * 0.1 + 6 * 0.1)


@pytest.mark.parametrize("corner", [-np.inf, 0.55, 0.95])
@pytest.mark.parametrize("seed", range(4))
def test_the_expected_growth_of_the_front_is_the_mean_growth_of_its_area(seed: int, corner: float) -> None:
    rng = np.random.default_rng(seed)
    # Few different values, so that there are ties.
    accuracies, costs = rng.integers(4, 9, 8) / 10, rng.integers(1, 9, 8).astype(float)
    limit, low = 10.0, max(float(accuracies.min()), corner)
    own = rng.uniform(0, 11, 5)
    own[0] = costs[0]
    means, spreads = rng.uniform(0.3, 2.0, 5), rng.uniform(0.05, 0.8, 5)
    before = area(accuracies.tolist(), costs.tolist(), limit, low)
    expected = [
        np.mean(
            [
                area([*accuracies.tolist(), a], [*costs.tolist(), cost], limit, low) - before
                for a in draws_of(mean, spread, 250).tolist()
            ]
        )
        for mean, spread, cost in zip(means, spreads, own, strict=True)
    ]
    front, known = FrontImprovement(limit), Known(accuracies, costs[:, None], corner)
    found = np.exp(front.log_expect(means, spreads, own[:, None], known))
    assert found == pytest.approx(expected, rel=0.02, abs=5e-3)
    order = rng.permutation(8)
    again = front.log_expect(means, spreads, own[:, None], Known(accuracies[order], costs[order, None], corner))
    assert np.exp(again) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_growth_of_the_front_is_the_sum_of_each_step_times_its_width(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = Known(np.sort(rng.uniform(0.4, 0.8, 6)), np.sort(rng.uniform(1, 9, 6))[:, None])
    means, spreads, costs = rng.uniform(0.3, 2.0, 5), rng.uniform(0.05, 0.8, 5), rng.uniform(0, 9, 5)
    # The first step begins at cost 0 with the lowest accuracy, and the last one ends at the limit.
    edges, levels = [0.0, *known.costs[:, 0], 10.0], [known.accuracies[0], *known.accuracies]
    expected = np.zeros(5)
    for (start, end), level in zip(pairwise(edges), levels, strict=True):
        improvements = np.exp(log_expected_improvement(means, spreads, np.full(5, level)))
        expected += improvements * np.clip(end - np.maximum(start, costs), 0, None)
    found = FrontImprovement(10.0).log_expect(means, spreads, costs[:, None], known)
    assert np.exp(found) == pytest.approx(expected, rel=1e-10)


def test_candidates_far_behind_the_front_are_still_ordered() -> None:
    known = Known(np.array([0.8, 0.9]), np.array([[2.0], [5.0]]))
    means = np.linspace(0.1, 0.5, 9)
    found = FrontImprovement(6.0).log_expect(means, np.full(9, 0.01), np.full((9, 1), 1.0), known)
    assert (np.exp(found) == 0).all()  # too small for a number, but not for its logarithm
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def test_what_costs_more_than_the_limit_does_not_make_the_front_grow() -> None:
    known = Known(np.array([0.5, 0.7]), np.array([[2.0], [5.0]]))
    found = FrontImprovement(6.0).log_expect(
        np.array([3.0] * 3), np.array([0.5] * 3), np.array([[6.0], [6.1], [5.9]]), known
    )
    assert found[:2].tolist() == [-np.inf, -np.inf]
    assert found[2] > -np.inf


def test_the_front_is_a_staircase() -> None:
    starts, levels = steps(np.array([0.5, 0.7, 0.6, 0.6]), np.array([2.0, 5.0, 3.0, 4.0]))
    assert starts.tolist() == [0, 2, 3, 5]
    assert levels.tolist() == [0.5, 0.5, 0.6, 0.7]


def members(accuracies: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Whether each is on the front: no other is as cheap and better, or cheaper and as good; of equals the first."""
    points = list(zip(accuracies, costs, strict=True))
    return [
        not any((b >= a and d <= c and (b > a or d < c or j < i)) for j, (b, d) in enumerate(points))
        for i, (a, c) in enumerate(points)
    ]


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=9)


@given(points=POINTS)
def test_members_of_the_front_come_before_all_others(points: list[tuple[int, int]]) -> None:
    accuracies, costs = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    scores = FrontImprovement(10.0).score(accuracies / 10, costs[:, None])
    on_front = np.array(members(accuracies.tolist(), costs.tolist()))
    assert (scores[~on_front] <= 0).all()
    assert (scores[on_front] >= 0).all()
    # The cheapest is on the front however low it is.
    low = accuracies == accuracies.min()
    assert (scores[on_front & ~low] > 0).all()


@given(points=POINTS)
def test_members_of_the_front_and_no_others_have_a_score_above_zero(points: list[tuple[int, int]]) -> None:
    accuracies, costs = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    scores = FrontImprovement(10.0).score(accuracies / 10, costs[:, None])
    assert (scores > 0).tolist() == members(accuracies.tolist(), costs.tolist())
