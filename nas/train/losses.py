"""Detection of training runs that diverge, from their losses."""

import math
from collections import deque
from collections.abc import Sequence

from nas.errors import EvaluationError

# A training run has diverged when the mean of its last WINDOW losses is above TIMES times the loss of guessing.
# A single high loss is no divergence: it is common after the learning rate has risen to its peak.
WINDOW, TIMES = 10, 10.0


class LossMonitor:
    """Check the loss of each step of a training run.

    Args:
        guessing: Loss of guessing, for example ln(classes) with cross-entropy.

    Example:
        >>> monitor = LossMonitor(guessing=math.log(10))
        >>> monitor.add(epoch=1, step=1, loss=2.3)
        >>> monitor.add(epoch=1, step=2, loss=float("nan"))
        Traceback (most recent call last):
        nas.errors.EvaluationError: the loss is nan in epoch 1, step 2; a loss must be finite
          lower learning_rate
    """

    def __init__(self, guessing: float) -> None:
        self._limit = TIMES * guessing
        self._recent: deque[float] = deque(maxlen=WINDOW)

    @property
    def recent(self) -> Sequence[float]:
        """Return the last losses, for `restore`."""
        return tuple(self._recent)

    def restore(self, recent: Sequence[float]) -> None:
        """Continue after the given losses, so that a resumed training run is stopped at the same step."""
        self._recent.extend(map(float, recent))

    def add(self, epoch: int, step: int, loss: float) -> None:
        """Check the loss of a step.

        Args:
            epoch: Number of the epoch, counted from 1.
            step: Number of the step, counted from 1 over all epochs.
            loss: Loss of the step.

        Raises:
            EvaluationError: The loss is not finite, or the training run has diverged.
        """
        where = f"in epoch {epoch}, step {step}"
        if not math.isfinite(loss):
            raise EvaluationError(f"the loss is {loss} {where}; a loss must be finite", "lower learning_rate")
        self._recent.append(loss)
        mean = sum(self._recent) / len(self._recent)
        if len(self._recent) == WINDOW and mean > self._limit:
            raise EvaluationError(
                f"the training run diverged {where}: the mean of the last {WINDOW} losses is {mean:.3g}; it must stay "
                f"below {self._limit:.3g}, which is {TIMES:g} times the loss of guessing",
                "lower learning_rate",
            )
