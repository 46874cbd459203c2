"""Regularized evolution in plain Optuna studies."""

from collections.abc import Callable, Sequence

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from nas.objective import Direction
from nas.samplers.evolution import RegularizedEvolutionSampler

NAMES = tuple("abcdefgh")
OPTIONS = (0, 1, 2, 3)
Objective = Callable[[optuna.Trial], float]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def total(trial: optuna.Trial) -> float:
    """A figure that is another one for every combination, so that no contest is tied."""
    picked = [trial.suggest_categorical(name, OPTIONS) for name in NAMES]
    return sum(float(4**i * value) for i, value in enumerate(picked)) / 4**8


def study_of(sampler: RegularizedEvolutionSampler, *directions: Direction) -> optuna.Study:
    return optuna.create_study(directions=list(directions or ("maximize",)), sampler=sampler)


def changed(one: FrozenTrial, other: FrozenTrial) -> int:
    return sum(one.params[name] != other.params[name] for name in NAMES)


def complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_contests_best_is_changed_in_exactly_one_choice(direction: Direction) -> None:
    """In a contest of the whole population the best of it is the parent; of the last, not of all."""
    study = study_of(RegularizedEvolutionSampler(seed=1, population=6, contest=6), direction)
    study.optimize(total, n_trials=60)
    trials, sign = study.trials, 1 if direction == "maximize" else -1
    older = 0
    for number in range(6, 60):
        best = max(trials[number - 6 : number], key=lambda trial: sign * (trial.value or 0))
        assert changed(trials[number], best) == 1
        older += max(trials[:number], key=lambda trial: sign * (trial.value or 0)) is not best
    assert older > 0


def test_parents_are_among_the_last_complete_ones() -> None:
    def failing(trial: optuna.Trial) -> float:
        value = total(trial)
        if trial.number % 3 == 1:
            raise optuna.TrialPruned
        if trial.number % 7 == 3:
            raise RuntimeError
        return value

    study = study_of(RegularizedEvolutionSampler(seed=0, population=5, contest=2))
    study.optimize(failing, n_trials=80, catch=(RuntimeError,))
    trials = study.trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    parents, born = set(), 0
    for number in range(80):
        population = complete(trials[:number])[-5:]
        if len(population) == 5:
            near = [parent.number for parent in population if changed(trials[number], parent) == 1]
            assert near
            born += 1
            parents |= set(near)
    assert born > 50
    assert len(parents) > 10


def test_until_there_is_a_population_it_is_random() -> None:
    study = study_of(RegularizedEvolutionSampler(seed=0, population=20, contest=5))
    study.optimize(total, n_trials=20)
    trials = study.trials
    changes = [changed(a, b) for i, a in enumerate(trials) for b in trials[:i]]
    assert min(changes) > 1


def test_every_choice_and_every_other_option_is_taken() -> None:
    study = study_of(RegularizedEvolutionSampler(seed=3, population=2, contest=1))
    study.optimize(total, n_trials=400)
    trials, seen = study.trials, set()
    for number in range(2, 400):
        parent = next(p for p in trials[number - 2 : number] if changed(trials[number], p) == 1)
        seen |= {
            (name, parent.params[name], trials[number].params[name])
            for name in NAMES
            if parent.params[name] != trials[number].params[name]
        }
    assert len(seen) > 0.9 * len(NAMES) * 4 * 3
    assert all(before != after for _, before, after in seen)


def two(trial: optuna.Trial) -> tuple[float, float]:
    value = total(trial)
    return value, sum(trial.params[name] == 3 for name in NAMES)


def test_of_two_objectives_none_in_the_contest_beats_the_parent() -> None:
    study = study_of(RegularizedEvolutionSampler(seed=2, population=6, contest=6), "maximize", "minimize")
    study.optimize(two, n_trials=50)
    trials = study.trials
    for number in range(6, 50):
        population = trials[number - 6 : number]
        points = [(trial.values[0], -trial.values[1]) for trial in population]
        unbeaten = [
            trial
            for trial, (a, b) in zip(population, points, strict=True)
            if not any(c >= a and d >= b and (c > a or d > b) for c, d in points)
        ]
        assert any(changed(trials[number], parent) == 1 for parent in unbeaten)


@pytest.mark.parametrize("objective", [total, two])
def test_a_seed_is_a_study(objective: Objective) -> None:
    directions: Sequence[Direction] = ("maximize",) if objective is total else ("maximize", "minimize")

    def params(seed: int) -> list[dict[str, object]]:
        study = study_of(RegularizedEvolutionSampler(seed=seed, population=5, contest=2), *directions)
        study.optimize(objective, n_trials=25)
        return [trial.params for trial in study.trials]

    assert params(1) == params(1)
    assert params(1) != params(2)


def test_reseeded_it_goes_another_way() -> None:
    studies = []
    for again in (False, True):
        sampler = RegularizedEvolutionSampler(seed=1)
        if again:
            sampler.reseed_rng()
        studies.append(study_of(sampler))
        studies[-1].optimize(total, n_trials=10)
    assert [t.params for t in studies[0].trials] != [t.params for t in studies[1].trials]


@pytest.mark.parametrize("objective", [total, two])
def test_it_works_in_two_threads(objective: Objective) -> None:
    directions: Sequence[Direction] = ("maximize",) if objective is total else ("maximize", "minimize")
    study = study_of(RegularizedEvolutionSampler(seed=0, population=5, contest=3), *directions)
    study.optimize(objective, n_trials=60, n_jobs=2)
    assert len(complete(study.trials)) == 60
    trials = study.trials
    for trial in trials[12:]:
        assert any(changed(trial, parent) <= 1 for parent in trials[: trial.number])


def test_it_finds_more_than_chance() -> None:
    def best(sampler: optuna.samplers.BaseSampler) -> float:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(lambda trial: sum(trial.suggest_categorical(n, OPTIONS) == 1 for n in NAMES), n_trials=120)
        return study.best_value

    evolved = [best(RegularizedEvolutionSampler(seed=seed)) for seed in range(4)]
    drawn = [best(optuna.samplers.RandomSampler(seed=seed)) for seed in range(4)]
    assert sum(evolved) > sum(drawn)


def test_what_is_not_categorical_is_drawn_at_random() -> None:
    def mixed(trial: optuna.Trial) -> float:
        return total(trial) + trial.suggest_float("rate", 0, 1) + trial.suggest_int("depth", 1, 9)

    study = study_of(RegularizedEvolutionSampler(seed=0, population=4, contest=4))
    study.optimize(mixed, n_trials=30)
    trials = study.trials
    assert len({trial.params["rate"] for trial in trials}) == 30
    for number in range(4, 30):
        assert any(changed(trials[number], parent) == 1 for parent in trials[number - 4 : number])


def test_a_choice_of_one_option_is_never_changed() -> None:
    def single(trial: optuna.Trial) -> float:
        return float(trial.suggest_categorical("only", [1]))

    study = study_of(RegularizedEvolutionSampler(seed=0, population=2, contest=1))
    study.optimize(single, n_trials=6)
    assert [trial.params for trial in study.trials] == [{"only": 1}] * 6
