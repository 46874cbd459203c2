"""A list of networks, each scored once: a study without a sampler, as the fit of scaling coefficients needs it.

Every finished training is a trial of its own. The same list goes on where it stopped, and what was scored before, in
this run or an earlier one, is not scored again.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Any

import optuna
from attrs import define, field, frozen
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.evaluate.base import Evaluators
from nas.optuna_private.identity import storage_of, study_id, trial_id
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.failures import explained
from nas.studies.lease import Lease
from nas.studies.opening import open_storage
from nas.studies.records import KILLED
from nas.studies.study import kill, kill_running, names_with, open_study, versions_now
from nas.workers.base import Call, Key, Outcome, Workers
from nas.workers.interrupts import Interrupts
from nas.workers.processes import make_workers

SETTINGS = "nas:scoring"
AGAIN = "nas:again"  # numbers of failed trials that do not count
MOST_FAILURES = 5
LARGEST_FACTOR = 1e6


@frozen
class Job:
    """One training.

    Attributes:
        arch: the network at the resolution and with the classes it is meant for.
        resolution: pixels of a side of the images it is trained on.
        seed: of everything random.
        params: what Optuna's tools show of it, numbers from 0 to a million.
    """

    arch: Architecture
    resolution: int
    seed: int
    params: Mapping[str, float] = field(factory=dict, eq=False)

    @property
    def key(self) -> Key:
        """Equal for two trainings that are the same: what is trained, and the seed."""
        seen = self.arch.adapted(resolution=self.resolution, classes=self.arch.classes)
        return format_text(canonical(seen)), self.seed


@frozen
class Score:
    """What came of a job; the accuracy is None where it failed, and the reason says why."""

    accuracy: float | None
    seconds: float
    reason: str = ""
    number: int = -1


@frozen
class Told:
    """Something that happened: `done` of `total` jobs are finished, the last of them is `job`."""

    done: int
    total: int
    job: Job | None = None
    score: Score | None = None
    message: str = ""


Listener = Callable[[Told], None]


@define(eq=False)
class Scoring:
    """A study that is open for scoring; see `open_scoring`."""

    study: optuna.Study
    evaluators: Evaluators
    epochs: int
    make_workers: Callable[[], Workers]
    listen: Listener
    lease: Lease = field(init=False)
    interrupts: Interrupts = field(factory=Interrupts, init=False)
    _running: dict[Key, FrozenTrial] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.lease = Lease(self.study)

    def score(self, jobs: Iterable[Job], is_late: Callable[[], bool] = lambda: False) -> dict[Key, Score]:
        """Scores by key of all jobs, finished before or now; without those that it was too late to begin.

        Args:
            jobs: to be scored.
            is_late: whether nothing new is to be begun.

        Raises:
            StudyError: one training after another failed.
            NasError: the evaluators fail as a whole.
        """
        wanted = {job.key: job for job in jobs}
        known = self._known()
        left = [job for key, job in wanted.items() if key not in known]
        self.listen(Told(len(wanted) - len(left), len(wanted)))
        failures = self._last_failures()
        with closing(self._outcomes(left, is_late)) as finished:
            for together in finished:
                for job, outcome in together:
                    known[job.key] = score = self._end(job, outcome)
                    failures = [*failures, score] if score.accuracy is None else []
                    self.listen(Told(sum(key in known for key in wanted), len(wanted), job, score))
                self._check(failures)
        return {key: known[key] for key in wanted if key in known}

    def _known(self) -> dict[Key, Score]:
        return {(trial.user_attrs["trained"], trial.user_attrs["seed"]): _score(trial) for trial in self._lasting()}

    def _lasting(self) -> list[FrozenTrial]:
        """Trials that count, in the order they were begun."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
        again = self.study.user_attrs.get(AGAIN, ())
        return [trial for trial in trials if KILLED not in trial.user_attrs and trial.number not in again]

    def _last_failures(self) -> list[Score]:
        """Those since the last training that went well: a list may come in pieces."""
        failed = takewhile(lambda trial: trial.state == TrialState.FAIL, reversed(self._lasting()))
        return [_score(trial) for trial in failed][::-1]

    def _check(self, failures: Sequence[Score]) -> None:
        """One failure is the network's own; a row of them has another cause, and comes again when it is mended."""
        if len(failures) < MOST_FAILURES:
            return
        known = self.study.user_attrs.get(AGAIN, [])
        self.study.set_user_attr(AGAIN, [*known, *(failure.number for failure in failures)])
        raise StudyError(
            f"{len(failures)} trainings failed one after another, the last with: {failures[-1].reason}",
            "mend the cause and give the same command again; finished ones are kept",
        )

    def _outcomes(
        self, jobs: Sequence[Job], is_late: Callable[[], bool]
    ) -> Generator[list[tuple[Job, Outcome]], None, None]:
        """Jobs as they finish, those together that finish together; as many run at once as there are workers."""
        waiting, by_key = deque(jobs), {job.key: job for job in jobs}
        if not jobs or is_late():
            return
        with self._guarded(), self.make_workers() as workers:
            while self._fill(workers, waiting, is_late):
                with self.interrupts.interruptible():
                    finished = workers.poll()
                self.lease.beat()
                # What has come to an end beside a death is not lost.
                yield [(by_key[key], outcome) for key, outcome in finished if not outcome.lost]
                _check_alive([outcome for _, outcome in finished])

    def _fill(self, workers: Workers, waiting: deque[Job], is_late: Callable[[], bool]) -> bool:
        """Start what can be started; whether anything runs."""
        while waiting and workers.free and not is_late():
            self._start(workers, waiting.popleft())
        return bool(self._running)

    def _start(self, workers: Workers, job: Job) -> None:
        self._begin(job)
        workers.start(job.key, Call(self.evaluators, job.arch, job.resolution, job.seed, self.epochs))

    def _begin(self, job: Job) -> None:
        """A running trial that holds all that is known beforehand."""
        text, seed = job.key
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(job.params),
            distributions={name: FloatDistribution(0, LARGEST_FACTOR) for name in job.params},
            user_attrs={
                "arch": format_text(job.arch),
                "trained": text,
                "resolution": job.resolution,
                "seed": seed,
                "epochs": self.epochs,
                "versions": versions_now(),
            },
        )
        template.datetime_start = datetime.now()
        storage = storage_of(self.study)
        created = storage.create_new_trial(study_id(self.study), template_trial=template)
        self._running[job.key] = storage.get_trial(created)

    def _end(self, job: Job, outcome: Outcome) -> Score:
        trial = self._running[job.key]
        kept = {
            "accuracy_by_epoch": list(outcome.accuracies),
            "seconds": outcome.seconds,
            "reason": outcome.reason,
            "environment": dict(outcome.environment),
        }
        for name, value in kept.items():
            storage_of(self.study).set_trial_user_attr(trial_id(trial), name, value)
        failed = bool(outcome.reason)
        accuracy = None if failed else outcome.accuracies[-1]
        self.study.tell(trial.number, accuracy, state=TrialState.FAIL if failed else TrialState.COMPLETE)
        del self._running[job.key]
        return Score(accuracy, outcome.seconds, outcome.reason, trial.number)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Trainings that are cut short are ended as such: they come again."""
        try:
            yield
        except BaseException as error:
            reason = "the run ended before it" if isinstance(error, GeneratorExit) else f"cut short by {_told(error)}"
            for trial in self._running.values():
                kill(self.study, trial_id(trial), trial.number, reason)
            self._running.clear()
            raise


def _check_alive(outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.lost:
            raise StudyError(
                f"a training was lost: {outcome.reason}",
                "give the same command again, with fewer --workers if it was memory; finished trainings are kept",
            )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def scoring_names(storage: BaseStorage) -> tuple[str, ...]:
    """Studies of trainings alone, oldest first."""
    return names_with(storage, SETTINGS)


def _score(trial: FrozenTrial) -> Score:
    kept = trial.user_attrs
    return Score(trial.value, kept.get("seconds", 0.0), kept.get("reason", ""), trial.number)


@contextmanager
def open_scoring(
    name: str,
    settings: Mapping[str, Any],
    evaluators: Evaluators,
    epochs: int,
    *,
    storage: str = DEFAULT_STORAGE,
    workers: int = 1,
    listen: Listener = lambda _told: None,
) -> Iterator[Scoring]:
    """Make a study, or go on with it, as long as the context lasts.

    Args:
        name: of the study.
        settings: what makes its scores comparable, as JSON values; kept, and compared when it goes on.
        evaluators: of accuracies.
        epochs: of each training.
        storage: Optuna URL.
        workers: processes that train at once.
        listen: called with all that happens.

    Raises:
        StudyError: it was made with other settings or by another tool, or another process is at it.
    """
    opened = open_storage(storage)
    with explained(storage):
        whole = dict(settings) | {"epochs": epochs, "proxy": dict(evaluators.describe())}
        study = open_study(opened, name, ["maximize"], whole, kept_as=SETTINGS)
        scoring = Scoring(study, evaluators, epochs, partial(make_workers, workers), listen)
        scoring.lease.take()
        try:
            killed = kill_running(study)
            if killed:
                listen(Told(0, 0, message=f"{killed} trainings had been cut short and come again"))
            with scoring.interrupts.handled():
                yield scoring
        finally:
            scoring.lease.end()
