"""The best of a search are evaluated with further seeds, and what they give settles which is handed over."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import optuna
import pytest
from attrs import field, frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import EvaluationError
from nas.noise import Correct, ValidationSplit, unpack
from nas.search.duration import evaluations_left
from nas.search.events import Event
from nas.search.plan import plan
from nas.search.retraining import SEEDS
from nas.search.run import search
from nas.search.settings import Settings
from nas.studies.records import CONFIRMED, StudyView
from tests.search.fakes import TINY, FakeEvaluator, level, make_space

SPACE = make_space()
NOISE = 0.05


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@frozen(eq=False)
class Noisy:
    """`level`, read with a noise that architecture and seed decide; knows what it was asked for, whatever the seed."""

    seed: int = 0
    fails_from: int = 10**6
    asked: list[tuple[Architecture, int]] = field(factory=list)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        self.asked.append((canonical(arch), self.seed))
        if len(self.asked) > self.fails_from:
            raise EvaluationError("made to fail")
        for _ in range(budget):
            yield self.reading(arch)

    def reading(self, arch: Architecture) -> float:
        digest = hashlib.sha256(f"{self.seed} {format_text(canonical(arch))}".encode()).digest()
        return float(
            np.clip(0.2 + level(canonical(arch)) / 2 + np.random.default_rng(list(digest)).normal(0, NOISE), 0, 1)
        )

    def with_seed(self, seed: int) -> "Noisy":
        return attrs.evolve(self, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": "noisy", "seed": self.seed}


def go(folder: Path, evaluator: Any, trials: int = 20, **given: Any) -> StudyView:
    given_space, listen = given.pop("space", SPACE), given.pop("listen", lambda _event: None)
    settings = Settings(
        [parse_target("flops=1.2M")],
        trials,
        epochs=2,
        band=0.3,
        pruner="none",
        objective=given.pop("objective", "hard"),
        **given,
    )
    storage = f"sqlite:///{folder / 'nas.db'}"
    return search(given_space, evaluator, settings, COUNTED, study_name="demo", storage=storage, listen=listen)


def test_the_best_are_evaluated_with_two_further_seeds(tmp_path: Path) -> None:
    evaluator = Noisy()
    view = go(tmp_path, evaluator)
    first = {arch for arch, seed in evaluator.asked if seed == 0}
    further = [(arch, seed) for arch, seed in evaluator.asked if seed]
    # Three at first, and then one by one what is expected to be the best.
    assert [seed for _, seed in further[:6]] == [1, 1, 1, 2, 2, 2]
    assert [seed for _, seed in further[6:]] == [1, 2] * (len(view.confirmed) - 3)
    assert {arch for arch, _ in further} <= first
    assert {view.records[number].architecture for number in view.confirmed} == {arch for arch, _ in further}
    for number, readings in view.confirmed.items():
        arch = view.records[number].architecture
        assert readings == tuple(pytest.approx(Noisy(seed).reading(arch)) for seed in (1, 2))
    scores = [view.expected[record.number].score for record in view.ranked]
    assert scores == sorted(scores, reverse=True)


def test_what_was_evaluated_is_not_evaluated_again(tmp_path: Path) -> None:
    before = go(tmp_path, Noisy())
    again = Noisy()
    assert go(tmp_path, again).confirmed == before.confirmed
    assert again.asked == []
    more = Noisy()
    after = go(tmp_path, more, trials=24)
    known = {(before.records[n].architecture, seed) for n in before.confirmed for seed in (1, 2)}
    assert not known & set(more.asked)
    assert set(before.confirmed) <= set(after.confirmed)
    assert before.confirmed.items() <= after.confirmed.items()
    assert go(tmp_path, Noisy(), trials=24, confirm=0).confirmed == after.confirmed


def test_few_trials_are_confirmed_in_proportion(tmp_path: Path) -> None:
    assert go(tmp_path, Noisy(), trials=3).confirmed == {}
    assert len(go(tmp_path, Noisy(), trials=7).confirmed) == 1
    assert len(go(tmp_path, Noisy(), trials=8).confirmed) in (2, 3)  # the best of seven may not be among those of eight


def test_none_are_confirmed_where_none_are_asked_for_or_nothing_is_random(tmp_path: Path) -> None:
    for name, evaluator, confirm in (("a", Noisy(), 0), ("b", FakeEvaluator(), 3)):
        (tmp_path / name).mkdir()
        assert go(tmp_path / name, evaluator, 8, confirm=confirm).confirmed == {}


def test_a_front_stands_as_it_was_read(tmp_path: Path) -> None:
    assert go(tmp_path, Noisy(), 8, objective="pareto").confirmed == {}


def test_a_seed_that_fails_is_told_and_comes_again(tmp_path: Path) -> None:
    view = go(tmp_path, Noisy(fails_from=21), 20)
    (readings,) = view.confirmed.values()
    assert len(readings) == 1
    again = Noisy()
    assert sum(map(len, go(tmp_path, again, 20).confirmed.values())) >= 3 * SEEDS
    assert all(seed for _, seed in again.asked)


def test_the_time_left_counts_each_evaluation_once_whether_it_fails_or_not(tmp_path: Path) -> None:
    events: list[Event] = []
    go(tmp_path, Noisy(fails_from=21), 20, listen=events.append)
    left = [event.seconds_left or 0.0 for event in events if event.kind == "confirming"]
    # One message before each of six evaluations, and one after each of the last five, which fail.
    assert [round(6 * each / left[0], 3) for each in left[:11]] == [6, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0]


def test_stored_seeds_of_trials_are_not_awaited_again() -> None:
    planned = plan(SPACE, Noisy(), Settings([parse_target("flops=1.2M")], 20, band=0.3), COUNTED)
    study = optuna.create_study()
    for stored, left in (
        ({}, 6),
        ({"3": {"1": 0.5}, "-1": {"1": 0.5}}, 5),
        ({str(n): {"1": 0.5} for n in range(8)}, 0),
    ):
        study.set_user_attr(CONFIRMED, stored)
        assert evaluations_left(planned, study) == left


def test_more_seeds_choose_better(tmp_path: Path) -> None:
    """On average over searches: the true level of what is handed over."""
    reached: dict[int, list[float]] = {0: [], 3: []}
    for confirm, levels in reached.items():
        for seed in range(6):
            folder = tmp_path / f"{confirm}-{seed}"
            folder.mkdir()
            best = go(folder, Noisy(seed=100 * seed), 16, seed=100 * seed, confirm=confirm).best
            assert best is not None
            levels.append(level(best.architecture))
    assert np.mean(reached[3]) >= np.mean(reached[0])


@pytest.mark.parametrize("seed", range(4))
def test_the_best_is_one_of_those_that_were_re_trained(tmp_path: Path, seed: int) -> None:
    view = go(tmp_path, Noisy(seed=100 * seed), 24, seed=100 * seed)
    assert view.best is not None
    assert view.best.number in view.confirmed
    assert {record.number for record in view.ranked[: len(view.confirmed)]} == set(view.confirmed)
    assert 3 <= len(view.confirmed) <= 6
    if len(view.confirmed) < 6:  # else the number of re-trained networks is at its bound
        assert view.promising[0] == view.best


@frozen(eq=False)
class Imaged(Noisy):
    """The same, with images: of 400, the first ones are correct, and which that are depends on nothing else."""

    def validation_split(self) -> ValidationSplit:
        return ValidationSplit(400, 0.1, 400.0)

    def reading(self, arch: Architecture) -> float:
        return round(400 * super().reading(arch)) / 400

    def correct(self, arch: Architecture) -> Correct:
        return np.asarray(np.arange(400) < 400 * self.reading(arch) - 0.5)


def test_the_correct_images_of_every_seed_are_kept(tmp_path: Path) -> None:
    view = go(tmp_path, Imaged())
    assert view.split == ValidationSplit(400, 0.1, 400.0)
    assert view.confirmed
    assert view.confirmed_correct.keys() == view.confirmed.keys()
    for number, accuracies in view.confirmed.items():
        own, *further = [
            unpack(text).mean() for text in (view.records[number].correct, *view.confirmed_correct[number])
        ]
        assert own == pytest.approx(view.records[number].accuracy)
        assert further == pytest.approx(list(accuracies))
    again = Imaged()
    assert go(tmp_path, again).confirmed_correct == view.confirmed_correct
    assert again.asked == []


def test_the_baseline_is_re_trained_with_the_best(tmp_path: Path) -> None:
    space = make_space(f"{TINY}baselines: [mobilenetv2]\n")
    evaluator = Imaged()
    view = go(tmp_path, evaluator, 8, space=space)
    assert view.baseline is not None
    (first, *further) = view.runs(view.baseline)
    arch = view.baseline.architecture
    assert [first, *further] == pytest.approx([Imaged(seed).reading(arch) for seed in (0, 1, 2)])
    assert unpack(view.baseline.correct).mean() == pytest.approx(first)
    assert len(view.confirmed_correct[-1]) == SEEDS
    expected = view.expected[-1]
    assert expected.accuracy == pytest.approx(np.mean([first, *further]), abs=0.002)
    assert expected.low is not None
    assert expected.low < expected.accuracy
    assert expected.score == pytest.approx(expected.accuracy)  # it costs less than the target, under "hard"
    again = Imaged()
    assert go(tmp_path, again, 8, space=space) == view
    assert again.asked == []
    (tmp_path / "none").mkdir()
    assert go(tmp_path / "none", Imaged(), 8, space=space, confirm=0).confirmed == {}


def test_more_seeds_narrow_the_interval_down_to_the_sampling_error(tmp_path: Path) -> None:
    view = go(tmp_path, Imaged())
    assert view.split is not None
    retrained, others = (
        [each.spread for number, each in view.expected.items() if (number in view.confirmed) == chosen]
        for chosen in (True, False)
    )
    assert max(retrained) < np.mean(others)
    # All networks share which images are easy, so nothing but the sampling error of one accuracy is left of it.
    for number in view.confirmed:
        expected = view.expected[number]
        assert expected.spread > 0.8 * view.split.standard_error(expected.accuracy)
        assert expected.low is not None
        assert expected.high is not None
        assert expected.low < expected.accuracy - 1.5 * expected.spread
        assert expected.high > expected.accuracy + 1.5 * expected.spread
