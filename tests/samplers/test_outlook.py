"""What is expected of a search: against the normal distribution, and against draws of another kind."""

import numpy as np
import pytest
from attrs import evolve
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from nas.cost.analytic import COUNTED
from nas.objective import make_reward
from nas.samplers.acquisition import ScoreImprovement
from nas.samplers.encoding import Encoder
from nas.samplers.outlook import DRAWS, GAIN, LEAST, draw_gains, summarize
from nas.samplers.surrogate import condition, fit_weights, to_accuracy, to_level
from nas.samplers.trial_arrays import History
from nas.space.files import find_space
from tests.samplers.test_ranking import MACRO, MNASNET, TINY, history_of, suggester_of

HARD = ScoreImprovement(make_reward("hard"), MACRO.targets)
LIMITS = [target.limit for target in MACRO.targets]


def costs(count: int, share: float = 1.0) -> np.ndarray:
    return np.full((count, 1), share * LIMITS[0])


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.2])
def test_one_candidate_against_a_sure_network_has_the_tail_of_the_normal_distribution(mean: float) -> None:
    best, spread = float(to_level(np.array(0.9))), 0.1
    gains = draw_gains(np.array([best, best + mean]), np.diag([0, spread**2]), costs(2), HARD)
    bar = float(to_level(np.array(0.9 + GAIN)))
    exact = norm.sf(bar, best + mean, spread)
    found = summarize(gains, 30)
    assert found.chance == pytest.approx(exact, abs=4 * (exact * (1 - exact) / DRAWS) ** 0.5)

    def gain(level: float) -> float:
        return float((to_accuracy(np.array(level)) - 0.9) * norm.pdf(level, best + mean, spread))

    expected = quad(gain, best, best + 1)[0]
    assert found.expected_gain == pytest.approx(expected, rel=0.08)
    assert (found.gain, found.trials) == (GAIN, 30)


def test_the_uncertainty_of_the_best_known_network_counts() -> None:
    level = float(to_level(np.array(0.9)))
    both = draw_gains(np.array([level, level]), np.eye(2) * 0.04, costs(2), HARD)
    # The difference of two independent levels has twice the variance of each. So near 0, a gain is a difference.
    bar = GAIN / (1 - 0.9)
    assert (both > GAIN).mean() == pytest.approx(norm.sf(bar, 0, 0.08**0.5), abs=0.03)
    together = draw_gains(np.array([level, level]), np.full((2, 2), 0.04), costs(2), HARD)
    assert abs(together).max() < 1e-9


@pytest.mark.parametrize("correlation", [0.0, 0.7, 0.99])
def test_correlated_candidates_have_the_chance_of_their_joint_distribution(correlation: float) -> None:
    count, spread, shift = 6, 0.05, -0.06
    within = spread**2 * (correlation + (1 - correlation) * np.eye(count))
    best = float(to_level(np.array(0.9)))
    covariance = np.zeros((count + 1, count + 1))
    covariance[1:, 1:] = within
    gains = draw_gains(np.append(best, np.full(count, best + shift)), covariance, costs(count + 1), HARD)
    bar = float(to_level(np.array(0.9 + GAIN))) - best - shift
    # By numerical integration of the joint distribution, without draws.
    exact = 1 - multivariate_normal(np.zeros(count), within, allow_singular=True).cdf(np.full(count, bar))
    assert (gains > GAIN).mean() == pytest.approx(exact, abs=0.02)


def test_a_cheaper_candidate_counts_by_its_score() -> None:
    soft = ScoreImprovement(make_reward("soft"), MACRO.targets)
    level = to_level(np.array([0.8, 0.8]))
    gains = draw_gains(level, np.zeros((2, 2)), np.concatenate([costs(1), costs(1, 0.5)]), soft)
    assert gains == pytest.approx(0.8 * (0.5**-0.07 - 1))  # equation 2 of MnasNet


def test_the_joint_distribution_agrees_with_single_predictions_and_with_conditioning() -> None:
    encoder = Encoder(find_space("nasbench_macro"), COUNTED)
    history = history_of(MACRO, 40)
    codes = encoder.encode(history.indices)
    known, new = slice(0, 30), slice(30, 40)
    levels = to_level(history.accuracies)
    weights = fit_weights(encoder, codes[known], levels[known])
    model = condition(encoder, codes[known], levels[known], weights)
    mean, covariance = model.joint(codes[new])
    assert mean == pytest.approx(model.predict(codes[new])[0])
    assert np.sqrt(covariance.diagonal()) == pytest.approx(model.predict(codes[new])[1])
    assert covariance == pytest.approx(covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > -1e-8
    # One more measurement without noise of the first network removes what the covariance with it explains.
    left = covariance[1:, 1:] - np.outer(covariance[0, 1:], covariance[0, 1:]) / covariance[0, 0]
    assert (left.diagonal() <= covariance.diagonal()[1:] + 1e-12).all()


@pytest.mark.parametrize("band", [MACRO, MNASNET])
def test_the_same_history_gives_the_same_outlook_and_running_trials_are_not_known(band: object) -> None:
    history = history_of(band, 30, failed=2, running=3)  # type: ignore[arg-type]
    first, second = (
        suggester_of(band).outlook(history, np.random.default_rng(0))  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first is not None
    assert first == second
    assert 0 <= first.chance <= 1
    assert first.expected_gain >= 0
    assert first.trials == 32


def test_nothing_is_said_where_the_model_cannot_say_it() -> None:
    rng, ranker = np.random.default_rng(0), suggester_of(MACRO)
    enough = history_of(MACRO, LEAST)
    assert ranker.outlook(enough, rng) is not None
    assert suggester_of(MACRO, "pareto").outlook(enough, rng) is None
    assert ranker.outlook(history_of(MACRO, LEAST - 1), rng) is None
    assert ranker.outlook(history_of(MACRO, 5, failed=LEAST), rng) is None
    assert ranker.outlook(evolve(enough, accuracies=np.full(LEAST, 0.5)), rng) is None


def test_nothing_is_said_where_every_network_was_evaluated() -> None:
    every: History = history_of(TINY, 10_000)
    assert len(every.accuracies) >= LEAST
    assert suggester_of(TINY).outlook(every, np.random.default_rng(0)) is None
