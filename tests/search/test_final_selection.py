"""What a search hands over: better than its best reading where readings are noisy."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from attrs import frozen
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import binom

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import StudyError
from nas.noise import ValidationSplit
from nas.objective import make_reward, score
from nas.samplers.base import distributions
from nas.samplers.trial_arrays import FIRST
from nas.search.final_selection import MOST_EXPECTED, expect
from nas.search.plan import Plan, plan
from nas.search.run import search
from nas.search.settings import Settings
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.studies.opening import open_storage
from nas.studies.records import KILLED, StudyView, rank
from nas.studies.study import read_study, study_names
from tests.search.fakes import FakeEvaluator, all_indices

MACRO = find_space("nasbench_macro")
SIGNAL, NOISE = 0.02, 0.01


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@frozen(eq=False)
class Noisy:
    """Accuracies that are a sum over layers, read with noise of half the standard deviation that the sum has."""

    space: SearchSpace
    true: Mapping[Architecture, float]
    seed: int

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- the protocol's names
        digest = hashlib.sha256(f"{self.seed} {format_text(arch)}".encode()).digest()
        noise = np.random.default_rng(list(digest)).normal(0, NOISE)
        yield float(np.clip(self.true[canonical(arch)] + noise, 0, 1))

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": "noisy", "seed": self.seed}


def noisy(seed: int) -> Noisy:
    """An effect for every option of every layer; of equal networks the first one's."""
    rng = np.random.default_rng(seed)
    indices = all_indices(MACRO)
    effects = rng.normal(size=(8, 3))
    totals = effects[np.arange(8), indices].sum(axis=1)
    totals = 0.9 + SIGNAL * (totals - totals.mean()) / totals.std()
    true: dict[Architecture, float] = {}
    for row, total in zip(indices, totals.tolist(), strict=True):
        true.setdefault(canonical(MACRO.from_indices(row)), total)
    return Noisy(MACRO, true, seed)


def asked(**given: Any) -> Settings:
    # Under w=0 a score is an accuracy, and all up to the target are let in.
    rest: dict[str, Any] = {"trials": 60, "epochs": 1, "band": 0.0, "w": 0.0, "sampler": "random"} | given
    return Settings([parse_target("flops=200M")], **rest)


def go(evaluator: Any, settings: Settings, url: str = "sqlite://") -> StudyView:
    return search(MACRO, evaluator, settings, COUNTED, storage=url, study_name="demo")


@pytest.mark.slow
def test_what_is_handed_over_is_better_on_average_than_the_best_reading() -> None:
    improvements, shares = [], []
    for seed in range(8):
        evaluator = noisy(seed)
        view = go(evaluator, asked(seed=seed))
        assert view.best is not None
        lucky = max(view.complete, key=rank)
        handed, read = (evaluator.true[record.architecture] for record in (view.best, lucky))
        improvements.append(handed - read)
        expected = view.expected[view.best.number]
        assert expected.accuracy == max(each.accuracy for each in view.expected.values())
        shares.append(abs(expected.accuracy - handed) < abs((lucky.accuracy or 0) - read))
    assert np.mean(improvements) > 0
    assert sum(shares) >= 6


def test_it_is_kept_by_number_best_first_with_its_score() -> None:
    settings = asked(w=None, trials=70)
    view = go(noisy(1), settings)
    assert len(view.expected) == MOST_EXPECTED < len(view.complete)
    by_number = {record.number: record for record in view.records}
    for number, expected in view.expected.items():
        costs = [by_number[number].costs["macs"]]
        assert expected.score == pytest.approx(
            score(expected.accuracy, costs, settings.targets, make_reward("soft")), rel=1e-9
        )
        assert 0 < expected.spread < 0.1
    scores = [view.expected[record.number].score for record in view.ranked[:MOST_EXPECTED]]
    assert scores == sorted(scores, reverse=True)
    assert view.best == view.ranked[0]
    assert {record.number for record in view.ranked[MOST_EXPECTED:]} == {r.number for r in view.complete} - set(
        view.expected
    )


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'nas.db'}"


def add(url: str, *, killed: bool = False) -> None:
    study = optuna.load_study(storage=url, study_name="demo")
    like = study.trials[0]
    study.add_trial(
        create_trial(
            state=TrialState.FAIL if killed else TrialState.COMPLETE,
            value=None if killed else 0.5,
            params=like.params,
            distributions=like.distributions,
            user_attrs=like.user_attrs | ({KILLED: True} if killed else {}),
        )
    )


@pytest.mark.slow
def test_it_is_dropped_where_trials_were_added_after_and_found_anew(url: str) -> None:
    view = go(noisy(0), asked(trials=12), url)
    assert len(view.expected) == 12
    add(url, killed=True)
    assert read_study(open_storage(url), "demo").expected == view.expected
    add(url)
    later = read_study(open_storage(url), "demo")
    assert later.expected == {}
    assert later.best is not None
    assert rank(later.best) == max(map(rank, later.complete))
    again = go(noisy(0), asked(trials=15), url)
    assert len(again.expected) == len(again.complete) == 15


def test_a_front_stands_as_it_was_read() -> None:
    view = go(noisy(0), asked(objective="pareto", w=None, trials=12))
    assert view.expected == {}
    assert len(view.front) > 1


@pytest.mark.parametrize("trials", [FIRST - 1, FIRST])
def test_fewer_than_five_readings_are_too_few(trials: int) -> None:
    view = go(noisy(0), asked(trials=trials))
    assert len(view.expected) == (trials if trials == FIRST else 0)
    assert view.best is not None


def planned_of(settings: Settings) -> Plan:
    return plan(MACRO, FakeEvaluator(), settings, COUNTED)


def trials_of(states: list[TrialState]) -> list[FrozenTrial]:
    indices = all_indices(MACRO)[:: MACRO.size // len(states)]
    trials = []
    for number, state in enumerate(states):
        accuracy = 0.5 + 0.01 * number
        trial = create_trial(
            state=state,
            value=accuracy if state == TrialState.COMPLETE else None,
            params=MACRO.params(indices[number].tolist()),
            distributions=distributions(MACRO),
            user_attrs={} if state == TrialState.FAIL else {"accuracy_by_epoch": [0.5 * accuracy, accuracy]},
        )
        trial.number = 10 * number
        trials.append(trial)
    return trials


def test_only_complete_ones_are_handed_over_though_all_are_learnt_of() -> None:
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL] * 4
    trials = trials_of(states)
    rows = expect(trials, planned_of(asked()))
    assert set(rows) == {trial.number for trial in trials if trial.state == TrialState.COMPLETE}
    without = expect([trial for trial in trials if trial.state == TrialState.COMPLETE], planned_of(asked()))
    assert rows != without


@given(accuracies=st.lists(st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.999, 1.0]), min_size=1, max_size=8))
@example(accuracies=[0.2] * 8)
@pytest.mark.parametrize("split", [None, ValidationSplit(62, 0.2, 62.0)])
@hypothesis_settings(max_examples=15)
def test_what_is_expected_is_an_accuracy_in_its_interval(
    split: ValidationSplit | None, accuracies: list[float]
) -> None:
    trials = trials_of([TrialState.COMPLETE] * len(accuracies))
    for trial, accuracy in zip(trials, accuracies, strict=True):
        trial.set_user_attr("accuracy_by_epoch", [accuracy])
    rows = expect(trials, planned_of(asked()), split=split)
    # Few trials without a split have no known error, so nothing is expected of them.
    assert len(rows) == (len(trials) if split or len(trials) >= FIRST else 0)
    for each in rows.values():
        assert each.low is not None
        assert each.high is not None
        assert 0 <= each.low <= each.accuracy <= each.high <= 1
        # No accuracy is known better than by the images that all networks share, even if all have the same one. Where
        # single images are not known, their error has half of the variance, and a 95% interval reaches 1.96 standard
        # deviations to both sides, of which 0 or 1 may cut off one.
        least = split.standard_error(each.accuracy) / 2**0.5 if split else 0
        assert each.spread > 0.99 * least
        assert each.high - each.low > 1.9 * least


def test_before_there_is_a_model_the_interval_has_the_true_accuracy_of_95_in_100_networks() -> None:
    """For a true accuracy, the number of correctly classified images is binomial, and each has its interval."""
    images, planned = 62, planned_of(asked())
    trials = trials_of([TrialState.COMPLETE])
    found = []
    for correct in range(images + 1):
        trials[0].set_user_attr("accuracy_by_epoch", [correct / images])
        found.append(expect(trials, planned, split=ValidationSplit(images, 0.2, float(images)))[trials[0].number])
    misses = [
        sum(
            binom.pmf(correct, images, true)
            for correct, each in enumerate(found)
            if not (each.low or 0) <= true <= (each.high or 0)
        )
        for true in np.linspace(0.05, 0.95, 91)
    ]
    assert np.mean(misses) == pytest.approx(0.05, abs=0.01)
    assert max(misses) < 0.1  # numbers of images are whole, so that no interval misses exactly 5% for every accuracy


def test_pruned_ones_do_not_make_up_for_complete_ones() -> None:
    states = [TrialState.COMPLETE] * (FIRST - 1) + [TrialState.PRUNED] * 10
    assert expect(trials_of(states), planned_of(asked())) == {}
    assert expect([], planned_of(asked())) == {}


def test_a_search_that_fails_throughout_hands_nothing_over(url: str) -> None:
    with pytest.raises(StudyError, match="all 4 trials"):
        go(FakeEvaluator(lambda _arch: True), asked(trials=4), url)
    (name,) = study_names(open_storage(url))
    view = read_study(open_storage(url), name)
    assert view.expected == {}
    assert view.best is None
