"""A study as nas works on it: without the trials that other programs have written into it.

Any tool for Optuna can add trials to a study, leave trials running, or end those of nas. Such trials lack what nas
writes: the architecture and its costs from the start of a trial, and its accuracies or the reason of its failure from
the end. They would mislead samplers, pruners and results, so they are counted and named, and left out of everything
else. They are never changed.
"""

import math
from collections.abc import Collection, Container, Sequence

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.noise import unpack
from nas.studies.records import KILLED
from nas.studies.reservation_keys import ARCH, TRAINED
from nas.studies.trial_records import RECORDED, read_trial
from nas.studies.validation import check, check_costs

READ = (*RECORDED, TRAINED)  # user attributes that tell whether a trial is one of nas, and what it holds
SHOWN = 5  # numbers of foreign trials in a note


class OwnStudy(optuna.Study):
    """A study whose `trials` and `get_trials` are those of nas alone.

    Args:
        name: Name of the study, which exists.
        storage: Storage of the study.
        costs: Names of the costs that every trial must have.
    """

    def __init__(self, name: str, storage: BaseStorage, costs: Collection[str] = ()) -> None:
        # Trials have all parameters when they are created, so the sampler has no work; this one reads no trials.
        super().__init__(name, storage, optuna.samplers.RandomSampler())
        self._costs = costs
        self._checked: dict[int, bool] = {}

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Return the trials of nas, by number; see `optuna.Study`."""
        return [trial for trial in super().get_trials(deepcopy, states) if self._is_own(trial)]

    def foreign_numbers(self) -> tuple[int, ...]:
        """Return the numbers of the trials of other programs."""
        return tuple(trial.number for trial in super().get_trials(deepcopy=False) if not self._is_own(trial))

    def _is_own(self, trial: FrozenTrial) -> bool:
        # Optuna changes no trial that has ended, so each of these is checked once.
        known = self._checked.get(trial.number)
        if known is None:
            known = is_own(trial, self._costs)
            if trial.state.is_finished():
                self._checked[trial.number] = known
        return known


def is_own(trial: FrozenTrial, costs: Collection[str] = ()) -> bool:
    """Return whether a trial is as nas writes it.

    Args:
        trial: Trial of any program.
        costs: Names of the costs that it must have.
    """
    kept = trial.user_attrs
    if KILLED in kept:
        return trial.state == TrialState.FAIL and _fits(trial)
    is_begun = isinstance(kept.get(ARCH), str) and bool(kept[ARCH]) and _fits(trial)
    return is_begun and {*costs} <= {*kept.get("costs", {})} and _is_ended_well(trial)


def _fits(trial: FrozenTrial) -> bool:
    """Return whether the attributes of a trial have the types and the range that nas gives them."""
    try:
        record = read_trial(trial)
        check(record)
        check_costs(record.costs)
        if record.correct != "":
            unpack(record.correct)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError):
        return False
    return isinstance(trial.user_attrs.get(TRAINED, ""), str) and all(0 <= each <= 1 for each in record.accuracies)


def _is_ended_well(trial: FrozenTrial) -> bool:
    """Return whether a trial runs, or holds what nas writes at the end of a trial."""
    accuracies, values = trial.user_attrs.get("accuracy_by_epoch"), trial.values or ()
    if trial.state == TrialState.COMPLETE:
        # The value of a training run of a fixed list is its accuracy.
        is_possible = TRAINED not in trial.user_attrs or all(0 <= value <= 1 for value in values)
        return bool(accuracies and values) and is_possible and all(map(math.isfinite, values))
    if trial.state == TrialState.FAIL:
        return bool(trial.user_attrs.get("reason"))
    return bool(accuracies) if trial.state == TrialState.PRUNED else trial.state == TrialState.RUNNING


def describe_foreign(numbers: Sequence[int]) -> str:
    """Return a sentence that names the trials of other programs in a study; "" where there are none."""
    if not numbers:
        return ""
    named = ", ".join(map(str, numbers[:SHOWN])) + (", …" if len(numbers) > SHOWN else "")
    if len(numbers) == 1:
        return f"1 trial was written or changed by another program and is left out: {named}"
    return f"{len(numbers)} trials were written or changed by another program and are left out: {named}"
