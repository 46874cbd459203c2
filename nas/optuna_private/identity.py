"""Numbers that Optuna's storages give to studies and trials, and the storage behind a study."""

from collections.abc import Sequence
from typing import Protocol

import optuna
from optuna.storages import BaseStorage
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna.trial import FrozenTrial


class HasTrialId(Protocol):
    """Stand for any of Optuna's kinds of trials: `Trial` or `FrozenTrial`."""

    _trial_id: int


class HasStudyId(Protocol):
    """Stand for any of Optuna's kinds of studies: `Study` or `FrozenStudy`."""

    _study_id: int


def trial_id(trial: HasTrialId) -> int:
    """Return the number that the storage gave to a trial; it is unique among all studies of the storage."""
    return trial._trial_id


def set_trial_id(trial: FrozenTrial, trial_id: int) -> None:
    """Set the number of a trial that was built before it was stored."""
    trial._trial_id = trial_id


def study_id(study: HasStudyId) -> int:
    """Return the number that the storage gave to a study."""
    return study._study_id


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage of a study, with Optuna's cache where it has one."""
    return study._storage


def name_metrics(study: optuna.Study, names: Sequence[str]) -> None:
    """Name the values of a study's trials where they have no names yet.

    `Study.set_metric_names` does the same, and warns that it is experimental.
    """
    if study.metric_names is None:
        study._storage.set_study_system_attr(study._study_id, _SYSTEM_ATTR_METRIC_NAMES, list(names))


def validate(trial: FrozenTrial) -> None:
    """Check a trial by the rules that Optuna applies to trials from elsewhere.

    Raises:
        ValueError: The trial breaks a rule.
        TypeError: A parameter has a type that its distribution cannot compare.
        OverflowError: A parameter is too large for its distribution.
    """
    trial._validate()
