"""This module holds what the trial loop works on: running trials, their source, their recorder, and limits."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

import optuna
from attrs import define, field, frozen
from optuna.trial import FrozenTrial, TrialState

from nas.arch.spec import Architecture
from nas.evaluate.base import Evaluators
from nas.optuna_private.identity import trial_id
from nas.outlook import Outlook
from nas.search.defaults import RETRIES
from nas.search.patience import Patience
from nas.studies.reservations import Reservation
from nas.workers.base import Key, Outcome


@define(eq=False)
class Running:
    """A trial that this process evaluates, or is about to.

    Attributes:
        trial: The trial as it began; its result is added when it ends.
        arch: Network to evaluate.
        resolution: Pixels of a side of the images that it is evaluated on.
        seed: Seed of the evaluation.
        reservation: Its reservation; None where the trial is only written when it has ended.
        handle: Optuna's handle, which takes a report for each epoch; None where epochs are not reported.
        begun: When it started, by this process's monotonic clock, in seconds.
    """

    trial: FrozenTrial
    arch: Architecture
    resolution: int
    seed: int
    reservation: Reservation | None = None
    handle: optuna.Trial | None = None
    begun: float = field(factory=time.monotonic)

    @property
    def key(self) -> Key:
        """Key that workers know it by: the text of its network and the database's number of the trial."""
        return str(self.trial.user_attrs["arch"]), trial_id(self.trial)


class TrialSource(Protocol):
    """A source gives the trials of a study: it is a sampler, or a fixed list of jobs."""

    def next(self, number: int) -> Running | None:
        """Return a trial that no process has reserved yet, as far as this one has learned; None where there is none.

        The trial is not written. Asking again without learning anything returns the same.

        Args:
            number: Number of trials that are reserved in the study.
        """
        ...

    def learn(self, trials: Iterable[FrozenTrial]) -> None:
        """Take in trials of all processes: running ones, and once more when they have ended, killed ones too."""
        ...

    def avoid(self, running: Running) -> None:
        """Do not return this trial again: its reservation belongs to another process, or waits to be taken over."""
        ...


class Recorder(Protocol):
    """Makes trials and writes down their results."""

    def again(self, trial: FrozenTrial) -> Running:
        """Return a new trial that repeats one whose evaluation was cut short."""
        ...

    def end(self, running: Running, state: TrialState, outcome: Outcome) -> FrozenTrial:
        """Return the trial with its result added."""
        ...

    def reported(self, running: Running, accuracy: float) -> float | None:
        """Return the value that pruners compare after an epoch, None where the study prunes nothing."""
        ...


@frozen
class Evaluation:
    """How the trials of a study are evaluated.

    Attributes:
        evaluators: Evaluators by resolution and seed.
        epochs: Number of epochs, at most.
        by_epoch: Whether each epoch is reported, so that unpromising trials can be stopped.
    """

    evaluators: Evaluators
    epochs: int
    by_epoch: bool = False


def _never() -> bool:
    return False


def _unknown() -> None:
    return None


@frozen
class Limits:
    """When this process begins no more trials, and how it treats those of others.

    Attributes:
        retries: How often a trial whose process ended is started again before it fails.
        trials: Number of trials that the study shall have; None for as many as the source returns.
        patience: When the search ends because nothing better comes, or is expected; None for never.
        is_late: Whether the time is over.
        quick_s: A trial that is likely to take less than so many seconds is only written when it has ended.
        keys: Reservations that concern this process, by their keys; None for all of the study.
        waits: Whether to wait for the trials of other processes before coming to an end.
        outlook: Returns what is still to be expected; None if this is not known.
    """

    retries: int = RETRIES
    trials: int | None = None
    patience: Patience | None = None
    is_late: Callable[[], bool] = _never
    quick_s: float = 0.0
    keys: frozenset[str] | None = None
    waits: bool = True
    outlook: Callable[[], Outlook | None] = _unknown
