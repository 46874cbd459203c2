"""The model of accuracy against the equations of its textbook, solved otherwise, and against data drawn from it."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from nas.cost.analytic import COUNTED
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.surrogate import (
    LEAST_ERROR,
    LEAST_NOISE,
    SHARPNESS,
    START,
    UPDATES,
    Surrogate,
    Terms,
    condition,
    find_weights,
    fit_weights,
    log_expected_improvement,
    to_accuracy,
    to_level,
)
from nas.space.files import find_space
from tests.search.fakes import make_space

SPACES = {name: find_space(name) for name in ("nasbench_macro", "mnasnet")} | {"tiny": make_space()}
ENCODERS = {name: Encoder(space, COUNTED) for name, space in SPACES.items()}
every_space = pytest.mark.parametrize("name", ENCODERS)
ACCURACIES = st.floats(0, 1)


@given(accuracy=ACCURACIES)
def test_levels_are_accuracies_again(accuracy: float) -> None:
    assert float(to_accuracy(to_level(np.array(accuracy)))) == pytest.approx(accuracy, abs=1e-12)


@given(level=st.floats(-0.001, 6.2))
def test_accuracies_are_levels_again(level: float) -> None:
    assert float(to_level(to_accuracy(np.array(level)))) == pytest.approx(level, abs=1e-10)


@given(one=ACCURACIES, other=ACCURACIES)
def test_the_higher_the_better(one: float, other: float) -> None:
    low, high = sorted([one, other])
    levels = to_level(np.array([low, high]))
    assert levels[0] <= levels[1]
    assert high - low < 1e-9 or levels[0] < levels[1]


def test_halving_the_errors_counts_alike_everywhere() -> None:
    errors = np.array([0.8, 0.4, 0.2, 0.1, 0.05])
    assert np.diff(to_level(1 + LEAST_ERROR - errors)) == pytest.approx([np.log(2)] * 4)


# Means, spreads and accuracies as they occur, and some far off.
GAINS = [(m, s, a) for m in (-0.2, 0.5, 2.3, 4.5) for s in (0.02, 0.3, 1.5) for a in (0.0, 0.4, 0.9, 0.985, 1.0)]


def acquisition(mean: float, spread: float, accuracy: float) -> float:
    return float(np.exp(log_expected_improvement(np.array([mean]), np.array([spread]), np.array([accuracy])))[0])


@pytest.mark.parametrize(("mean", "spread", "accuracy"), GAINS)
def test_the_expected_gain_is_its_integral(mean: float, spread: float, accuracy: float) -> None:
    def integrand(level: float) -> float:
        reached = 1 + LEAST_ERROR - np.exp(-level)
        return float(max(reached - accuracy, 0) * norm.pdf(level, mean, spread))

    kink = -np.log(1 + LEAST_ERROR - accuracy)
    low, high = mean - 12 * spread, mean + 12 * spread
    points = [float(np.clip(kink, low, high)), mean]
    exact, _ = quad(integrand, low, high, points=points, limit=400, epsabs=1e-13)
    assert acquisition(mean, spread, accuracy) == pytest.approx(exact, rel=1e-7, abs=1e-11)


@pytest.mark.parametrize(("mean", "spread", "accuracy"), GAINS)
def test_the_expected_gain_is_the_mean_of_many_draws(mean: float, spread: float, accuracy: float) -> None:
    levels = np.random.default_rng(0).normal(mean, spread, 100_000)
    improvements = np.maximum(1 + LEAST_ERROR - np.exp(-levels) - accuracy, 0)
    assert acquisition(mean, spread, accuracy) == pytest.approx(
        improvements.mean(), abs=4.5 * improvements.std() / 100_000**0.5 + 1e-6
    )


@given(mean=st.floats(0, 6), accuracy=ACCURACIES)
def test_what_is_certain_gains_its_difference(mean: float, accuracy: float) -> None:
    certain = max(float(to_accuracy(np.array(mean))) - accuracy, 0)
    assert acquisition(mean, 1e-7, accuracy) == pytest.approx(certain, abs=1e-6)


@given(mean=st.floats(-1, 8), spread=st.floats(1e-4, 5), beyond=st.floats(0, 1))
def test_what_cannot_be_reached_is_no_gain(mean: float, spread: float, beyond: float) -> None:
    assert acquisition(mean, spread, 1 + LEAST_ERROR + beyond) == 0
    assert acquisition(mean, spread, 1 + LEAST_ERROR - 1e-9) == pytest.approx(0, abs=1e-9)


@given(mean=st.floats(-0.5, 6), spread=st.floats(1e-3, 3), accuracy=ACCURACIES, more=st.floats(0.01, 1))
def test_a_gain_grows_with_mean_and_lower_aims_and_is_never_below_zero(
    mean: float, spread: float, accuracy: float, more: float
) -> None:
    base = acquisition(mean, spread, accuracy)
    assert base >= 0
    assert acquisition(mean + more, spread, accuracy) >= base - 1e-12
    assert acquisition(mean, spread, accuracy - more) >= base - 1e-12
    # Jensen: no less than what its mean gains.
    expected = 1 + LEAST_ERROR - np.exp(min(spread**2 / 2 - mean, 50.0))
    assert base >= max(expected - accuracy, 0) - 1e-9


# ---------------------------------------------------------------------------------------------------------------
# The kernel and the process, independently: fields as numbers, loops and plain solving.


def labels_of(encoder: Encoder, codes: Codes) -> tuple[Floats, list[tuple[int, int]]]:
    """`(N, fields)`, which value each field has, and the place and the name of each."""
    places = [m for i, m in enumerate(encoder.groups) if not any((m & k).any() for k in encoder.groups[:i])]
    names = encoder.groups[len(places) :]
    owners = [(p, n) for p, place in enumerate(places) for n, name in enumerate(names) if (place & name).any()]
    labels = [codes.values[:, places[p] & names[n]].argmax(axis=1) for p, n in owners]
    return np.stack(labels, axis=1).astype(float), owners


def kernels(encoder: Encoder, left: Codes, right: Codes) -> list[Floats]:
    """Every term, as the module says what it is."""
    ours, owners = labels_of(encoder, left)
    theirs, _ = labels_of(encoder, right)
    same = ours[:, None, :] == theirs[None, :, :]
    by_place = [[i for i, (p, _) in enumerate(owners) if p == place] for place in sorted({p for p, _ in owners})]
    by_name = [[i for i, (_, n) in enumerate(owners) if n == name] for name in sorted({n for _, n in owners})]
    equal = same.mean(axis=2)
    apart = ((left.figures[:, None, :] - right.figures[None, :, :]) ** 2).mean(axis=2)
    product = (left.figures[:, None, :] * right.figures[None, :, :]).mean(axis=2)
    return [
        *(same[:, :, own].mean(axis=2) for own in (*by_place, *by_name)),
        np.ones_like(equal),
        np.exp(-SHARPNESS * (1 - equal)),
        np.exp(-apart / 2),
        product,
    ]


def weighted(weights: Floats, terms: Sequence[Floats]) -> Floats:
    return np.asarray(sum(w * t for w, t in zip(weights, terms, strict=True)))


def standard(codes: Codes, by: Codes) -> Codes:
    return Codes(codes.values, (codes.figures - by.figures.mean(axis=0)) / by.figures.std(axis=0))


def drawn(name: str, count: int, seed: int = 0) -> Codes:
    return ENCODERS[name].encode(SPACES[name].sample(np.random.default_rng(seed), count))


def some_weights(encoder: Encoder, seed: int = 0, noise: float = 0.2) -> Floats:
    """Parts of variance that sum to 1, a part of the noise at the end."""
    parts = np.random.default_rng(seed).dirichlet(np.ones(len(encoder.groups) + 4))
    return np.append((1 - noise) * parts, noise)


@every_space
def test_terms_are_what_they_are_said_to_be(name: str) -> None:
    encoder, left, right = ENCODERS[name], drawn(name, 12), drawn(name, 9, 1)
    left, right = standard(left, left), standard(right, left)
    terms = Terms(encoder, left, right).all()
    for own, expected in zip(terms, kernels(encoder, left, right), strict=True):
        assert own == pytest.approx(expected, abs=1e-12)


@every_space
@pytest.mark.parametrize("seed", range(3))
def test_weighing_is_the_weighted_sum_of_all_terms(name: str, seed: int) -> None:
    encoder = ENCODERS[name]
    terms = Terms(encoder, drawn(name, 7, seed), drawn(name, 11, seed + 10))
    weights = some_weights(encoder, seed)[:-1]
    assert terms.weigh(weights) == pytest.approx(weighted(weights, terms.all()), rel=1e-12, abs=1e-12)
    nothing = Terms(encoder, drawn(name, 0), drawn(name, 4))
    assert nothing.weigh(weights).shape == (0, 4)


@every_space
def test_every_term_is_a_covariance_with_a_diagonal_of_mean_1(name: str) -> None:
    codes = drawn(name, 60)
    codes = standard(codes, codes)
    for term in Terms(ENCODERS[name], codes, codes).all():
        assert np.linalg.eigvalsh(term).min() > -1e-9
        assert np.diag(term).mean() == pytest.approx(1)
        assert term == pytest.approx(term.T)


@cache
def read(name: str, count: int, seed: int) -> tuple[Codes, Floats, Floats]:
    """Codes, levels of made-up readings and weights."""
    levels = to_level(np.random.default_rng(seed + 50).uniform(0.3, 0.95, count))
    return drawn(name, count, seed), levels, some_weights(ENCODERS[name], seed)


def posterior(name: str, seed: int, asked: Codes) -> tuple[Floats, Floats]:
    """Rasmussen and Williams 2006, equations 2.25 and 2.26."""
    encoder = ENCODERS[name]
    codes, levels, weights = read(name, 25, seed)
    own, asked = standard(codes, codes), standard(asked, codes)
    covariance = weighted(weights[:-1], kernels(encoder, own, own)) + (weights[-1] + LEAST_NOISE) * np.eye(25)
    cross = weighted(weights[:-1], kernels(encoder, asked, own))
    prior = weighted(weights[:-1], kernels(encoder, asked, asked))
    values = (levels - levels.mean()) / levels.std()
    mean = cross @ np.linalg.solve(covariance, values)
    variance = np.diag(prior - cross @ np.linalg.solve(covariance, cross.T))
    return levels.mean() + levels.std() * mean, levels.std() * np.sqrt(variance)


def model_of(name: str, seed: int, count: int = 25) -> Surrogate:
    codes, levels, weights = read(name, count, seed)
    return condition(ENCODERS[name], codes, levels, weights)


@every_space
@pytest.mark.parametrize("seed", range(3))
def test_predictions_are_those_of_the_textbook(name: str, seed: int) -> None:
    asked = drawn(name, 40, 100 + seed) + read(name, 25, seed)[0]
    mean, spread = model_of(name, seed).predict(asked)
    expected, deviation = posterior(name, seed, asked)
    assert mean == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert spread == pytest.approx(deviation, rel=1e-6, abs=1e-7)


@every_space
@pytest.mark.parametrize("seed", range(3))
def test_what_was_read_is_expected_to_be_its_mean_under_a_joint_gaussian(name: str, seed: int) -> None:
    """Reading = truth + noise, both from independent sources; truth and reading are jointly normal."""
    codes, levels, weights = read(name, 25, seed)
    own = standard(codes, codes)
    sources, one, nothing = np.zeros((50, 50)), np.eye(25), np.zeros((25, 25))
    sources[:25, :25] = weighted(weights[:-1], kernels(ENCODERS[name], own, own))
    sources[25:, 25:] = (weights[-1] + LEAST_NOISE) * one
    made = np.block([[one, nothing], [one, one]])
    joint = made @ sources @ made.T
    values = (levels - levels.mean()) / levels.std()
    truth = levels.mean() + levels.std() * (joint[:25, 25:] @ np.linalg.solve(joint[25:, 25:], values))
    assert model_of(name, seed).predict(codes)[0] == pytest.approx(truth, rel=1e-8, abs=1e-8)


def test_without_noise_readings_are_believed_and_with_nothing_else_they_are_not() -> None:
    codes, levels, weights = read("nasbench_macro", 25, 0)
    # Values that the kernel can explain: those of random ones differ more between similar networks than it allows.
    own, truth, _ = draw("nasbench_macro", weights, 25, 0)
    exact = condition(ENCODERS["nasbench_macro"], own, truth, np.append(weights[:-1], 0.0))
    assert np.abs(exact.predict(own)[0] - truth).max() < 0.1 * truth.std()
    noisy = condition(ENCODERS["nasbench_macro"], codes, levels, np.append(0.001 * weights[:-1], 1000.0))
    assert noisy.predict(codes)[0] == pytest.approx(np.full(25, levels.mean()), abs=1e-3)


def test_readings_that_are_all_equal_are_predicted() -> None:
    codes, levels = drawn("tiny", 8), to_level(np.full(8, 0.7))
    model = condition(ENCODERS["tiny"], codes, levels, fit_weights(ENCODERS["tiny"], codes, levels))
    mean, spread = model.predict(drawn("tiny", 20, 5))
    assert to_accuracy(mean) == pytest.approx(np.full(20, 0.7))
    assert np.isfinite(spread).all()
    assert to_accuracy(model.predict(codes)[0]) == pytest.approx(np.full(8, 0.7))


def test_the_same_architecture_read_many_times_can_be_learnt() -> None:
    codes = drawn("tiny", 1)[np.zeros(30, dtype=np.intp)]
    levels = to_level(np.random.default_rng(0).normal(0.6, 0.02, 30))
    model = condition(ENCODERS["tiny"], codes, levels, fit_weights(ENCODERS["tiny"], codes, levels))
    assert model.predict(codes[:1])[0][0] == pytest.approx(levels.mean(), abs=0.01)


# ---------------------------------------------------------------------------------------------------------------
# Finding the weights.


def log_likelihood(terms: Sequence[Floats], weights: Floats, values: Floats) -> float:
    covariance = weighted(weights, [*terms, np.eye(len(values))]) + LEAST_NOISE * np.eye(len(values))
    _, log_det = np.linalg.slogdet(covariance)
    return float(-0.5 * (values @ np.linalg.solve(covariance, values) + log_det + len(values) * np.log(2 * np.pi)))


def draw(name: str, weights: Floats, count: int, seed: int, held_out: int = 0) -> tuple[Codes, Floats, Floats]:
    """Architectures, a function over them, drawn from the model, and noisy readings of it."""
    rng, encoder = np.random.default_rng(seed), ENCODERS[name]
    codes = drawn(name, count + held_out, 1000 + seed)
    own = standard(codes, codes[:count])
    covariance = weighted(weights[:-1], Terms(encoder, own, own).all())
    truth = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance))) @ rng.normal(size=len(covariance))
    return codes, truth, truth + np.sqrt(weights[-1]) * rng.normal(size=len(truth))


def standardised_terms(name: str, codes: Codes) -> list[Floats]:
    own = standard(codes, codes)
    return Terms(ENCODERS[name], own, own).all()


def start_of(name: str, codes: Codes) -> Floats:
    return Terms(ENCODERS[name], codes, codes).start()


@every_space
@pytest.mark.parametrize("scores", [0, 2])
def test_updates_start_with_the_shares_of_each_kind_of_term(name: str, scores: int) -> None:
    encoder, codes = ENCODERS[name], drawn(name, 9)
    codes = Codes(codes.values, codes.figures, np.random.default_rng(0).normal(size=(9, scores)))
    terms = Terms(encoder, codes, codes)
    start, count = terms.start(), len(encoder.groups)
    assert len(start) == len(terms.all()) + 1
    ends = np.cumsum([count, 1, 1, 2, scores, 1])
    shares = dict(zip(START, np.split(start, ends[:-1]), strict=True))
    for kind, own in shares.items():
        assert own.sum() == pytest.approx(START[kind] if len(own) else 0)
        assert np.ptp(own) == 0 if len(own) else kind == "scores"


def test_updates_start_with_their_shares_of_what_is_not_known_to_be_noise() -> None:
    codes = drawn("tiny", 9)
    terms, start = standardised_terms("tiny", codes), start_of("tiny", codes)
    values = np.random.default_rng(0).normal(size=9)
    assert find_weights(terms, values, start, 0) == pytest.approx(start)
    known = np.linspace(0.1, 0.5, 9)
    assert find_weights(terms, values, start, 0, known) == pytest.approx(start * (1 - 0.3))
    assert find_weights(terms, values, start, 0, 3.0) == pytest.approx(start * 0.05)


@every_space
@pytest.mark.parametrize("noise", [0.05, 0.6])
def test_no_update_makes_the_values_less_likely(name: str, noise: float) -> None:
    codes, _, values = draw(name, some_weights(ENCODERS[name], 3, noise), 50, 3)
    values = (values - values.mean()) / values.std()
    terms = standardised_terms(name, codes)
    start = start_of(name, codes)
    courses = [find_weights(terms, values, start, updates) for updates in range(UPDATES + 1)]
    likelihoods = [log_likelihood(terms, weights, values) for weights in courses]
    assert (np.diff(likelihoods) > -1e-9).all()
    assert likelihoods[-1] > likelihoods[0]
    assert all((weights > 0).all() for weights in courses)


# Without a constant, which standardising takes away.
def truth_weights(name: str, noise: float) -> Floats:
    parts = np.zeros(len(ENCODERS[name].groups) + 4)
    count = len(ENCODERS[name].groups)
    parts[:count] = 0.6 / count
    parts[[count + 1, count + 2]] = 0.4 / 2
    return np.append((1 - noise) * parts, noise)


@pytest.mark.parametrize(
    ("name", "seeds", "mean", "most"),
    [("nasbench_macro", 5, 0.06, 0.25), pytest.param("mnasnet", 8, 0.13, 0.3, marks=pytest.mark.slow)],
)
def test_the_share_of_noise_is_found_again(name: str, seeds: int, mean: float, most: float) -> None:
    """Of 150 readings the share of noise in their variance, updated to the end; mnasnet has as many columns.

    Random networks of mnasnet differ in so many fields that the term of all fields together is nearly as independent
    from one to another as noise is, so that only the sum of both can be found there.
    """
    found, joint = [], len(ENCODERS[name].groups) + 1
    alike = [joint, -1] if name == "mnasnet" else [-1]
    for noise in (0.1, 0.3, 0.6):
        errors = []
        for seed in range(seeds):
            codes, truth, values = draw(name, truth_weights(name, noise), 150, seed)
            figures = (codes.figures - codes.figures.mean(axis=0)) / codes.figures.std(axis=0)
            own = Codes(codes.values, figures)
            terms = Terms(ENCODERS[name], own, own).all()
            weights = find_weights(terms, (values - values.mean()) / values.std(), start_of(name, codes), 40)
            unlike = truth_weights(name, noise)[joint] if name == "mnasnet" else 0.0
            errors.append(weights[alike].sum() - ((values - truth).var() + unlike) / values.var())
        assert abs(np.mean(errors)) < mean
        assert np.abs(errors).max() < most
        found.append(errors)
    assert abs(np.mean(found)) < mean / 2


def binomial_bounds(share: float, count: int) -> tuple[float, float]:
    """Between these it is in all but one of some 10,000 cases."""
    margin = 3.9 * np.sqrt(share * (1 - share) / count)
    return share - margin, share + margin


@pytest.mark.parametrize("name", ["nasbench_macro", "mnasnet"])
def test_weights_found_from_few_readings_are_not_too_sure_of_themselves(name: str) -> None:
    within = []
    for seed in range(8):
        codes, truth, values = draw(name, truth_weights(name, 0.2), 200, seed)
        read, others = np.arange(50), np.arange(50, 200)
        model = condition(
            ENCODERS[name], codes[read], values[read], fit_weights(ENCODERS[name], codes[read], values[read])
        )
        mean, spread = model.predict(codes[others])
        off = np.abs(mean - truth[others]) / spread
        within.append(((off < 1).mean(), (off < 2).mean()))
    one, two = np.mean(within, axis=0)
    assert 0.58 < one < 0.8
    assert 0.89 < two < 0.99


@pytest.mark.parametrize("name", ["nasbench_macro", "mnasnet"])
@pytest.mark.parametrize("readings", [12, 50])
def test_truths_lie_within_the_spread_as_often_as_they_should(name: str, readings: int) -> None:
    """One held-out architecture a draw, so that they are independent; the weights are those of the draws."""
    weights, scores = truth_weights(name, 0.3), []
    for seed in range(300):
        codes, truth, values = draw(name, weights, readings, seed, held_out=1)
        own = weights / values[:readings].var()  # the model's values are standardised
        mean, spread = condition(ENCODERS[name], codes[:readings], values[:readings], own).predict(codes[readings:])
        scores.append(abs(truth[-1] - mean[0]) / spread[0])
    for within, share in ((1, 0.6827), (2, 0.9545)):
        low, high = binomial_bounds(share, len(scores))
        assert low <= (np.array(scores) < within).mean() <= high
