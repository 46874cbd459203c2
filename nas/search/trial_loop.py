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
from nas.samplers.filtered import Proposer
from nas.search.plan import Plan
from nas.search.progress import Tally
from nas.search.trials import Running, Scribe
from nas.studies.heartbeats import Heart
from nas.studies.records import KILLED, Record
from nas.studies.reservations import Full, Slot, Slots, Taken
from nas.studies.study import read_trial
from nas.workers.base import Call, Here, Key, Outcome, Single, Workers
from nas.workers.interrupts import Interrupts
from nas.workers.machine_lock import Quiet

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
    scribe: Scribe
    slots: Slots
    heart: Heart
    proposer: Proposer
    workers: Workers
    quiet: Quiet
    tally: Tally
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
        self._learn([trial for trial in self.study.get_trials(deepcopy=False) if self.tally.knows(trial.number)])
        with self._given_back():
            while self._fill() or self._others_at_work():
                self.quiet.give_way()
                with self.interrupts.heeded():
                    told = self.workers.poll(POLL_S)
                for key, outcome in told:
                    self._hear(key, outcome)
        self._say_why()

    def _say_why(self) -> None:
        """A search that has ended itself says so."""
        if not self.interrupts.stopping and not self._is_full and self.tally.counted < self.plan.settings.trials:
            if self._is_late:
                self.tell("ended", message="the time limit is over; the same command goes on")
            elif self._is_stale:
                self.tell("ended", message=f"{self.tally.since_better} trials in a row have brought nothing better")

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
                self.slots.give_back(f"cut short by {type(error).__name__}: {error}")
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
        return patience is not None and self.tally.since_better >= patience

    def _others_at_work(self) -> bool:
        """Whether there are trials left that others have begun, and may not end."""
        if self._is_over:
            return False
        self._looked = float("-inf")
        self._catch_up()
        waiting = self.slots.open()
        others = {slot.runner for slot in waiting} - {"", self.heart.token}
        if others - self.heart.dead(others):
            return True
        return not self._has_enough and (bool(waiting) or not (self._is_full or self._is_exhausted))

    @property
    def _has_enough(self) -> bool:
        """A study that is gone on with by a smaller number may have more slots than it wants trials."""
        return self.tally.counted + len(self._running) >= self.plan.settings.trials

    def _next(self) -> Running | None:
        """The next trial to evaluate: one that another process has left, else a new one; None for none now."""
        return self._left_by_others() or self._new()

    def _left_by_others(self) -> Running | None:
        if time.monotonic() - self._looked < LOOK_S or self._has_enough:
            return None
        for slot in self._abandoned():
            running = self._again(slot, "its process ended before it did")
            if running is not None:
                return running
        self._looked = time.monotonic()
        return None

    def _abandoned(self) -> Iterator[Slot]:
        waiting = [slot for slot in self.slots.open() if slot.runner != self.heart.token or not self._has(slot)]
        others = {slot.runner for slot in waiting} - {"", self.heart.token}
        free = self.heart.dead(others) | {"", self.heart.token}
        return (slot for slot in waiting if slot.runner in free)

    def _has(self, slot: Slot) -> bool:
        return any(running.trial._trial_id == slot.trial_id for running in self._running.values())

    def _again(self, slot: Slot, reason: str) -> Running | None:
        """Evaluate a slot's architecture once more, or fail it where that was tried often enough."""
        old = self.study._storage.get_trial(slot.trial_id)
        if slot.attempts > self.plan.settings.retries:
            times = "once" if slot.attempts == 1 else f"{slot.attempts} times"
            tried = f"{times} it was begun and did not end; the last time {reason}"
            if self.slots.give_up(slot, tried):
                self._take_in([self.study._storage.get_trial(slot.trial_id)])
                self.tally.failures += 1
                self.tell("trial", self.tally.records[-1])
                self._check_failures()
            return None
        running = self.scribe.again(old)
        taken = self.slots.take_over(slot, running.trial, reason)
        return None if taken is None else self._placed(running, taken)

    def _placed(self, running: Running, slot: Slot) -> Running:
        running.slot, running.handle = slot, optuna.Trial(self.study, slot.trial_id)
        return running

    def _new(self) -> Running | None:
        """A trial of an architecture that no other has; None where there is none, or all slots are taken."""
        while not self._is_exhausted:
            self._catch_up()
            number = self.slots.count()
            self._is_full = number >= self.plan.settings.trials
            if self._is_full:
                return None
            with self._undisturbed(), self.interrupts.heeded():
                proposal = self.proposer.propose(number)
            if proposal is None:
                self._is_exhausted = True
                self.tell("exhausted", message="no new architecture was found in the band")
                return None
            if self._is_over:  # a proposal may take its time
                return None
            running = self.scribe.begin(proposal)
            if self._is_quick:
                return running
            try:
                return self._placed(running, self.slots.begin(running.trial, self.plan.settings.trials))
            except Full:
                continue
            except Taken:
                self._avoid(running)
        return None

    @property
    def _is_quick(self) -> bool:
        """Whether the next trial is likely to be over before it could be killed; it is written when it has ended."""
        alone = isinstance(self.workers, Here) and self.plan.settings.epochs == 1
        return alone and self.tally.last_seconds < QUICK_S

    def _avoid(self, running: Running) -> None:
        """Another process was faster, so this architecture is not proposed again."""
        self.proposer.avoid(running.arch)
        self._looked = float("-inf")
        time.sleep(random.uniform(0, LONGEST_WAIT_S))  # noqa: S311 -- that many do not meet again and again

    def _undisturbed(self) -> AbstractContextManager[None]:
        """Nothing is trained on the processors while a latency is measured on them."""
        return self.quiet.measuring() if self.plan.measures_here else nullcontext()

    def _catch_up(self) -> None:
        """Take in what others have done since."""
        trials = self.study.get_trials(deepcopy=False)
        new = [trial for trial in trials if not self.tally.knows(trial.number)]
        self._take_in([trial for trial in new if trial.state.is_finished()])
        self._learn([trial for trial in new if not trial.state.is_finished()])

    def _take_in(self, trials: list[FrozenTrial]) -> None:
        """Count trials that have ended, and let the proposer learn them."""
        self.tally.add([read_trial(trial) for trial in trials if not self.tally.knows(trial.number)])
        for trial in trials:
            if KILLED in trial.user_attrs:
                self.proposer.forget(trial)
        self._learn(trials)

    def _learn(self, trials: list[FrozenTrial]) -> None:
        lasting = [(t, read_trial(t)) for t in trials if KILLED not in t.user_attrs]
        known = [(trial, record.architecture) for trial, record in lasting if record.arch]
        self.proposer.learn([trial for trial, _ in known], [arch for _, arch in known])

    def _start(self, running: Running) -> None:
        settings = self.plan.settings
        key = (running.text, running.trial._trial_id)
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
        assert running.slot is not None  # noqa: S101 -- only trials that are written from their beginning leave here
        goes_on = running.slot.attempts <= self.plan.settings.retries and not self._is_over
        self.tell("lost", read_trial(running.trial), f"{reason}{'; it is tried again' if goes_on else ''}")
        self._check_losses(outcome)
        if self._is_over:
            self.slots.give_back(reason, running.trial._trial_id)
            return
        again = self._again(running.slot, reason)
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
        if self.scribe.is_pareto or running.handle is None:  # Optuna compares epochs for single objectives alone.
            return False
        epoch = len(outcome.accuracies)
        running.handle.report(self.scribe.score_of(running, outcome.accuracies[-1]), epoch)
        return epoch < self.plan.settings.epochs and running.handle.should_prune()

    def _ended(self, key: Key, running: Running, state: TrialState, outcome: Outcome) -> None:
        trial = self.scribe.end(running, state, outcome)
        written = self._write(running, trial)
        del self._running[key]
        if not written:
            return
        self._take_in([trial])
        record = self.tally.records[-1]
        self.tally.ended(record, time.monotonic() - running.begun)
        self.tell("trial", record)
        self._check_failures()

    def _write(self, running: Running, trial: FrozenTrial) -> bool:
        """Whether it counts: another process may have been faster, or has taken it over."""
        if running.slot is not None:
            return self.slots.end(trial)
        try:
            self.slots.begin(trial, self.plan.settings.trials)
        except (Taken, Full):
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
        if self.tally.failures >= MOST_FAILURES:
            reason = self.tally.records[-1].reason
            raise StudyError(
                f"{self.tally.failures} trials failed one after another, the last with: {reason}",
                "mend the cause and give the same command again; finished trials are kept",
            )
