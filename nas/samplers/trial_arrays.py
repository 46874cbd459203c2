"""The trials of a search as arrays, and which of them the weights of the model of accuracy are fitted to."""

import numpy as np
from attrs import astuple, field, frozen
from numpy.typing import NDArray

from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Floats
from nas.samplers.surrogate import level_slope

# Before there are so many accuracies, there is no model, and suggestions are as different from each other as possible.
FIRST = 5
# Largest number of measurements that the weights are fitted to; the time grows with the cube of their number.
MOST_FITTED = 150
GROWTH = 1.15


@frozen(eq=False)
class History:
    """Hold the trials of a search as arrays, in the order of the trials.

    Attributes:
        indices: Choice indices, `(N, choices)`.
        accuracies: Accuracies, `(N,)`, 0 to 1; NaN where there is none.
        failed: Whether a trial ended without an accuracy, `(N,)`; a trial that has neither is still running.
        extrapolated: Whether an accuracy was extrapolated from earlier epochs, `(N,)`; empty where none was.
        noise: Known variance of each accuracy that other networks do not share, `(N,)`; 0, or empty, where nothing is
            known.
        expected: Accuracies that are less far from their mean, at which the known variances are taken, `(N,)`; empty
            where they are the accuracies themselves.
    """

    indices: ChoiceIndices
    accuracies: Floats
    failed: NDArray[np.bool_]
    extrapolated: NDArray[np.bool_] = field(factory=lambda: np.zeros(0, dtype=bool))
    noise: Floats = field(factory=lambda: np.zeros(0))
    expected: Floats = field(factory=lambda: np.zeros(0))

    @property
    def level_noise(self) -> Floats:
        """Return the known variance of the level of each accuracy, `(N,)`; 0 where there is no accuracy."""
        if not len(self.noise):
            return np.zeros(len(self.accuracies))
        slopes = level_slope(self.expected if len(self.expected) else self.accuracies)
        return np.asarray(np.nan_to_num(self.noise * slopes**2))

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Return which trials have an accuracy."""
        return ~np.isnan(self.accuracies)

    @property
    def running(self) -> NDArray[np.bool_]:
        """Return which trials have not ended."""
        return ~self.measured & ~self.failed

    @property
    def unmeasured(self) -> NDArray[np.intp]:
        """Return the rows of the trials that run or have failed."""
        return np.flatnonzero(~self.measured)

    def ended(self) -> "History":
        """Return the trials that have ended."""
        rows = ~self.running
        return History(*(each[rows] if len(each) else each for each in astuple(self, recurse=False)))


def fitted_rows(history: History) -> NDArray[np.intp]:
    """Return the rows of the measurements that the weights are fitted to."""
    # Extrapolated accuracies change with every further trial, measured ones do not.
    sure = history.measured & ~history.extrapolated if len(history.extrapolated) else history.measured
    sure = sure if sure.sum() >= FIRST else history.measured
    rows = np.flatnonzero(sure)[: fitted_count(int(sure.sum()))]
    if len(rows) > MOST_FITTED:
        # The seed is the number of rows, so that every process selects the same ones.
        rows = np.sort(np.random.default_rng(len(rows)).choice(rows, MOST_FITTED, replace=False))
    return rows


def fitted_count(count: int) -> int:
    """Return the largest number up to `count` of a sequence that grows by 15%."""
    size = FIRST
    while (larger := max(size + 1, int(size * GROWTH))) <= count:
        size = larger
    return size
