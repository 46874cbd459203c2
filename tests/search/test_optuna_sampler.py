"""The sampler in studies that Optuna itself drives."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, cost
from nas.cost.target import parse_target
from nas.errors import StudyError, TargetError
from nas.samplers.base import distributions
from nas.search.optuna_sampler import SurrogateSampler
from nas.search.settings import Settings
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from tests.search.fakes import SMALLEST, level, make_space

MACRO = find_space("nasbench_macro")
EFFECTS = np.random.default_rng(5).normal(size=(8, 3))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def asked(*targets: str, **given: Any) -> Settings:
    return Settings([parse_target(text) for text in targets or ("flops=80M",)], **given)


def suggested(trial: optuna.Trial, space: SearchSpace = MACRO) -> dict[str, Any]:
    return {choice.name: trial.suggest_categorical(choice.name, choice.values) for choice in space.choices}


def additive(trial: optuna.Trial) -> float:
    """An accuracy that is a sum over layers, 0.72 to 0.98 or so."""
    indices = MACRO.indices(suggested(trial))
    return float(0.85 + 0.02 * sum(EFFECTS[i, pick] for i, pick in enumerate(indices)))


def study_of(settings: Settings, space: SearchSpace = MACRO, **given: Any) -> optuna.Study:
    rest: dict[str, Any] = {"direction": "maximize"} | given
    return optuna.create_study(sampler=SurrogateSampler(space, settings, COUNTED), **rest)


def archs_of(study: optuna.Study, space: SearchSpace = MACRO) -> list[Architecture]:
    return [canonical(space.architecture(trial.params)) for trial in study.trials]


def test_all_are_in_the_band_and_none_comes_twice() -> None:
    study = study_of(asked("flops=80M", "params=3M"))
    study.optimize(additive, n_trials=40)
    archs = archs_of(study)
    assert len(set(archs)) == 40
    assert all(72e6 <= cost(arch).macs <= 80e6 and cost(arch).params <= 3e6 for arch in archs)


def test_a_seed_is_a_study() -> None:
    studies = [study_of(asked(seed=seed)) for seed in (1, 1, 2)]
    for study in studies:
        study.optimize(additive, n_trials=12)
    first, again, other = map(archs_of, studies)
    assert first == again
    assert first != other


@pytest.mark.slow
def test_resumed_by_another_study_object_it_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    whole = study_of(asked())
    whole.optimize(additive, n_trials=18)
    url = f"sqlite:///{tmp_path / 'own.db'}"
    for count in (3, 6, 9):
        study = study_of(asked(), storage=url, study_name="own", load_if_exists=True)
        study.optimize(additive, n_trials=count)
    assert archs_of(study) == archs_of(whole)


def test_it_beats_random_ones() -> None:
    def best(sampler: optuna.samplers.BaseSampler) -> float:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(additive, n_trials=30)
        return study.best_value

    # All up to the largest are let in, and a score is an accuracy.
    settings = [asked("flops=1G", seed=seed, band=0.0, w=0.0) for seed in range(4)]
    ours = [best(SurrogateSampler(MACRO, each)) for each in settings]
    drawn = [best(optuna.samplers.RandomSampler(seed=each.seed)) for each in settings]
    assert np.mean(ours) > np.mean(drawn) + 0.01
    most = 0.85 + 0.02 * EFFECTS.max(axis=1).sum()
    assert np.mean(ours) > most - 0.02


def test_two_objectives() -> None:
    study = study_of(asked(objective="pareto"), direction=None, directions=["maximize", "minimize"])
    study.optimize(lambda trial: (additive(trial), cost(MACRO.architecture(trial.params)).macs), n_trials=30)
    archs = archs_of(study)
    assert len(set(archs)) == 30
    assert all(cost(arch).macs <= 80e6 for arch in archs)
    assert min(cost(arch).macs for arch in archs) < 72e6
    assert len(study.best_trials) >= 3


def test_in_two_threads_none_comes_twice() -> None:
    study = study_of(asked())
    study.optimize(additive, n_trials=40, n_jobs=2)
    archs = archs_of(study)
    assert len(set(archs)) == len(archs) == 40
    assert all(72e6 <= cost(arch).macs <= 80e6 for arch in archs)


def asked_for(study: optuna.Study, space: SearchSpace, count: int) -> list[Architecture]:
    """So many asked for at once, and only then their options."""
    trials = [study.ask() for _ in range(count)]
    return [canonical(space.architecture(suggested(trial, space))) for trial in trials]


@pytest.mark.parametrize("told", [0, 12])
def test_several_that_are_asked_for_at_once_are_all_different(told: int) -> None:
    space = make_space()
    study = study_of(asked("flops=1.2M", band=0.5), space)
    for _ in range(told):
        trial = study.ask(distributions(space))
        study.tell(trial, level(space.architecture(trial.params)))
    archs = asked_for(study, space, 8)
    assert len(set(archs)) == 8


def test_one_that_has_some_of_its_options_is_not_proposed_again() -> None:
    space = make_space()
    study = study_of(asked("flops=1.2M", band=0.5), space)
    for _ in range(12):
        trial = study.ask(distributions(space))
        study.tell(trial, level(space.architecture(trial.params)))
    first, other = study.ask(), study.ask()
    first.suggest_categorical(space.choices[0].name, space.choices[0].values)
    archs = [canonical(space.architecture(suggested(each, space))) for each in (other, first)]
    assert archs[0] != archs[1]


def test_running_ones_are_not_proposed_again() -> None:
    space = make_space()
    study = study_of(asked("flops=1M", band=0.8), space)
    trials = [study.ask(distributions(space)) for _ in range(10)]
    for trial in trials:
        study.tell(trial, level(space.architecture(trial.params)))
    for _ in range(6):
        study.ask(distributions(space))
    assert len(set(archs_of(study, space))) == 16


def test_a_band_that_is_used_up_is_told() -> None:
    space = make_space(SMALLEST)
    study = study_of(asked("flops=10M", band=0.0), space)
    study.optimize(lambda trial: level(space.architecture(suggested(trial, space))), n_trials=3)
    assert len(set(archs_of(study, space))) == 3
    with pytest.raises(StudyError, match="no new architecture was found in the cost range"):
        study.optimize(lambda trial: level(space.architecture(suggested(trial, space))), n_trials=1)
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 3


def test_a_band_that_cannot_be_met_is_told_at_once() -> None:
    with pytest.raises(TargetError, match="cannot be met"):
        SurrogateSampler(MACRO, asked("flops=1k"))


def test_trials_of_others_failed_and_pruned_ones_are_learnt() -> None:
    study = study_of(asked())
    indices = MACRO.sample(np.random.default_rng(0), 20)
    for row in indices:
        study.enqueue_trial(MACRO.params(row.tolist()))

    def uneven(trial: optuna.Trial) -> float:
        value = additive(trial)
        if trial.number % 4 == 3:
            trial.report(value, 1)
            raise optuna.TrialPruned
        if trial.number % 5 == 2:
            raise RuntimeError
        return value

    study.optimize(uneven, n_trials=40, catch=(RuntimeError,))
    archs = archs_of(study)
    assert archs[:20] == [canonical(MACRO.from_indices(row)) for row in indices]
    assert len(set(archs[20:]) - set(archs[:20])) == 20
    assert all(72e6 <= cost(arch).macs <= 80e6 for arch in archs[20:])


def test_parameters_beside_the_spaces_are_drawn_at_random() -> None:
    study = study_of(asked())
    study.optimize(lambda trial: additive(trial) * (0.5 + trial.suggest_float("rate", 0, 0.1)), n_trials=12)
    assert len({trial.params["rate"] for trial in study.trials}) == 12
    own = [{k: v for k, v in trial.params.items() if k != "rate"} for trial in study.trials]
    assert len({canonical(MACRO.architecture(params)) for params in own}) == 12
