"""Ranking what could be tried next: a pure function of what is known."""

from collections.abc import Callable
from itertools import pairwise

import attrs
import numpy as np
import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.cost.analytic import COUNTED
from nas.samplers import ranking as module
from nas.samplers.acquisition import FrontImprovement, Known
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.filtered import list_inside
from nas.samplers.ranking import MOST_MEASUREMENTS, CandidateRanker
from nas.samplers.skewness import POWERS
from nas.samplers.surrogate import LEAST_NOISE, Surrogate, Terms, condition, fit_weights, to_accuracy, to_level
from nas.samplers.trial_arrays import FIRST, MOST_FITTED, History, fitted_count
from nas.search.sampler_factory import make_ranker
from nas.search.settings import Settings
from nas.space.files import find_space
from tests.samplers.test_skewness import yeo_johnson
from tests.search.fakes import all_indices, cost_range_of, level, make_space

TINY = cost_range_of(make_space(), "flops=1.2M", band=0.5)
MACRO = cost_range_of(find_space("nasbench_macro"), "flops=80M")
MNASNET = cost_range_of(find_space("mnasnet"), "flops=300M", "params=5M")
BANDS = {"tiny": TINY, "nasbench_macro": MACRO, "mnasnet": MNASNET}
Ranked = tuple[History, ChoiceIndices]


def suggester_of(band: CostRange, objective: str = "soft") -> CandidateRanker:
    return make_ranker(band, Settings(band.targets, objective=objective), COUNTED, list_inside(band))


def picks_in(band: CostRange, count: int, seed: int = 0) -> ChoiceIndices:
    """So many different ones inside the band."""
    rng = np.random.default_rng(seed)
    listing = list_inside(band)
    if listing is not None:
        return np.asarray(listing[rng.permutation(len(listing))[:count]])
    found = [band.bring_in(row, rng) for row in band.space.sample(rng, 2 * count)]
    inside = np.array([row for row in found if row is not None], dtype=np.intp).reshape(-1, len(band.space.all_choices))
    return np.unique(inside, axis=0)[:count]


def history_of(band: CostRange, read: int, failed: int = 0, running: int = 0, seed: int = 0) -> History:
    indices = picks_in(band, read + failed + running, seed)
    accuracies = np.array([0.5 + 0.4 * level(band.space.from_indices(row.tolist())) for row in indices])
    order = np.random.default_rng(seed + 1).permutation(len(indices))
    accuracies[order[read:]] = np.nan
    ended = np.zeros(len(indices), dtype=bool)
    ended[order[read : read + failed]] = True
    return History(indices, accuracies, ended)


@pytest.mark.parametrize("objective", ["soft", "pareto"])
@pytest.mark.parametrize("name", BANDS)
@pytest.mark.parametrize("counts", [(0, 0, 0), (3, 2, 2), (12, 0, 0), (12, 4, 4)])
def test_the_same_history_and_random_state_give_the_same_ranks_and_nothing_is_changed(
    objective: str, name: str, counts: tuple[int, int, int]
) -> None:
    history = history_of(BANDS[name], *counts)
    before = History(history.indices.copy(), history.accuracies.copy(), history.failed.copy())
    ranker = suggester_of(BANDS[name], objective)
    listing = list_inside(BANDS[name])
    first = ranker.rank(history, np.random.default_rng(4))
    ranker.rank(history_of(BANDS[name], 20, seed=9), np.random.default_rng(1))
    again = ranker.rank(history, np.random.default_rng(4))
    fresh = suggester_of(BANDS[name], objective).rank(before, np.random.default_rng(4))
    assert first.tolist() == again.tolist() == fresh.tolist()
    assert len(first) > 5
    for own in ("indices", "accuracies", "failed"):
        assert np.array_equal(getattr(history, own), getattr(before, own), equal_nan=True)
    assert (ranker.listing is None) == (listing is None)
    if ranker.listing is not None and listing is not None:
        assert np.array_equal(ranker.listing, listing)


@pytest.mark.parametrize("name", BANDS)
@pytest.mark.parametrize("counts", [(0, 12, 12), (4, 4, 20), (12, 0, 0), (30, 4, 4)])
def test_nothing_that_is_known_or_outside_is_ranked(name: str, counts: tuple[int, int, int]) -> None:
    band, history = BANDS[name], history_of(BANDS[name], *counts)
    ranked = suggester_of(band).rank(history, np.random.default_rng(0))
    assert len(ranked) > 5
    assert (band.excess(ranked) == 0).all()
    known = {canonical(band.space.from_indices(row.tolist())) for row in history.indices}
    assert not known & {canonical(band.space.from_indices(row.tolist())) for row in ranked}
    assert len({row.tobytes() for row in ranked}) == len(ranked)


@pytest.mark.parametrize("name", BANDS)
def test_a_front_counts_above_the_expected_accuracy_of_a_random_network_that_differs_between_suggestions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    band, history, seen = BANDS[name], history_of(BANDS[name], 30), list[float]()
    log_expect = FrontImprovement.log_expect

    def spy(self: FrontImprovement, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:
        seen.append(known.corner)
        return log_expect(self, mean, spread, costs, known)

    monkeypatch.setattr(FrontImprovement, "log_expect", spy)
    ranker, corners = suggester_of(band, "pareto"), set[float]()
    for seed in range(5):
        seen.clear()
        ranker.rank(history, np.random.default_rng(seed))
        assert len(set(seen)) == 1  # the rounds of the local search compare their values
        corners |= set(seen)
    assert len(corners) > 1
    model, _, _ = ranker._learn(history, np.random.default_rng(0))
    expected = to_accuracy(model.predict(ranker.encoder.encode(picks_in(band, 150, seed=3)))[0])
    margin = np.ptp(expected)
    assert all(expected.min() - margin < corner < expected.max() + margin for corner in corners)


def test_where_all_is_known_nothing_is_ranked() -> None:
    band = cost_range_of(make_space(), "flops=1M", band=0.9)
    listing = list_inside(band)
    assert listing is not None
    every = History(listing, np.linspace(0.4, 0.6, len(listing)), np.zeros(len(listing), dtype=bool))
    assert len(suggester_of(band).rank(every, np.random.default_rng(0))) == 0


@pytest.mark.parametrize("name", BANDS)
def test_the_first_ones_are_those_that_share_least_with_all_others(name: str) -> None:
    band, history = BANDS[name], history_of(BANDS[name], 3, 2, 2)
    ranked = suggester_of(band).rank(history, np.random.default_rng(0))
    encoder = Encoder(band.space, {})
    shared = (encoder.encode(ranked).values @ encoder.encode(history.indices).values.T).max(axis=1)
    assert (np.diff(shared) >= 0).all()
    assert shared[0] < shared[-1]


@frozen
class Spy:
    """A gain that is what it is told to be, and keeps what it is asked."""

    worth: Callable[[Floats], Floats]
    asked: list[Known] = field(factory=list)
    exploration: float = 1.0

    def score(self, accuracies: Floats, costs: Floats) -> Floats:  # noqa: ARG002 -- the protocol's names
        return accuracies

    def log_expect(self, mean: Floats, spread: Floats, costs: Floats, known: Known) -> Floats:  # noqa: ARG002
        self.asked.append(known)
        return self.worth(costs[:, 0])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_most_promising_come_first(sign: float) -> None:
    spy = Spy(lambda costs: sign * costs)
    ranker = attrs.evolve(suggester_of(MACRO), acquisition=spy)
    ranked = ranker.rank(history_of(MACRO, 12), np.random.default_rng(0))
    assert (np.diff(sign * MACRO.costs(ranked)[:, 0]) <= 0).all()
    assert len(spy.asked[0].accuracies) == 12


def test_what_is_known_is_what_the_model_makes_of_the_readings() -> None:
    spy, history = Spy(lambda costs: costs), history_of(MACRO, 25)
    ranker = attrs.evolve(suggester_of(MACRO), acquisition=spy)
    ranker.rank(history, np.random.default_rng(0))
    codes, levels = ranker.encoder.encode(history.indices), to_level(history.accuracies)
    weights, power = ranker.weights(history)
    values = condition(ranker.encoder, codes, yeo_johnson(levels, power), weights).predict(codes)[0]
    known = to_level(spy.asked[0].accuracies)
    assert yeo_johnson(known, power, levels) == pytest.approx(values, rel=1e-9, abs=1e-9)
    assert spy.asked[0].costs == pytest.approx(MACRO.costs(history.indices))
    rows, mean, spread = ranker.expect(history)
    assert rows.tolist() == list(range(25))
    fitted = slice(fitted_count(25))
    model = condition(ranker.encoder, codes, levels, fit_weights(ranker.encoder, codes[fitted], levels[fitted]))
    # Nothing is known of the errors, and each accuracy is that of one run: all that is unexplained is an error.
    assert mean == pytest.approx(model.predict(codes)[0], rel=1e-9)
    assert spread == pytest.approx(model.predict(codes)[1], rel=1e-6)


@pytest.fixture(name="conditioned")
def _conditioned(monkeypatch: pytest.MonkeyPatch) -> list[Floats]:
    """Transformed levels that models were conditioned on, one after another."""
    seen: list[Floats] = []

    def spied(
        encoder: Encoder, codes: Codes, levels: Floats, weights: Floats, known: Floats | float = 0.0
    ) -> Surrogate:
        seen.append(levels.copy())
        return condition(encoder, codes, levels, weights, known)

    monkeypatch.setattr(module, "condition", spied)
    return seen


def test_a_failed_one_is_as_bad_as_the_worst_and_a_running_one_as_good_as_is_expected(
    conditioned: list[Floats],
) -> None:
    history, ranker = history_of(MACRO, 12, 3, 2), suggester_of(MACRO)
    ranker.rank(history, np.random.default_rng(0))
    alone, every = conditioned
    weights, power = ranker.weights(history)
    assert alone == pytest.approx(yeo_johnson(to_level(history.accuracies[history.measured]), power))
    assert every[:12].tolist() == alone.tolist()
    others = np.flatnonzero(~history.measured)
    model = condition(ranker.encoder, ranker.encoder.encode(history.indices[history.measured]), alone, weights)
    expected = model.predict(ranker.encoder.encode(history.indices[others]))[0]
    for row, guess, mean in zip(others, every[12:], expected, strict=True):
        assert guess == pytest.approx(alone.min() if history.failed[row] else mean)


@pytest.mark.parametrize("failed", [False, True])
def test_what_runs_or_has_failed_is_less_wanted(*, failed: bool) -> None:
    """The first choice is begun (or breaks): it promises less, and what is known is what it was."""
    one_target = cost_range_of(find_space("mnasnet"), "flops=300M")
    history, ranker = history_of(one_target, 40), suggester_of(one_target)
    first = ranker.rank(history, np.random.default_rng(0))[:1]
    begun = History(
        np.concatenate([history.indices, first]),
        np.append(history.accuracies, np.nan),
        np.append(history.failed, failed),
    )
    before, _, known_before = ranker._learn(history, np.random.default_rng(0))
    after, _, known = ranker._learn(begun, np.random.default_rng(0))
    codes, costs = ranker.encoder.encode(first), one_target.costs(first)
    improvements = [ranker.acquisition.log_expect(*model.predict(codes), costs, known)[0] for model in (before, after)]
    assert improvements[1] < np.log(0.9) + improvements[0]
    assert after.predict(codes)[1][0] < before.predict(codes)[1][0]
    assert known.accuracies.tolist() == known_before.accuracies.tolist()
    if failed:
        assert after.predict(codes)[0][0] < before.predict(codes)[0][0]


def test_the_row_of_sizes_grows_by_15_percent() -> None:
    row = sorted({fitted_count(count) for count in range(FIRST, 2000)})
    assert row[0] == FIRST
    for here, there in pairwise(row):
        assert there == max(here + 1, int(here * 1.15))


@given(count=st.integers(FIRST, 5000))
def test_no_size_is_above_its_count_or_15_percent_below(count: int) -> None:
    size = fitted_count(count)
    assert size <= count < max(size + 1, int(size * 1.15))
    assert fitted_count(size) == size


def test_weights_are_found_anew_where_the_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    whole = history_of(MACRO, 60)

    def spied(encoder: Encoder, codes: Codes, levels: Floats, known: Floats) -> Floats:  # noqa: ARG001
        found.append(len(levels))
        return np.full(len(encoder.groups) + 5, 0.1)

    monkeypatch.setattr(module, "fit_weights", spied)
    ranker = suggester_of(MACRO)
    for count in range(FIRST, 61):
        part = History(whole.indices[:count], whole.accuracies[:count], whole.failed[:count])
        ranker.rank(part, np.random.default_rng(0))
    # Once for each power of the transformation.
    assert found == sorted(fitted_count(count) for count in {fitted_count(n) for n in range(FIRST, 61)} for _ in POWERS)


def long_history(read: int = 1500, others: int = 0) -> History:
    indices = all_indices(MACRO.space)[np.random.default_rng(0).permutation(6561)[: read + others]]
    accuracies = np.random.default_rng(1).uniform(0.3, 0.9, len(indices))
    accuracies[read:] = np.nan
    return History(indices, accuracies, np.isnan(accuracies))


def test_a_long_history_stays_below_the_cap_and_keeps_its_best(
    conditioned: list[Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "fit_weights", lambda encoder, _codes, levels, _known: fitted(len(levels), encoder))

    def fitted(count: int, encoder: Encoder) -> Floats:
        assert count <= MOST_FITTED
        return np.full(len(encoder.groups) + 5, 0.1)

    history, ranker = long_history(), suggester_of(MACRO)
    ranked = ranker.rank(history, np.random.default_rng(0))
    assert len(ranked) > 5
    rows, mean, _ = ranker.expect(history)
    assert len(rows) == len(mean) == len(set(rows.tolist())) == MOST_MEASUREMENTS
    assert {len(levels) for levels in conditioned} == {MOST_MEASUREMENTS}
    scores = ranker.acquisition.score(history.accuracies, MACRO.costs(history.indices))
    assert set(np.argsort(-scores)[: MOST_MEASUREMENTS // 2].tolist()) <= set(rows.tolist())
    assert ranker.expect(history)[0].tolist() == rows.tolist()


def test_a_long_history_of_many_failures_stays_below_the_cap(conditioned: list[Floats]) -> None:
    suggester_of(MACRO).rank(long_history(700, 800), np.random.default_rng(0))
    assert max(len(levels) for levels in conditioned) <= 2 * MOST_MEASUREMENTS


def test_known_errors_are_treated_as_the_closed_form_says() -> None:
    """The true levels given the measured ones, of two normal distributions whose difference is the known error."""
    ranker, history = suggester_of(MACRO), history_of(MACRO, 25)
    rng = np.random.default_rng(0)
    known, runs = rng.uniform(0.001, 0.1, 25), rng.integers(1, 4, 25).astype(float)
    levels, codes = to_level(history.accuracies), ranker.encoder.encode(history.indices)
    fitted = slice(fitted_count(25))
    weights = fit_weights(ranker.encoder, codes[fitted], levels[fitted], known[fitted])
    model = condition(ranker.encoder, codes, levels, weights, known)
    own = Terms(ranker.encoder, model.codes, model.codes).weigh(weights[:-1]) * model.spread**2
    unexplained = (weights[-1] + LEAST_NOISE) * model.spread**2
    errors = np.diag(known + unexplained / runs)
    true = own + np.diag(unexplained * (1 - 1 / runs))  # of the mean of several runs, some is the network's own
    gain = true @ np.linalg.inv(true + errors)
    rows, mean, spread = ranker.expect(history, known, runs)
    assert rows.tolist() == list(range(25))
    assert mean == pytest.approx(model.center + gain @ (levels - model.center), rel=1e-6)
    assert spread == pytest.approx(np.sqrt((true - gain @ true).diagonal()), rel=1e-6)


def test_known_errors_are_no_differences_between_networks() -> None:
    """Accuracies that differ by nothing but a known error are all expected to be near their mean."""
    ranker, history = suggester_of(MACRO), history_of(MACRO, 25)
    noise = np.random.default_rng(0).normal(0.7, 0.02, 25)
    noisy = History(history.indices, noise, history.failed)
    unknown = to_accuracy(ranker.expect(noisy)[1])
    known = to_accuracy(ranker.expect(noisy, np.full(25, (0.02 / 0.3) ** 2))[1])
    assert np.ptp(known) < 0.25 * np.ptp(noise)
    assert np.ptp(known) < np.ptp(unknown)


@given(accuracies=st.lists(st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.999, 1.0]), min_size=8, max_size=8))
@settings(max_examples=25)
def test_any_accuracies_are_learnt(accuracies: list[float]) -> None:
    history, ranker = history_from(accuracies), suggester_of(TINY)
    assert len(ranker.rank(history, np.random.default_rng(0))) > 5
    assert all(np.isfinite(each).all() for each in ranker.expect(history))


def history_from(accuracies: list[float]) -> History:
    return History(picks_in(TINY, len(accuracies)), np.array(accuracies), np.zeros(len(accuracies), dtype=bool))
