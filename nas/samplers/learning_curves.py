"""Learning curves: the accuracy that a pruned trial would probably have reached, and the error of this guess."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from attrs import define, field

from nas.samplers.encoding import Floats

# Relative error of an extrapolation as long as no complete curve shows it. It counts as much as so many curves, so that
# two curves that are alike by chance do not make an extrapolation exact.
DEFAULT_ERROR = 0.1
DEFAULT_CURVES = 3


@define(eq=False)
class LearningCurves:
    """Hold by how much the accuracies of complete trials grew from each epoch to the last."""

    _factors: dict[int, list[float]] = field(factory=lambda: defaultdict(list), init=False)
    _found: dict[int, tuple[float, float]] = field(factory=dict, init=False)

    def add(self, curve: Sequence[float]) -> None:
        """Add the accuracies by epoch of a complete trial."""
        for epochs, accuracy in enumerate(curve, 1):
            if accuracy:
                self._factors[epochs].append(curve[-1] / accuracy)
        self._found.clear()

    def extrapolate(self, curve: Sequence[float]) -> tuple[float, float]:
        """Return the accuracy after the last epoch that some first epochs let expect, and its variance.

        The accuracy grows by the median factor of the complete curves. The variance is that of leaving each complete
        curve out and extrapolating it by the others.
        """
        growth, error = self._growth(len(curve))
        accuracy = min(1.0, curve[-1] * growth)
        return accuracy, (accuracy * error) ** 2

    def _growth(self, epochs: int) -> tuple[float, float]:
        """Return the median growth of accuracies from an epoch to the last, and the relative error of using it."""
        if epochs not in self._found:
            factors = np.sort(np.array(self._factors.get(epochs, ())))
            missed = np.clip(factors / _medians_of_others(factors) - 1, -1, 1) if len(factors) > 1 else np.zeros(0)
            squares = float((missed**2).sum()) + DEFAULT_CURVES * DEFAULT_ERROR**2
            growth = float(np.median(factors)) if len(factors) else 1.0
            self._found[epochs] = growth, (squares / (len(missed) + DEFAULT_CURVES)) ** 0.5
        return self._found[epochs]


def _medians_of_others(values: Floats) -> Floats:
    """Return for each of at least two sorted values, `(N,)`, the median of the others; at least a tiny number."""
    left = len(values) - 1
    places = np.array([(left - 1) // 2, left // 2])[:, None]
    # Without value i, the values after it move forward by one place.
    others = values[places + (places >= np.arange(len(values)))]
    return np.asarray(np.maximum(others.mean(axis=0), 1e-9))
