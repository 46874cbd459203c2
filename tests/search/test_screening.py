"""A cheap evaluator looks first, and its verdicts are hints to the model of accuracy."""

import signal
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from attrs import field, frozen

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import EvaluationError, StudyError
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Encoder, Floats
from nas.samplers.prior_scores import PriorScores
from nas.samplers.surrogate import Terms, condition, fit_weights
from nas.search.events import Event
from nas.search.plan import plan
from nas.search.run import search
from nas.search.screening import SCREENED, Screen, describe_unused, screen_all
from nas.search.settings import Settings
from nas.space.files import find_space
from nas.studies.records import StudyView
from tests.search.fakes import FakeEvaluator, LimitedEvaluator, all_indices, level, make_space

MACRO = find_space("nasbench_macro")
TARGET = parse_target("flops=1G")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@frozen(eq=False)
class Told:
    """Accuracies by architecture; knows what it was asked."""

    name: str
    of: Callable[[Architecture], float]
    asked: list[Architecture] = field(factory=list)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- the protocol's names
        self.asked.append(arch)
        yield self.of(arch)

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": self.name, "environment": {"version": "1"}}


def effects(seed: int) -> Floats:
    """Of every option of every layer, by layer and option."""
    return np.random.default_rng(seed).normal(0, 0.01, (8, 3))


def sums(of: Floats) -> dict[Architecture, float]:
    """An accuracy for every network; of equal networks the first one's."""
    indices = all_indices(MACRO)
    levels = 0.8 + of[np.arange(8), indices].sum(axis=1)
    found: dict[Architecture, float] = {}
    for row, accuracy in zip(indices, levels, strict=True):
        found.setdefault(canonical(MACRO.from_indices(row.tolist())), float(np.clip(accuracy, 0, 1)))
    return found


def go(
    true: Mapping[Architecture, float], cheap: Mapping[Architecture, float] | None, trials: int, seed: int = 0
) -> Floats:
    """How far below the best the best is, after each trial."""
    settings = Settings([TARGET], trials, epochs=1, seed=seed, objective="hard", band=0.0, pruner="none")
    screen = None if cheap is None else Screen(Told("cheap", lambda arch: cheap[canonical(arch)]), 60)
    view = search(
        MACRO, Told("dear", lambda arch: true[canonical(arch)]), settings, COUNTED, screen=screen, storage="sqlite://"
    )
    reached = [true[record.architecture] for record in sorted(view.complete, key=lambda record: record.number)]
    return np.asarray(max(true.values()) - np.maximum.accumulate(reached))


def test_with_a_good_hint_the_first_trials_are_good() -> None:
    own, other = effects(0), effects(1)
    true, cheap = sums(own), sums(own + 0.5 * other)
    plain, screened = (np.mean([go(true, hint, 5, seed)[-1] for seed in range(4)]) for hint in (None, cheap))
    assert screened < 0.4 * plain


def test_a_hint_that_says_the_opposite_is_seen_through() -> None:
    own = effects(0)
    assert go(sums(own), sums(-own), 30)[-1] < 0.01


def test_verdicts_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    first = searched(tmp_path, Told("cheap", level), trials=2)
    study = optuna.load_study(storage=f"sqlite:///{tmp_path / 'nas.db'}", study_name="demo")
    kept = study.user_attrs[SCREENED]
    assert [value for _, value in kept] == [pytest.approx(level(arch)) for arch in first.asked]
    assert [make_space().from_indices(indices) for indices, _ in kept] == first.asked
    assert len(set(map(canonical, first.asked))) == len(kept) == 12
    again = searched(tmp_path, Told("cheap", level), trials=4)
    assert again.asked == []


def searched(folder: Path, cheap: Told, trials: int, listen: Callable[[Event], None] = lambda _: None) -> Told:
    settings = Settings([parse_target("flops=1.2M")], trials, epochs=1, band=0.5, pruner="none")
    url = f"sqlite:///{folder / 'nas.db'}"
    screen = Screen(cheap, 12)
    search(
        make_space(), FakeEvaluator(), settings, COUNTED, study_name="demo", screen=screen, storage=url, listen=listen
    )
    return cheap


def test_stopped_while_it_looks_it_goes_on_with_what_is_left(tmp_path: Path) -> None:
    def stopped(arch: Architecture) -> float:
        if len(broken.asked) == 12:
            signal.raise_signal(signal.SIGTERM)
        return level(arch)

    broken = Told("cheap", stopped)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, broken, trials=2)
    rest = searched(tmp_path, Told("cheap", level), trials=2)
    assert rest.asked == broken.asked[10:]


def test_it_says_that_it_looks(tmp_path: Path) -> None:
    told: list[Event] = []
    searched(tmp_path, Told("cheap", level), 1, told.append)
    assert [event.message for event in told if event.kind == "screening"] == [
        "0 networks screened",
        "10 networks screened",
    ]


def test_many_scores_are_written_a_few_times() -> None:
    """The study holds all scores in one attribute, so a write takes the longer the more there are."""
    study, size = optuna.create_study(storage="sqlite://"), 2_000
    drawn, told = np.arange(size)[:, None], list[int]()
    screened = screen_all(study, drawn, lambda indices: float(indices[0]), told.append)
    assert screened is not None
    assert screened.values.tolist() == list(range(size))
    written = [*told[1:], size]
    assert sum(written) <= 12 * size
    assert max(after / before for before, after in pairwise(written)) <= 2


def test_what_cannot_be_judged_is_passed_over(tmp_path: Path) -> None:
    def sometimes(arch: Architecture) -> float:
        if level(arch) < 0.5:
            raise EvaluationError("too small")
        return level(arch)

    cheap = searched(tmp_path, Told("cheap", sometimes), trials=2)
    study = optuna.load_study(storage=f"sqlite:///{tmp_path / 'nas.db'}", study_name="demo")
    wanted = [level(arch) if level(arch) >= 0.5 else None for arch in cheap.asked]
    kept = [value for _, value in study.user_attrs[SCREENED]]
    assert kept == [value if value is None else pytest.approx(value) for value in wanted]


def test_where_nothing_can_be_judged_it_ends_with_the_reason(tmp_path: Path) -> None:
    def never(_arch: Architecture) -> float:
        raise EvaluationError("no memory")

    with pytest.raises(StudyError, match=r"the first 10 networks could not be screened, .* no memory"):
        searched(tmp_path, Told("cheap", never), trials=2)


def test_what_crashes_on_a_network_passes_it_over(tmp_path: Path) -> None:
    def crashes(arch: Architecture) -> float:
        if level(arch) < 0.5:
            raise ZeroDivisionError
        return level(arch)

    searched(tmp_path, Told("cheap", crashes), trials=2)
    study = optuna.load_study(storage=f"sqlite:///{tmp_path / 'nas.db'}", study_name="demo")
    assert 0 < sum(value is None for _, value in study.user_attrs[SCREENED]) < 12


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_not_finite_are_left_out_with_a_note(tmp_path: Path, score: float) -> None:
    told: list[Event] = []
    cheap = Told("cheap", lambda arch: score if level(arch) < 0.4 else level(arch))
    searched(tmp_path, cheap, 7, told.append)
    count = sum(level(arch) < 0.4 for arch in cheap.asked)
    assert 0 < count <= 12 - 5
    assert [event.message for event in told if event.kind == "screened"] == [f"{count} of 12 networks have no score"]


def test_equal_scores_are_not_used_and_a_note_says_so(tmp_path: Path) -> None:
    told: list[Event] = []
    searched(tmp_path, Told("cheap", lambda _arch: 0.25), 7, told.append)
    (note,) = [event.message for event in told if event.kind == "screened"]
    assert note == "all 12 scores are 0.25, so the search goes on without scores"


def test_scores_that_an_earlier_version_stored_may_not_be_finite() -> None:
    study = optuna.create_study(storage="sqlite://")
    study.set_user_attr(SCREENED, [[[i], value] for i, value in enumerate([0.1, float("nan"), None, 0.4])])
    assert screen_all(study, np.arange(4)[:, None], lambda _: 0.0, lambda _: None) is None
    assert describe_unused(study) == (
        "2 of 4 networks have no score; 2 scores are fewer than 5, so the search goes on without scores"
    )


def test_where_no_score_is_finite_it_ends_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"the first 10 networks could not be screened, .* the evaluator gave accuracy nan"
    ):
        searched(tmp_path, Told("cheap", lambda _arch: float("nan")), trials=2)


def test_the_last_few_may_all_fail(tmp_path: Path) -> None:
    def fails_late(arch: Architecture) -> float:
        if len(cheap.asked) > 10:
            raise EvaluationError("too late")
        return level(arch)

    cheap = Told("cheap", fails_late)
    searched(tmp_path, cheap, trials=2)
    assert len(cheap.asked) == 12


def test_a_limited_evaluator_looks_at_what_it_knows() -> None:
    known = tuple(canonical(MACRO.from_indices(row.tolist())) for row in MACRO.sample(np.random.default_rng(3), 40))
    cheap = LimitedEvaluator(known=known)
    settings = Settings([TARGET], 6, epochs=1, objective="hard", band=0.0, pruner="none")
    view = search(MACRO, FakeEvaluator(), settings, COUNTED, screen=Screen(cheap, 20), storage="sqlite://")
    assert len(view.complete) == 6


def test_a_study_was_made_with_its_screen_or_without(tmp_path: Path) -> None:
    searched(tmp_path, Told("cheap", level), trials=1)
    with pytest.raises(StudyError, match=r"screen\.evaluator"):
        searched(tmp_path, Told("other", level), trials=2)


def test_other_samplers_cannot_use_prior_scores() -> None:
    settings = Settings([parse_target("flops=1.2M")], sampler="tpe")
    with pytest.raises(StudyError, match="sampler tpe"):
        plan(make_space(), FakeEvaluator(), settings, COUNTED, screen=Screen(FakeEvaluator()))
    with pytest.raises(StudyError, match="number of networks to screen is 4"):
        Screen(FakeEvaluator(), 4)


def test_a_front_is_found_with_prior_scores_too() -> None:
    settings = Settings([parse_target("flops=80M")], 8, epochs=1, objective="pareto", band=0.3, pruner="none")
    true = sums(effects(0))
    view: StudyView = search(
        MACRO,
        Told("dear", lambda arch: true[canonical(arch)]),
        settings,
        COUNTED,
        screen=Screen(Told("cheap", lambda arch: true[canonical(arch)]), 20),
        storage="sqlite://",
    )
    assert len(view.complete) == 8


def picks_and_codes(count: int) -> tuple[Encoder, ChoiceIndices]:
    encoder = Encoder(MACRO, COUNTED)
    return encoder, MACRO.sample(np.random.default_rng(0), count)


def test_hints_are_those_of_the_verdicts_and_near_them_between() -> None:
    """Better on networks without a verdict than least squares over the options, which can tell sums over them."""
    encoder, indices = picks_and_codes(200)
    true = sums(effects(3))
    values = np.array([true[canonical(MACRO.from_indices(row.tolist()))] for row in indices])
    prior_scores = PriorScores(encoder, indices[:120], values[:120])
    guessed = prior_scores.predict(encoder.encode(indices))
    columns = np.eye(3)[indices].reshape(200, -1)
    line, *_ = np.linalg.lstsq(columns[:120], values[:120], rcond=None)
    plain = np.corrcoef(columns[120:] @ line, values[120:])[0, 1]
    assert np.corrcoef(guessed[120:], values[120:])[0, 1] > plain > 0.5
    assert prior_scores.encode(indices).prior_scores[:, 0] == pytest.approx(guessed)


def test_a_hint_is_a_linear_term_of_the_kernel() -> None:
    encoder, indices = picks_and_codes(30)
    prior_scores = PriorScores(encoder, indices, np.arange(30.0))
    codes = prior_scores.encode(indices)
    terms = Terms(encoder, codes, codes)
    assert terms.all()[-1] == pytest.approx(np.outer(codes.prior_scores[:, 0], codes.prior_scores[:, 0]))
    weights = np.random.default_rng(0).random(len(terms.all()))
    whole = sum(weight * term for weight, term in zip(weights, terms.all(), strict=True))
    assert terms.weigh(weights) == pytest.approx(whole)
    assert terms.diagonal(weights) == pytest.approx(np.diag(terms.weigh(weights)))


def test_the_model_heeds_a_hint_as_far_as_it_is_right() -> None:
    encoder, indices = picks_and_codes(60)
    rng = np.random.default_rng(1)
    values = rng.normal(size=60)  # nothing but the hint tells of them
    for noise, share in ((0.01, 0.9), (10.0, 0.3)):
        prior_scores = PriorScores(encoder, indices, values + noise * rng.normal(size=60))
        codes = prior_scores.encode(indices)
        weights = fit_weights(encoder, codes[:40], values[:40])
        mean, _ = condition(encoder, codes[:40], values[:40], weights).predict(codes[40:])
        found = np.corrcoef(mean, values[40:])[0, 1]
        assert found > share if noise < 1 else found < share + 0.2
