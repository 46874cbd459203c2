"""The history of trials as the model of accuracy reads it, kept in arrays that grow."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import define, field
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.noise import Correct, Errors, ValidationSplit, find_errors, unpack_all
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Floats
from nas.samplers.learning_curves import LearningCurves
from nas.samplers.trial_arrays import History, fitted_count
from nas.space.decode import SearchSpace

# Numbers of networks from which the shares of the sampling error are estimated: more would take longer than a
# suggestion may, and make them hardly more exact.
MOST_NETWORKS = 50
NONE: Mapping[int, Sequence[float]] = MappingProxyType({})


@define(eq=False)
class TrialHistory:
    """Holds trials in the order in which they were first added.

    Attributes:
        space: Space of the architectures.
        split: Validation split of the accuracies; None where it is not known.
        further: Accuracies of further training runs of the same networks, by trial number.
    """

    space: SearchSpace
    split: ValidationSplit | None = None
    further: Mapping[int, Sequence[float]] = NONE
    _rows: dict[int, int] = field(factory=dict, init=False)
    _indices: ChoiceIndices = field(init=False)
    _accuracies: Floats = field(factory=lambda: np.empty(0), init=False)
    _counts: Floats = field(factory=lambda: np.empty(0), init=False)
    _ended: Floats = field(factory=lambda: np.empty(0), init=False)
    _runs: dict[int, Sequence[float]] = field(factory=dict, init=False)
    _correct: dict[int, str] = field(factory=dict, init=False)
    _pruned_curves: dict[int, Sequence[float]] = field(factory=dict, init=False)
    _left_out: set[int] = field(factory=set, init=False)
    _curves: LearningCurves = field(factory=LearningCurves, init=False)
    _errors: tuple[tuple[int, ...], Errors] | None = field(default=None, init=False)

    @_indices.default
    def _no_indices(self) -> ChoiceIndices:
        return np.zeros((0, len(self.space.all_choices)), dtype=np.intp)

    def add(self, trial: FrozenTrial) -> None:
        """Add a trial, or the result of one that was added while it was running."""
        row = self._rows.setdefault(trial.number, len(self._rows))
        if row == len(self._indices):
            self._grow()
        own = {choice.name: trial.params[choice.name] for choice in self.space.choices}
        self._indices[row] = self.space.indices(own)
        self._ended[row] = trial.state.is_finished()
        curve = read_curve(trial.user_attrs, trial.values)
        # Another program may have stored anything; what is no accuracy counts as a failure.
        if not curve or not all(0 <= accuracy <= 1 for accuracy in curve):
            return
        if trial.state == TrialState.COMPLETE:
            self._runs[row] = (curve[-1], *self.further.get(trial.number, ()))
            self._correct[row] = str(trial.user_attrs.get("correct", ""))
            self._accuracies[row], self._counts[row] = np.mean(self._runs[row]), len(self._runs[row])
            self._curves.add(curve)
        elif trial.state == TrialState.PRUNED:
            self._pruned_curves[row] = curve

    def forget(self, number: int) -> None:
        """Leave out a trial that was interrupted while it was running."""
        if number in self._rows:
            self._left_out.add(self._rows[number])

    def history(self) -> History:
        """Return all trials; pruned ones with the accuracy that they would probably have reached."""
        count = len(self._rows)
        accuracies, noise = self._accuracies[:count].copy(), np.zeros(count)
        extrapolated = np.zeros(count, dtype=bool)
        extrapolated[list(self._pruned_curves)] = True
        for row, curve in self._pruned_curves.items():
            accuracies[row], noise[row] = self._curves.extrapolate(curve)
        failed = np.isnan(accuracies) & (self._ended[:count] > 0)
        lasting = np.setdiff1d(np.arange(count), list(self._left_out)) if self._left_out else np.arange(count)
        accuracies, expected, errors = self._with_errors(lasting, accuracies, extrapolated)
        noise += errors
        if not self._left_out:
            return History(self._indices[:count], accuracies, failed, extrapolated, noise, expected)
        parts = (failed[lasting], extrapolated[lasting], noise[lasting], expected[lasting])
        return History(self._indices[lasting], accuracies[lasting], *parts)

    def _with_errors(
        self, lasting: NDArray[np.intp], accuracies: Floats, extrapolated: NDArray[np.bool_]
    ) -> tuple[Floats, Floats, Floats]:
        """Return accuracies, the accuracies to expect of them, and the variances of their known errors, `(N,)` each.

        The errors are estimated from as many of the first complete trials as the weights of the model are fitted to, so
        that they are not estimated again for every suggestion.
        """
        complete = lasting[~np.isnan(accuracies[lasting]) & ~extrapolated[lasting]]
        first = complete[: fitted_count(len(complete))]
        errors = self._find_errors(first)
        if len(first) < 2 or (errors.split is None and not errors.is_complete):
            return accuracies, accuracies, np.zeros(len(accuracies))
        if errors.split is not None:
            # The logarithm of the error rate would take an accuracy of 1 for more than some images can show.
            accuracies = np.minimum(accuracies, 1 - 0.5 / errors.split.effective)
        expected = _expected(accuracies, accuracies[first], errors)
        return accuracies, expected, np.nan_to_num(errors.own(expected, self._counts[: len(accuracies)]))

    def _find_errors(self, first: NDArray[np.intp]) -> Errors:
        """Return the errors of the accuracies by some trials, and by all networks with several training runs."""
        rows = tuple(np.union1d(first[:MOST_NETWORKS], np.flatnonzero(self._counts > 1)).tolist())
        if self._errors is None or self._errors[0] != rows:
            errors = find_errors(self.split, [(self._runs[row], self._read_correct(row)) for row in rows])
            self._errors = rows, errors
        return self._errors[1]

    def _read_correct(self, row: int) -> Sequence[Correct]:
        return () if self.split is None else unpack_all([self._correct[row]], 1, self.split.images) or ()

    def _grow(self) -> None:
        # The size doubles, so that adding N trials copies only a multiple of N rows.
        more = max(64, len(self._indices))
        self._indices = np.concatenate([self._indices, np.zeros((more, self._indices.shape[1]), dtype=np.intp)])
        self._accuracies = np.concatenate([self._accuracies, np.full(more, np.nan)])
        self._counts = np.concatenate([self._counts, np.ones(more)])
        self._ended = np.concatenate([self._ended, np.zeros(more)])


def _expected(accuracies: Floats, first: Floats, errors: Errors) -> Floats:
    """Return accuracies moved toward the mean of some of them by the share of their variance that is known error.

    An accuracy that is high by chance would have too small an error of its own.
    """
    middle = float(first.mean())
    share = max(0.0, 1 - errors.own(middle, 1) / max(float(first.var(ddof=1)), 1e-12))
    return np.asarray(middle + share * (accuracies - middle))


def has_choices(space: SearchSpace, trial: FrozenTrial) -> bool:
    """Return whether a trial has an option of every open choice; the trials of another program need not."""
    return all(
        choice.name in trial.params and str(trial.params[choice.name]) in map(str, choice.values)
        for choice in space.choices
    )


def read_curve(kept: Mapping[str, Any], values: Sequence[float] | None) -> Sequence[float]:
    """Return accuracies by epoch; for a trial of another tool, its first value."""
    return tuple(kept.get("accuracy_by_epoch") or (values or ())[:1])
