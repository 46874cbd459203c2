"""The middle of a search: trials are begun, evaluated and ended, by this process and by others at the same study."""

import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Protocol

import attrs
import optuna
from attrs import define, field
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import StudyError
from nas.optuna_private.identity import storage_of, trial_id
from nas.samplers.filtered import FilteredSampler
from nas.search.plan import Plan
from nas.search.progress import Progress
from nas.search.trials import Running, TrialRecorder
from nas.studies.heartbeats import Heartbeat
from nas.studies.records import KILLED, Record
from nas.studies.reservations import AlreadyReserved, NoneLeft, Reservation, Reservations
from nas.studies.study import read_trial
from nas.workers.base import Call, Here, Key, Outcome, Single, Workers
from nas.workers.interrupts import Interrupts
from nas.workers.machine_lock import MachineLock

MOST_FAILURES = 5
# A trial of one epoch is likely to take as long as the one before it.
QUICK_S = 0.1
POLL_S = 1.0
LOOK_S = 2.0  # between two looks for slots of processes that are gone
LONGEST_WAIT_S = 0.2


class Tell(Protocol):
    """Told what happens; see `Event`."""

    def __call__(self, kind: str, record: Record | None = None, message: str = "") -> None:
        """Something did."""
        ...


@define(eq=False)
class Searching:
    """This process's trials."""

    plan: Plan
    study: optuna.Study
    recorder: TrialRecorder
    reservations: Reservations
    heartbeat: Heartbeat
    sampler: FilteredSampler
    workers: Workers
    machine_lock: MachineLock
    progress: Progress
    interrupts: Interrupts
    tell: Tell
    _running: dict[Key, Running] = field(factory=dict, init=False)
    _single: Single = field(init=False)
    _begun: float = field(factory=time.monotonic, init=False)
    _looked: float = field(default=float("-inf"), init=False)
    _is_exhausted: bool = field(default=False, init=False)
    _is_full: bool = field(default=False, init=False)
    _has_heard: bool = field(default=False, init=False)
    _losses: int = field(default=0, init=False)

    @_single.default
    def _wrap(self) -> Single:
        return Single(self.plan.evaluator)

    def run(self) -> None:
        """Until the study has all its trials, or nothing more is to be begun.

        Raises:
            StudyError: one trial after another failed.
            NasError: the evaluator fails as a whole.
        """
        self._learn([trial for trial in self.study.get_trials(deepcopy=False) if self.progress.knows(trial.number)])
        with self._given_back():
            while self._fill() or self._others_at_work():
                self.machine_lock.yield_to_measurement()
                with self.interrupts.interruptible():
                    told = self.workers.poll(POLL_S)
                for key, outcome in told:
                    self._hear(key, outcome)
        self._say_why()

    def _say_why(self) -> None:
        """A search that has ended itself says so."""
        if not self.interrupts.stopping and not self._is_full and self.progress.counted < self.plan.settings.trials:
            if self._is_late:
                self.tell("ended", message="the time limit is over; the same command goes on")
            elif self._is_stale:
                self.tell("ended", message=f"{self.progress.since_better} trials in a row have brought nothing better")

    def still_running(self) -> str:
        """For who asked it to stop."""
        count = len(self._running)
        what = f"finishing {count} trial{'' if count == 1 else 's'}" if count else "nothing more is begun"
        return f"{what}; press Ctrl-C again to leave at once"

    @contextmanager
    def _given_back(self) -> Iterator[None]:
        """Trials that are cut short end as such: they do not count, and their architectures come again."""
        try:
            yield
        except BaseException as error:
            with suppress(StorageInternalError, SQLAlchemyError):  # others will find out by the silence
                self.reservations.release(f"cut short by {type(error).__name__}: {error}")
            raise

    def _fill(self) -> bool:
        """Begin what can be begun; whether anything runs."""
        while self.workers.free and not self._is_over:
            running = self._next()
            if running is None:
                break
            self._start(running)
        return bool(self._running)

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is to be begun by this process."""
        return self.interrupts.stopping or self._is_late or self._is_stale

    @property
    def _is_late(self) -> bool:
        limit = self.plan.settings.timeout_s
        return limit is not None and time.monotonic() - self._begun >= limit

    @property
    def _is_stale(self) -> bool:
        patience = self.plan.settings.patience
        return patience is not None and self.progress.since_better >= patience

    def _others_at_work(self) -> bool:
        """Whether there are trials left that others have begun, and may not end."""
        if self._is_over:
            return False
        self._looked = float("-inf")
        self._catch_up()
        waiting = self.reservations.open()
        others = {reservation.process for reservation in waiting} - {"", self.heartbeat.token}
        if others - self.heartbeat.dead(others):
            return True
        return not self._has_enough and (bool(waiting) or not (self._is_full or self._is_exhausted))

    @property
    def _has_enough(self) -> bool:
        """A study that is gone on with by a smaller number may have more slots than it wants trials."""
        return self.progress.counted + len(self._running) >= self.plan.settings.trials

    def _next(self) -> Running | None:
        """The next trial to evaluate: one that another process has left, else a new one; None for none now."""
        return self._left_by_others() or self._new()

    def _left_by_others(self) -> Running | None:
        if time.monotonic() - self._looked < LOOK_S or self._has_enough:
            return None
        for reservation in self._abandoned():
            running = self._again(reservation, "its process ended before it did")
            if running is not None:
                return running
        self._looked = time.monotonic()
        return None

    def _abandoned(self) -> Iterator[Reservation]:
        waiting = [
            reservation
            for reservation in self.reservations.open()
            if reservation.process != self.heartbeat.token or not self._has(reservation)
        ]
        others = {reservation.process for reservation in waiting} - {"", self.heartbeat.token}
        free = self.heartbeat.dead(others) | {"", self.heartbeat.token}
        return (reservation for reservation in waiting if reservation.process in free)

    def _has(self, reservation: Reservation) -> bool:
        return any(trial_id(running.trial) == reservation.trial_id for running in self._running.values())

    def _again(self, reservation: Reservation, reason: str) -> Running | None:
        """Evaluate a slot's architecture once more, or fail it where that was tried often enough."""
        old = storage_of(self.study).get_trial(reservation.trial_id)
        if reservation.attempts > self.plan.settings.retries:
            times = "once" if reservation.attempts == 1 else f"{reservation.attempts} times"
            tried = f"{times} it was begun and did not end; the last time {reason}"
            if self.reservations.fail(reservation, tried):
                self._take_in([storage_of(self.study).get_trial(reservation.trial_id)])
                self.progress.failures += 1
                self.tell("trial", self.progress.records[-1])
                self._check_failures()
            return None
        running = self.recorder.again(old)
        taken = self.reservations.take_over(reservation, running.trial, reason)
        return None if taken is None else self._placed(running, taken)

    def _placed(self, running: Running, reservation: Reservation) -> Running:
        running.reservation, running.handle = reservation, optuna.Trial(self.study, reservation.trial_id)
        return running

    def _new(self) -> Running | None:
        """A trial of an architecture that no other has; None where there is none, or all slots are taken."""
        while not self._is_exhausted:
            self._catch_up()
            number = self.reservations.count()
            self._is_full = number >= self.plan.settings.trials
            if self._is_full:
                return None
            with self._undisturbed(), self.interrupts.interruptible():
                proposal = self.sampler.suggest(number)
            if proposal is None:
                self._is_exhausted = True
                self.tell("exhausted", message="no new architecture was found in the band")
                return None
            if self._is_over:  # a proposal may take its time
                return None
            running = self.recorder.begin(proposal)
            if self._is_quick:
                return running
            try:
                return self._placed(running, self.reservations.begin(running.trial, self.plan.settings.trials))
            except NoneLeft:
                continue
            except AlreadyReserved:
                self._avoid(running)
        return None

    @property
    def _is_quick(self) -> bool:
        """Whether the next trial is likely to be over before it could be killed; it is written when it has ended."""
        alone = isinstance(self.workers, Here) and self.plan.settings.epochs == 1
        return alone and self.progress.last_seconds < QUICK_S

    def _avoid(self, running: Running) -> None:
        """Another process was faster, so this architecture is not proposed again."""
        self.sampler.avoid(running.arch)
        self._looked = float("-inf")
        time.sleep(random.uniform(0, LONGEST_WAIT_S))  # noqa: S311 -- that many do not meet again and again

    def _undisturbed(self) -> AbstractContextManager[None]:
        """Nothing is trained on the processors while a latency is measured on them."""
        return self.machine_lock.measuring() if self.plan.measures_here else nullcontext()

    def _catch_up(self) -> None:
        """Take in what others have done since."""
        trials = self.study.get_trials(deepcopy=False)
        new = [trial for trial in trials if not self.progress.knows(trial.number)]
        self._take_in([trial for trial in new if trial.state.is_finished()])
        self._learn([trial for trial in new if not trial.state.is_finished()])

    def _take_in(self, trials: list[FrozenTrial]) -> None:
        """Count trials that have ended, and let the proposer learn them."""
        self.progress.add([read_trial(trial) for trial in trials if not self.progress.knows(trial.number)])
        for trial in trials:
            if KILLED in trial.user_attrs:
                self.sampler.forget(trial)
        self._learn(trials)

    def _learn(self, trials: list[FrozenTrial]) -> None:
        lasting = [(t, read_trial(t)) for t in trials if KILLED not in t.user_attrs]
        known = [(trial, record.architecture) for trial, record in lasting if record.arch]
        self.sampler.learn([trial for trial, _ in known], [arch for _, arch in known])

    def _start(self, running: Running) -> None:
        settings = self.plan.settings
        key = (running.text, trial_id(running.trial))
        self._running[key] = running
        by_epoch = running.handle is not None
        self.workers.start(
            key, Call(self._single, running.arch, running.arch.resolution, settings.seed, settings.epochs, by_epoch)
        )

    def _hear(self, key: Key, outcome: Outcome) -> None:
        running = self._running[key]
        self._has_heard |= not outcome.lost
        if outcome.lost:
            self._lost(key, running, outcome)
        elif outcome.ended:
            self._ended(key, running, TrialState.FAIL if outcome.reason else TrialState.COMPLETE, outcome)
        else:
            self._follow(key, running, outcome)

    def _lost(self, key: Key, running: Running, outcome: Outcome) -> None:
        """Its worker is gone, and this process is not."""
        reason = outcome.reason
        del self._running[key]
        assert running.reservation is not None  # noqa: S101 -- only trials that are written from their beginning leave here
        goes_on = running.reservation.attempts <= self.plan.settings.retries and not self._is_over
        self.tell("lost", read_trial(running.trial), f"{reason}{'; it is tried again' if goes_on else ''}")
        self._check_losses(outcome)
        if self._is_over:
            self.reservations.release(reason, trial_id(running.trial))
            return
        again = self._again(running.reservation, reason)
        if again is not None:
            self._start(again)

    def _follow(self, key: Key, running: Running, outcome: Outcome) -> None:
        """An epoch: told, reported, and the next one trained where it is promising."""
        record = read_trial(running.trial)
        self.tell("epoch", attrs.evolve(record, accuracy=outcome.accuracies[-1], accuracies=outcome.accuracies))
        try:
            goes_on = not self._is_unpromising(running, outcome)
        except UpdateFinishedTrialError:  # another process took this one for dead
            self.workers.answer(key, go_on=False)
            del self._running[key]
            return
        self.workers.answer(key, go_on=goes_on)
        if not goes_on:
            self._ended(key, running, TrialState.PRUNED, outcome)

    def _is_unpromising(self, running: Running, outcome: Outcome) -> bool:
        if self.recorder.is_pareto or running.handle is None:  # Optuna compares epochs for single objectives alone.
            return False
        epoch = len(outcome.accuracies)
        running.handle.report(self.recorder.score_of(running, outcome.accuracies[-1]), epoch)
        return epoch < self.plan.settings.epochs and running.handle.should_prune()

    def _ended(self, key: Key, running: Running, state: TrialState, outcome: Outcome) -> None:
        trial = self.recorder.end(running, state, outcome)
        written = self._write(running, trial)
        del self._running[key]
        if not written:
            return
        self._take_in([trial])
        record = self.progress.records[-1]
        self.progress.ended(record, time.monotonic() - running.begun)
        self.tell("trial", record)
        self._check_failures()

    def _write(self, running: Running, trial: FrozenTrial) -> bool:
        """Whether it counts: another process may have been faster, or has taken it over."""
        if running.reservation is not None:
            return self.reservations.end(trial)
        try:
            self.reservations.begin(trial, self.plan.settings.trials)
        except (AlreadyReserved, NoneLeft):
            self._avoid(running)
            return False
        return True

    def _check_losses(self, outcome: Outcome) -> None:
        """Where no worker has ever come to an end, it is not for the architectures that they die."""
        self._losses += 1
        if self._losses >= MOST_FAILURES and not self._has_heard:
            raise StudyError(
                f"{self._losses} workers were lost, and none has evaluated anything; the last one: {outcome.reason}",
                "see that one alone can: leave --workers out, or give fewer where memory is short",
            )

    def _check_failures(self) -> None:
        if self.progress.failures >= MOST_FAILURES:
            reason = self.progress.records[-1].reason
            raise StudyError(
                f"{self.progress.failures} trials failed one after another, the last with: {reason}",
                "mend the cause and give the same command again; finished trials are kept",
            )
