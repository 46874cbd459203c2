"""The history of trials as the model of accuracy reads it, kept in arrays that grow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Floats
from nas.samplers.ranking import History
from nas.space.decode import SearchSpace


@define(eq=False)
class TrialHistory:
    """Holds trials in the order in which they were first added.

    Attributes:
        space: Space of the architectures.
    """

    space: SearchSpace
    _rows: dict[int, int] = field(factory=dict, init=False)
    _indices: ChoiceIndices = field(init=False)
    _accuracies: Floats = field(factory=lambda: np.empty(0), init=False)
    _ended: Floats = field(factory=lambda: np.empty(0), init=False)
    _pruned_curves: dict[int, Sequence[float]] = field(factory=dict, init=False)
    _left_out: set[int] = field(factory=set, init=False)
    _complete_curves: list[Sequence[float]] = field(factory=list, init=False)

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
        if trial.state == TrialState.COMPLETE and curve:
            self._accuracies[row] = curve[-1]
            self._complete_curves.append(curve)
        elif trial.state == TrialState.PRUNED and curve:
            self._pruned_curves[row] = curve

    def forget(self, number: int) -> None:
        """Leave out a trial that was interrupted while it was running."""
        if number in self._rows:
            self._left_out.add(self._rows[number])

    def history(self) -> History:
        """Return all trials; pruned ones with the accuracy that they would probably have reached."""
        count = len(self._rows)
        accuracies = self._accuracies[:count].copy()
        extrapolated = np.zeros(count, dtype=bool)
        extrapolated[list(self._pruned_curves)] = True
        for row, curve in self._pruned_curves.items():
            accuracies[row] = min(1.0, curve[-1] * self._growth(len(curve)))
        failed = np.isnan(accuracies) & (self._ended[:count] > 0)
        if not self._left_out:
            return History(self._indices[:count], accuracies, failed, extrapolated)
        lasting = np.setdiff1d(np.arange(count), list(self._left_out))
        return History(self._indices[lasting], accuracies[lasting], failed[lasting], extrapolated[lasting])

    def _growth(self, epochs: int) -> float:
        """Return the median factor by which accuracies grow from one epoch to the last."""
        factors = [
            curve[-1] / curve[epochs - 1]
            for curve in self._complete_curves
            if len(curve) >= epochs and curve[epochs - 1]
        ]
        return float(np.median(factors)) if factors else 1.0

    def _grow(self) -> None:
        # The size doubles, so that adding N trials copies only a multiple of N rows.
        more = max(64, len(self._indices))
        self._indices = np.concatenate([self._indices, np.zeros((more, self._indices.shape[1]), dtype=np.intp)])
        self._accuracies = np.concatenate([self._accuracies, np.full(more, np.nan)])
        self._ended = np.concatenate([self._ended, np.zeros(more)])


def has_choices(space: SearchSpace, trial: FrozenTrial) -> bool:
    """Return whether a trial has an option of every open choice; the trials of another program need not."""
    return all(
        choice.name in trial.params and str(trial.params[choice.name]) in map(str, choice.values)
        for choice in space.choices
    )


def read_curve(kept: Mapping[str, Any], values: Sequence[float] | None) -> Sequence[float]:
    """Return accuracies by epoch; for a trial of another tool, its first value."""
    return tuple(kept.get("accuracy_by_epoch") or (values or ())[:1])
