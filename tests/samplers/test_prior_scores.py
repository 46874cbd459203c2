"""Scores of a cheap evaluator: only their order counts, and only as far as the accuracies are evidence of them."""

import attrs
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from nas.cost.analytic import COUNTED
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.prior_scores import PriorScores, fit_with_scores
from nas.samplers.surrogate import LEAST_NOISE, Terms, condition, fit_weights, log_likelihood
from nas.samplers.trial_arrays import History
from nas.search.sampler_factory import make_ranker
from nas.search.screening import Screened
from nas.search.settings import Settings
from nas.space.files import find_space
from tests.search.fakes import cost_range_of

MACRO = find_space("nasbench_macro")
BAND = cost_range_of(MACRO, "flops=80M")
ENCODER = Encoder(MACRO, COUNTED)
INDICES: ChoiceIndices = MACRO.sample(np.random.default_rng(0), 90)
RNG = np.random.default_rng(5)
EFFECTS = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 3))


def sums(which: int, indices: ChoiceIndices = INDICES) -> Floats:
    values = EFFECTS[which][np.arange(8), indices].sum(axis=1)
    return np.asarray((values - values.mean()) / values.std())


def codes_with(scores: Floats) -> Codes:
    return attrs.evolve(ENCODER.encode(INDICES), prior_scores=scores[:, None])


def test_only_the_order_of_scores_counts() -> None:
    plain, curved = (PriorScores(ENCODER, INDICES, values) for values in (sums(0), np.exp(5 * sums(0))))
    codes = ENCODER.encode(INDICES[:10])
    assert plain.predict(codes) == pytest.approx(curved.predict(codes))
    assert plain.best().tolist() == curved.best().tolist() == INDICES[np.argsort(-sums(0), kind="stable")].tolist()


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    codes, levels = codes_with(sums(1)), sums(0)
    known = np.linspace(0.01, 0.2, 90)
    found, expected = [], []
    for size in (0.02, 0.05):
        weights = np.full(len(Terms(ENCODER, codes, codes).all()) + 1, size)
        own = condition(ENCODER, codes, levels, weights, known)
        covariance = Terms(ENCODER, own.codes, own.codes).weigh(weights[:-1])
        covariance += np.diag(size + LEAST_NOISE + known / levels.std() ** 2)
        values = (levels - levels.mean()) / levels.std()
        expected.append(multivariate_normal(np.zeros(90), covariance).logpdf(values))
        found.append(log_likelihood(ENCODER, codes, levels, weights, known))
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-6)


def test_a_useless_score_has_no_weight_and_a_perfect_one_much() -> None:
    levels = RNG.normal(size=90)  # nothing but a score can tell of them
    useless, perfect = (fit_with_scores(ENCODER, codes_with(own), levels) for own in (RNG.normal(size=90), levels))
    assert useless[-2] < 0.01 * useless.sum()
    assert perfect[-2] > 0.3 * perfect.sum()


def test_the_model_with_a_useless_score_is_that_without() -> None:
    levels = sums(0)
    weights = fit_with_scores(ENCODER, codes_with(np.random.default_rng(3).normal(size=90)), levels)
    plain = fit_weights(ENCODER, ENCODER.encode(INDICES), levels)
    assert np.delete(weights, -2) == pytest.approx(plain, abs=0.2 * plain.max())
    mean = condition(ENCODER, codes_with(np.zeros(90)), levels, weights).predict(codes_with(np.zeros(90)))[0]
    own = condition(ENCODER, ENCODER.encode(INDICES), levels, plain).predict(ENCODER.encode(INDICES))[0]
    assert mean == pytest.approx(own, abs=0.05)


def first_suggested(scored: Screened | None, seed: int) -> ChoiceIndices:
    ranker = make_ranker(BAND, Settings(BAND.targets, objective="hard"), COUNTED, None, scored)
    empty = History(INDICES[:0], np.zeros(0), np.zeros(0, dtype=bool))
    return ranker.rank(empty, np.random.default_rng(seed))


def test_the_first_suggestions_are_of_the_best_scored_networks_and_their_offspring() -> None:
    networks = MACRO.sample(np.random.default_rng(1), 1000)
    inside = networks[BAND.excess(networks) == 0][:60]
    raw = EFFECTS[0][np.arange(8), inside].sum(axis=1)
    plain, screened = (first_suggested(scored, 0) for scored in (None, Screened(inside, raw)))

    def mean(found: ChoiceIndices) -> float:
        return float(EFFECTS[0][np.arange(8), found[:5]].sum(axis=1).mean())

    assert mean(screened) > np.quantile(raw, 0.9)
    assert mean(screened) > mean(plain) + raw.std()
