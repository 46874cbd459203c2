"""Whether a training is still sound, told by its losses."""

import math
from collections import deque
from collections.abc import Sequence

from nas.errors import EvaluationError

# A training has come apart when the mean loss of so many steps is so many times that of guessing.
WINDOW, TIMES = 10, 10.0


class Losses:
    """The losses of a training, step by step.

    Args:
        classes: of the task; guessing has a loss of ln(classes).
    """

    def __init__(self, classes: int) -> None:
        self._most = TIMES * math.log(classes)
        self._recent: deque[float] = deque(maxlen=WINDOW)

    @property
    def recent(self) -> Sequence[float]:
        """The last ones, for `take_in`."""
        return tuple(self._recent)

    def take_in(self, recent: Sequence[float]) -> None:
        """Go on from these."""
        self._recent.extend(map(float, recent))

    def add(self, epoch: int, step: int, loss: float) -> None:
        """Take in the loss of a step, counted from 1 over all epochs.

        Raises:
            EvaluationError: it is not finite, or the last ones are far above that of guessing.
        """
        where = f"in epoch {epoch}, step {step}"
        if not math.isfinite(loss):
            raise EvaluationError(f"the loss is {loss} {where}", "lower learning_rate")
        self._recent.append(loss)
        mean = sum(self._recent) / len(self._recent)
        if len(self._recent) == WINDOW and mean > self._most:
            raise EvaluationError(
                f"the training diverged {where}: the last {WINDOW} losses average {mean:.3g}, above {self._most:.3g}, "
                f"{TIMES:g} times that of guessing",
                "lower learning_rate",
            )
