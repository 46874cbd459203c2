"""The next trial of this process: one that a dead process left behind, or a new one, reserved in the database."""

import random
import time
from collections.abc import Iterator, Sequence

from attrs import define, field
from optuna.trial import FrozenTrial

from nas.errors import StudyError
from nas.optuna_private.identity import trial_id as id_of
from nas.search.events import Tell
from nas.search.progress import Progress
from nas.search.session import Session, SharedStudy
from nas.search.trials import Limits, Recorder, Running, TrialSource
from nas.studies.reservations import AlreadyReserved, NoneLeft, Reservation
from nas.studies.trial_records import read_trial
from nas.workers.base import Here, Key

MOST_FAILURES = 5
LOOK_S = 2.0  # between two searches for trials of dead processes
LONGEST_WAIT_S = 0.2
OUTLOOK_EVERY = 10  # trials


class RepeatedFailureError(StudyError):
    """So many trials failed one after another that something else than their networks must be the cause."""


@define(eq=False)
class TrialReserver:
    """Decides which trial this process evaluates next, and counts those that have ended.

    Attributes:
        session: Workers and signal handlers of this process.
        shared: The study.
        source: Where new trials come from.
        recorder: Makes trials that repeat others.
        limits: When to begin no more trials.
        progress: Trials that have ended, of all processes.
        tell: Reports events.
        running: Trials that this process evaluates now.
    """

    session: Session
    shared: SharedStudy
    source: TrialSource
    recorder: Recorder
    limits: Limits
    progress: Progress
    tell: Tell
    running: dict[Key, Running] = field(factory=dict)
    is_full: bool = field(default=False, init=False)
    _is_exhausted: bool = field(default=False, init=False)
    _looked: float = field(default=float("-inf"), init=False)
    _known_chance: float = field(default=1.0, init=False)
    _next_outlook: int = field(default=0, init=False)

    @property
    def is_over(self) -> bool:
        """Return whether this process begins no more trials."""
        return self.session.interrupts.stopping or self.limits.is_late() or self.is_stale

    @property
    def is_stale(self) -> bool:
        """Return whether too many trials in a row have brought nothing better, and nothing better is expected."""
        patience = self.limits.patience
        if patience is None or self.progress.since_better < patience.trials:
            return False
        return patience.chance is None or self._chance() <= patience.chance

    def _chance(self) -> float:
        """Return the chance of a gain, computed anew after some more trials; 1 if it is not known."""
        # It takes several times as long as a suggestion.
        if self.progress.counted >= self._next_outlook:
            outlook = self.limits.outlook()
            self._known_chance = 1.0 if outlook is None else outlook.chance
            self._next_outlook = self.progress.counted + OUTLOOK_EVERY
        return self._known_chance

    @property
    def why_stale(self) -> str:
        """Return the reason why the search is stale."""
        row = f"{self.progress.since_better} trials in a row have brought nothing better"
        patience = self.limits.patience
        chance = None if patience is None else patience.chance
        return row if chance is None else f"{row}, and a gain is not expected: its chance is at most {100 * chance:g}%"

    def next(self) -> Running | None:
        """Return the next trial to evaluate, None where there is none now."""
        return self._left_by_others() or self._new()

    def awaits_others(self) -> bool:
        """Return whether trials of other processes are left that may not end, or new ones can be started."""
        if self.is_over:
            return False
        # This process has nothing else to do, so `next` looks for trials of dead processes at once.
        self._looked = float("-inf")
        self.catch_up()
        waiting = self._open()
        living = self.shared.living_others(waiting)
        # A living process may still die, and its trials are then taken over here.
        if living and self.limits.waits:
            return True
        left = [reservation for reservation in waiting if reservation.process not in living]
        return not self._has_enough and (bool(left) or not (self.is_full or self._is_exhausted))

    @property
    def _has_enough(self) -> bool:
        """Return whether enough trials count or run.

        A study can have more reservations than a smaller number asks for.
        """
        wanted = self.limits.trials
        return wanted is not None and self.progress.counted + len(self.running) >= wanted

    def _open(self) -> list[Reservation]:
        """Return the reservations that have not ended and concern this process."""
        keys = self.limits.keys
        return [one for one in self.shared.reservations.open() if keys is None or one.key in keys]

    def _left_by_others(self) -> Running | None:
        # Finding out who is dead takes a query, so it is not done for every trial.
        if time.monotonic() - self._looked < LOOK_S or self._has_enough:
            return None
        for reservation in self._abandoned():
            running = self.again(reservation, "its process ended before it did")
            self.check_failures()
            if running is not None:
                return running
        self._looked = time.monotonic()
        return None

    def _abandoned(self) -> Iterator[Reservation]:
        """Yield reservations of dead processes and of none, and those of this process that it does not evaluate.

        The last kind arises where the database went away after it had written a reservation and before it could answer.
        """
        token = self.shared.heartbeat.token
        waiting = [one for one in self._open() if one.process != token or not self._evaluates(one)]
        # Processes are looked up once for all reservations, because for other machines this is a query.
        living = self.shared.living_others(waiting)
        return (reservation for reservation in waiting if reservation.process not in living)

    def _evaluates(self, reservation: Reservation) -> bool:
        return any(trial_id == reservation.trial_id for _, trial_id in self.running)

    def again(self, reservation: Reservation, reason: str) -> Running | None:
        """Take a reservation over and begin its trial once more; fail it where that was done often enough.

        Args:
            reservation: The reservation, as it was read.
            reason: Why its last trial did not end.

        Returns:
            The trial, or None where it failed or another process was faster.
        """
        # A reservation without a process was released by an interrupt, which does not count as an attempt.
        if reservation.attempts > self.limits.retries and reservation.process:
            self._give_up(reservation, reason)
            return None
        # Read outside the transaction: `take_over` writes nothing if the reservation has changed since it was read.
        running = self.recorder.again(self.shared.trial(reservation.trial_id))
        running.reservation = self.shared.reservations.take_over(reservation, running.trial, reason)
        return None if running.reservation is None else running

    def _give_up(self, reservation: Reservation, reason: str) -> None:
        times = "once" if reservation.attempts == 1 else f"{reservation.attempts} times"
        tried = f"{times} it was begun and did not end; the last time {reason}"
        if self.shared.reservations.fail(reservation, tried):
            self.take_in([self.shared.trial(reservation.trial_id)])
            # `Progress.ended`, which counts failures in a row, is called only for trials that this process has
            # evaluated.
            self.progress.failed.append(self.progress.records[-1].number)
            self.tell("trial", self.progress.records[-1])

    def _new(self) -> Running | None:
        """Return a trial that no other process has; None where there is none, or all are reserved."""
        while True:
            self.catch_up()
            number = self.shared.reservations.count()
            self.is_full = self.limits.trials is not None and number >= self.limits.trials
            if self.is_full:
                return None
            running = self.source.next(number)
            self._is_exhausted = running is None
            if running is None or self.is_over:  # the time limit may pass while the sampler works
                return None
            if self._is_quick or self.reserve(running):
                return running

    @property
    def _is_quick(self) -> bool:
        """Return whether the next trial is so short that it is only written when it has ended."""
        # One transaction instead of two. At most the result of one short evaluation is lost, because this process
        # evaluates one trial at a time.
        return isinstance(self.session.workers, Here) and self.progress.last_seconds < self.limits.quick_s

    def reserve(self, running: Running) -> bool:
        """Write a trial, running or ended, with a reservation; return whether no other process was faster."""
        try:
            running.reservation = self.shared.reservations.begin(running.trial, self.limits.trials)
        except NoneLeft:
            return False
        except AlreadyReserved:
            self.source.avoid(running)
            # The process of that reservation may be dead.
            self._looked = float("-inf")
            # A random pause, because processes with equal histories suggest the same networks at the same moments.
            time.sleep(random.uniform(0, LONGEST_WAIT_S))  # noqa: S311 -- nothing secret
            return False
        return True

    def catch_up(self) -> None:
        """Read the trials that other processes have started and ended since the last call."""
        new = [trial for trial in self.shared.trials() if not self.progress.knows(trial.number)]
        ended = [trial for trial in new if trial.state.is_finished()]
        running = [trial for trial in new if not trial.state.is_finished()]
        own = {trial_id for _, trial_id in self.running}
        self.progress.elsewhere = sum(id_of(trial) not in own for trial in running)
        self.take_in(ended, running)

    def take_in(self, ended: list[FrozenTrial], running: Sequence[FrozenTrial] = ()) -> None:
        """Count trials that have ended, and let the source learn them and those that are running."""
        self.progress.add([read_trial(trial) for trial in ended if not self.progress.knows(trial.number)])
        self.source.learn([*ended, *running])

    def check_failures(self) -> None:
        """Raise RepeatedFailureError where too many trials have failed one after another."""
        failures = len(self.progress.failed)
        if failures >= MOST_FAILURES:
            raise RepeatedFailureError(
                f"{failures} trials failed one after another, the last with: {self.progress.records[-1].reason}",
                "correct the cause and run the same command again; finished trials are kept",
            )
