"""The trial loop: begins, evaluates and ends the trials of a study, beside other processes that do the same.

It runs searches and fixed lists of jobs alike. Which trials there are is the source's affair, what they keep the
recorder's. Every decision on who evaluates what is a transaction of the database; see `nas.studies.reservations`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs
from attrs import define, field
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import StudyError
from nas.search.reserving import MOST_FAILURES, TrialReserver
from nas.search.trials import Evaluation, Running
from nas.studies.records import Record
from nas.studies.trial_records import read_trial
from nas.workers.base import Call, Key, Outcome

# Long enough to cost nothing, short enough that trials which dead processes leave are soon taken over.
POLL_S = 1.0


@define(eq=False)
class TrialLoop:
    """The trials of this process.

    Attributes:
        reserver: Gives the next trial.
        evaluation: How trials are evaluated.
    """

    reserver: TrialReserver
    evaluation: Evaluation
    _has_result: bool = field(default=False, init=False)
    _losses: int = field(default=0, init=False)

    def run(self) -> None:
        """Evaluate trials until none is left, here and in other processes, or no more are to be started.

        Raises:
            RepeatedFailureError: Too many trials failed one after another.
            NasError: The evaluators fail as a whole.
        """
        reserver, session = self.reserver, self.reserver.session
        # `catch_up` passes on only trials that `progress` does not know, so the source learns the others here.
        reserver.source.learn([each for each in reserver.shared.trials() if reserver.progress.knows(each.number)])
        with self._given_back():
            while self._fill() or reserver.awaits_others():
                # Once in every round, since another search on this machine waits for this one before it measures a
                # latency.
                session.machine_lock.yield_to_measurement()
                with session.interrupts.interruptible():
                    reports = session.workers.poll(POLL_S)
                # All results that arrived are stored before a failure among them ends the run.
                self._has_result |= any(not outcome.lost for _, outcome in reports)
                for key, outcome in reports:
                    self._receive(key, outcome)
                reserver.check_failures()
        reserver.catch_up()

    def still_running(self) -> str:
        """Return a message on what is still done after a first interrupt."""
        count = len(self.reserver.running)
        what = f"finishing {count} trial{'' if count == 1 else 's'}" if count else "no more trials are begun"
        return f"{what}; press Ctrl-C again to leave at once"

    def why_ended(self) -> str:
        """Return why the loop began no more trials by itself, "" where it was not for that."""
        if self.reserver.session.interrupts.stopping or self.reserver.is_full:
            return ""
        if self.reserver.limits.is_late():
            return "the time limit is over; the same command continues"
        if self.reserver.is_stale:
            return self.reserver.why_stale
        return ""

    @contextmanager
    def _given_back(self) -> Iterator[None]:
        """Release the reservations of interrupted trials: these trials do not count and are started again."""
        try:
            yield
        except BaseException as error:
            # Without waiting for an absent database: others notice the missing heartbeat and take the trials over.
            with suppress(StorageInternalError, SQLAlchemyError):
                self.reserver.shared.reservations.release(f"cut short by {type(error).__name__}: {error}")
            self.reserver.running.clear()
            raise

    def _fill(self) -> bool:
        """Begin as many trials as there are free workers; return whether any is running."""
        while self.reserver.session.workers.free and not self.reserver.is_over:
            running = self.reserver.next()
            if running is None:
                break
            self._start(running)
        return bool(self.reserver.running)

    def _start(self, running: Running) -> None:
        evaluation, reservation = self.evaluation, running.reservation
        by_epoch = evaluation.by_epoch and reservation is not None
        if by_epoch and reservation is not None:
            running.handle = self.reserver.shared.handle(reservation.trial_id)
        self.reserver.running[running.key] = running
        if by_epoch:
            self.reserver.tell("begun", read_trial(running.trial))
        self.reserver.progress.at_once = max(self.reserver.progress.at_once, len(self.reserver.running))
        self.reserver.session.workers.start(
            running.key,
            Call(evaluation.evaluators, running.arch, running.resolution, running.seed, evaluation.epochs, by_epoch),
        )

    def _receive(self, key: Key, outcome: Outcome) -> None:
        running = self.reserver.running[key]
        if outcome.lost and (running.reservation or self.reserver.reserve(running)):
            self._lost(key, running, outcome)
        elif outcome.ended:
            self._ended(key, running, TrialState.FAIL if outcome.reason else TrialState.COMPLETE, outcome)
        else:
            self._follow(key, running, outcome)

    def _lost(self, key: Key, running: Running, outcome: Outcome) -> None:
        """Begin a trial again whose worker died, although this process lives."""
        reserver, reason = self.reserver, outcome.reason
        del reserver.running[key]
        assert running.reservation is not None  # noqa: S101 -- one that had none was reserved a moment ago
        is_repeated = running.reservation.attempts <= reserver.limits.retries and not reserver.is_over
        reserver.tell("lost", read_trial(running.trial), f"{reason}{'; it is tried again' if is_repeated else ''}")
        # Without this check, evaluators that kill every worker would use up the retries of one trial after another.
        self._check_losses(outcome)
        if reserver.is_over:
            # Released, the trial does not lose an attempt, and any process may start it again.
            reserver.shared.reservations.release(reason, running.reservation.trial_id)
            return
        again = reserver.again(running.reservation, reason)
        if again is not None:
            self._start(again)

    def _follow(self, key: Key, running: Running, outcome: Outcome) -> None:
        """Report an epoch, and have the next one trained where the trial is promising."""
        record = read_trial(running.trial)
        self.reserver.tell(
            "epoch", attrs.evolve(record, accuracy=outcome.accuracies[-1], accuracies=outcome.accuracies)
        )
        workers = self.reserver.session.workers
        try:
            goes_on = not self._is_unpromising(running, outcome)
        except UpdateFinishedTrialError:  # another process considered this one dead and took the trial over
            workers.answer(key, go_on=False)
            self._leave(key, record)
            return
        workers.answer(key, go_on=goes_on)
        if not goes_on:
            self._ended(key, running, TrialState.PRUNED, outcome)

    def _is_unpromising(self, running: Running, outcome: Outcome) -> bool:
        value = self.reserver.recorder.reported(running, outcome.accuracies[-1])
        if value is None or running.handle is None:
            return False
        epoch = len(outcome.accuracies)
        running.handle.report(value, epoch)
        # After the last epoch pruning saves nothing, and the trial would lose its result.
        return epoch < self.evaluation.epochs and running.handle.should_prune()

    def _ended(self, key: Key, running: Running, state: TrialState, outcome: Outcome) -> None:
        reserver = self.reserver
        trial = reserver.recorder.end(running, state, outcome)
        # A quick trial is written only now. If another process has reserved the architecture meanwhile, this result is
        # discarded, so that no architecture counts twice.
        if running.reservation is None:
            is_written = reserver.reserve(running)
        else:  # another process has taken it over if this one had no heartbeat for too long
            is_written = reserver.shared.reservations.end(trial)
        if not is_written:
            self._leave(key, read_trial(trial))
            return
        del reserver.running[key]
        reserver.take_in([trial])
        record = reserver.progress.records[-1]
        reserver.progress.ended(record, time.monotonic() - running.begun)
        reserver.tell("trial", record)

    def _leave(self, key: Key, record: Record) -> None:
        """Give up a trial that another process has taken over."""
        del self.reserver.running[key]
        if self.evaluation.by_epoch:
            self.reserver.tell("left", record)

    def _check_losses(self, outcome: Outcome) -> None:
        """Raise StudyError where no worker has ever given a result: it is not the networks that they die of."""
        self._losses += 1
        if self._losses >= MOST_FAILURES and not self._has_result:
            raise StudyError(
                f"{self._losses} workers were lost, and none has evaluated anything; the last one: {outcome.reason}",
                "try a single worker first, and use fewer workers where memory is short; a Python script that starts "
                "workers needs `if __name__ == '__main__':` around its code",
            )
