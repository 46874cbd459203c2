"""Learning rate schedules: the factor of the peak learning rate after a share of all steps."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from attrs import frozen


@frozen
class Schedule:
    """Describe how the learning rate rises and falls, relative to its peak.

    Shares of the training run, and not numbers of epochs, so that a run of another length has the same form.

    Attributes:
        name: Name of the form, a key of `FORMS`.
        warm_up: Share of all steps in which the factor rises from `initial` to 1.
        initial: Factor of the first step.
        final: Factor that a cosine, a line or one cycle falls to.
        step_share: Share of all steps after which a step or an exponential multiplies the factor by `step_factor`.
        step_factor: Factor of a step, from above 0 to 1.

    Example:
        >>> schedule = Schedule("linear", warm_up=0.25, initial=0.2, final=0.1)
        >>> [round(schedule(done), 3) for done in (0, 0.125, 0.25, 0.625, 1)]
        [0.2, 0.6, 1.0, 0.55, 0.1]
    """

    name: str = "cosine"
    warm_up: float = 0.0
    initial: float = 0.0
    final: float = 0.0
    step_share: float = 1 / 3
    step_factor: float = 0.1

    def __call__(self, done: float) -> float:
        """Return the factor after a share of all steps, from 0 to 1."""
        return FORMS[self.name](self, done)

    def fallen(self, done: float) -> float:
        """Return how much of the time after the warm-up has passed, from 0 to 1."""
        return (done - self.warm_up) / (1 - self.warm_up)

    def risen(self, done: float) -> float:
        """Return how much of the warm-up has passed, from 0 to 1."""
        return done / self.warm_up if done < self.warm_up else 1.0

    def between(self, low: float, weight: float) -> float:
        """Return the factor between a lower one and 1, which has the given weight."""
        return low + (1 - low) * weight


def _half_cosine(share: float) -> float:
    """Return a weight that falls from 1 to 0 as half a cosine."""
    return (1 + math.cos(math.pi * share)) / 2


def _constant(schedule: Schedule, done: float) -> float:
    return schedule.between(schedule.initial, schedule.risen(done))


def _cosine(schedule: Schedule, done: float) -> float:
    if done < schedule.warm_up:
        return _constant(schedule, done)
    return schedule.between(schedule.final, _half_cosine(schedule.fallen(done)))


def _linear(schedule: Schedule, done: float) -> float:
    if done < schedule.warm_up:
        return _constant(schedule, done)
    return schedule.between(schedule.final, 1 - schedule.fallen(done))


def _one_cycle(schedule: Schedule, done: float) -> float:
    if done < schedule.warm_up:
        return schedule.between(schedule.initial, 1 - _half_cosine(schedule.risen(done)))
    return _cosine(schedule, done)


def _exponential(schedule: Schedule, done: float) -> float:
    return (
        _constant(schedule, done) if done < schedule.warm_up else schedule.step_factor ** (done / schedule.step_share)
    )


def _step(schedule: Schedule, done: float) -> float:
    if done < schedule.warm_up:
        return _constant(schedule, done)
    # Three steps of a share of 0.3333 end where the training run ends, apart from rounding.
    return schedule.step_factor ** math.floor(done / schedule.step_share + 1e-9)


# The steps are counted from the beginning of the training run, warm-up included, as in the code of EfficientNet.
FORMS: Mapping[str, Callable[[Schedule, float], float]] = MappingProxyType(
    {
        "cosine": _cosine,
        "linear": _linear,
        "one-cycle": _one_cycle,
        "step": _step,
        "exponential": _exponential,
        "constant": _constant,
    }
)
