"""A study of jobs: fixed lists of networks, each trained once with each seed, as the fit of scaling rules needs it.

Every job is a trial. Any number of processes may work on the same study; each trains what no other has reserved, waits
for the others, and ends with the results of all. What was trained before, in this run or an earlier one, is not trained
again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

from attrs import define, field
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from nas.errors import StudyError
from nas.evaluate.base import Evaluators
from nas.search.defaults import RETRIES
from nas.search.events import Event, Listener
from nas.search.fixed_list import REPEATED, FixedList, JobRecorder, counts, free, repeated
from nas.search.job import Job, JobResult
from nas.search.progress import Progress
from nas.search.reserving import RepeatedFailureError, TrialReserver
from nas.search.session import Session, SharedStudy
from nas.search.trial_loop import POLL_S, TrialLoop
from nas.search.trials import Evaluation, Limits
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.failures import explained
from nas.studies.locks import Lock, exclusive
from nas.studies.opening import open_storage
from nas.studies.own_study import OwnStudy, describe_foreign
from nas.studies.records import JOB_SETTINGS, Record
from nas.studies.study import names_with, open_study
from nas.studies.trial_records import read_trial
from nas.workers.base import Key

SETTINGS = JOB_SETTINGS


def job_study_names(storage: BaseStorage) -> tuple[str, ...]:
    """Return the names of all studies of jobs, oldest first."""
    return names_with(storage, SETTINGS)


@define(eq=False)
class JobStudy:
    """A study of jobs that is open for evaluation; see `open_job_study`.

    Attributes:
        session: Workers and signal handlers of this process.
        shared: The study.
        evaluation: How jobs are evaluated.
        retries: How often a job whose process ended is started again before it fails.
        listen: Called with every event.
    """

    session: Session
    shared: SharedStudy
    evaluation: Evaluation
    retries: int
    listen: Listener
    _list: FixedList | None = field(default=None, init=False)

    @property
    def study(self) -> OwnStudy:
        """The study, with the trials of nas."""
        return self.shared.study

    def evaluate(
        self, jobs: Iterable[Job], is_late: Callable[[], bool] = lambda: False, *, waits: bool = True
    ) -> dict[Key, JobResult]:
        """Return the results of all jobs by key, done before or now; without those that were too late to start.

        Args:
            jobs: Jobs to do, in this order.
            is_late: Whether no more jobs are to be started.
            waits: Whether to wait for jobs that other processes do; else their results are left out.

        Raises:
            StudyError: One job after another failed.
            NasError: The evaluators fail as a whole.
            KeyboardInterrupt: The user asked to stop; running jobs have ended.
        """
        jobs_left = self._list = FixedList(
            self.shared, JobRecorder(self.evaluation.epochs), {job.key: job for job in jobs}
        )
        limits = Limits(self.retries, is_late=is_late, keys=jobs_left.keys, waits=waits)
        reserver = TrialReserver(
            self.session, self.shared, jobs_left, jobs_left.recorder, limits, self._progress(), self._tell
        )
        jobs_left.learn(self.shared.trials())
        self._tell("started")
        loop = TrialLoop(reserver, self.evaluation)
        with self.session.interrupts.stopping_first(lambda: self._tell("stopping", message=loop.still_running())):
            self._run(loop)
            # Another process may have freed a job that had failed, after this one had found nothing left.
            while waits and not reserver.is_over and jobs_left.done < len(jobs_left.jobs):
                with self.session.interrupts.interruptible():
                    self.session.workers.poll(POLL_S)  # no worker is busy: this is a pause
                self._run(loop)
        if self.session.interrupts.stopping:
            raise KeyboardInterrupt
        return jobs_left.results

    def settle(self) -> None:
        """Make reservations for the trials of older versions and restored studies, and report what was cut short."""
        running = sum(trial.state == TrialState.RUNNING for trial in self.shared.trials())
        foreign = self.study.foreign_numbers()
        self.shared.reservations.reconcile(repeated(self.shared), foreign)
        if foreign:
            self._tell("foreign", message=describe_foreign(foreign))
        waiting = self.shared.reservations.open()
        living = self.shared.living_others(waiting)
        cut = running - sum(reservation.process in living for reservation in waiting)
        if cut > 0:
            runs = "1 training run was" if cut == 1 else f"{cut} training runs were"
            self._tell("resumed", message=f"{runs} cut short and will be done again")

    def _run(self, loop: TrialLoop) -> None:
        try:
            loop.run()
        except RepeatedFailureError:
            progress = loop.reserver.progress
            self._repeat_later(progress.failed)
            raise StudyError(
                f"{len(progress.failed)} training runs failed one after another, "
                f"the last with: {progress.records[-1].reason}",
                "correct the cause and run the same command again; finished training runs are kept",
            ) from None

    def _progress(self) -> Progress:
        """Return the trials that have ended, and which of the last ones failed: a list may come in pieces."""
        trials, numbers = self.shared.trials(), repeated(self.shared)
        lasting = [trial for trial in trials if counts(trial, numbers)]
        # The row of failures may have started in an earlier piece of the list, or in an earlier run.
        failed = takewhile(lambda trial: trial.state == TrialState.FAIL, reversed(lasting))
        progress = Progress(failed=[trial.number for trial in failed][::-1])
        progress.add([read_trial(trial) for trial in trials if trial.state.is_finished()])
        return progress

    def _repeat_later(self, numbers: Iterable[int]) -> None:
        """Have failed jobs done again: one failure is the network's own, a row of them has another cause."""
        lock = Lock(self.shared.heartbeat, self.shared.study_id, "failures")
        # Two processes that fail at the same moment would lose what one of them adds to the list.
        with exclusive(lock, lambda message: self._tell("waiting", message=message), self.session.interrupts.check):
            known = self.study.user_attrs.get(REPEATED, [])
            self.study.set_user_attr(REPEATED, [*known, *(number for number in numbers if number not in known)])
        free(self.shared, frozenset(numbers))

    def _tell(self, kind: str, record: Record | None = None, message: str = "") -> None:
        jobs = self._list
        if jobs is None:
            self.listen(Event(kind, message=message))
            return
        job = None if record is None else jobs.job_of(record.number)
        self.listen(Event(kind, record, jobs.done, len(jobs.jobs), message=message, job=job))


@contextmanager
def open_job_study(
    name: str,
    settings: Mapping[str, Any],
    evaluators: Evaluators,
    epochs: int,
    session: Session,
    *,
    storage: str = DEFAULT_STORAGE,
    retries: int = RETRIES,
    listen: Listener = lambda _event: None,
) -> Iterator[JobStudy]:
    """Make a study of jobs, or continue it, while the context lasts.

    Args:
        name: Name of the study.
        settings: What makes its results comparable, as JSON values; kept, and compared when the study is continued.
        evaluators: Evaluators of the jobs.
        epochs: Number of epochs of each training run.
        session: Workers and signal handlers; see `open_session`.
        storage: Optuna URL.
        retries: How often a job whose process ended is started again before it fails.
        listen: Called with every event.

    Raises:
        StudyError: The study was made with other settings, or by another tool.
    """
    opened = open_storage(storage)
    with explained(storage):
        whole = dict(settings) | {"epochs": epochs, "proxy": dict(evaluators.describe())}
        study = open_study(opened, name, ["maximize"], whole, kept_as=SETTINGS, metrics=["accuracy"])
        shared = SharedStudy.of(study, session, lambda message: listen(Event("waiting", message=message)))
        job_study = JobStudy(session, shared, Evaluation(evaluators, epochs), retries, listen)
        # The heartbeat starts first: other processes take over the reservations of a process without one.
        with shared.heartbeat:
            job_study.settle()
            yield job_study
