"""A fixed list of jobs as a source of trials for the trial loop, and what their trials keep."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import define, field
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.code import format_text, parse_text
from nas.optuna_private.identity import trial_id
from nas.search.job import Job, JobResult
from nas.search.session import SharedStudy
from nas.search.trials import Running
from nas.studies.records import CORRECT, KILLED
from nas.studies.reservation_keys import SEED, TRAINED, reservation_key
from nas.studies.study import versions_now
from nas.workers.base import Key, Outcome

REPEATED = "nas:again"  # attribute of a study: numbers of failed trials that do not count
LARGEST_FACTOR = 1e6


def repeated(shared: SharedStudy) -> frozenset[int]:
    """Return the numbers of failed trials that do not count: their jobs are done again."""
    return frozenset(shared.study.user_attrs.get(REPEATED, ()))


@define(eq=False)
class JobRecorder:
    """Makes the trials of jobs and writes down their results; see `Recorder`.

    Attributes:
        epochs: Number of epochs of each training run.
    """

    epochs: int

    def begin(self, job: Job) -> Running:
        """Return a running trial, not yet written, that holds everything known before its evaluation."""
        trained, seed = job.key
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(job.params),
            distributions={name: FloatDistribution(0, LARGEST_FACTOR) for name in job.params},
            user_attrs={
                "arch": format_text(job.arch),
                TRAINED: trained,
                "resolution": job.resolution,
                SEED: seed,
                "epochs": self.epochs,
                "versions": versions_now(),
            },
        )
        trial.datetime_start = datetime.now()
        return Running(trial, job.arch, job.resolution, job.seed)

    def again(self, trial: FrozenTrial) -> Running:
        """Return a new trial of the same job."""
        kept = trial.user_attrs
        return self.begin(Job(parse_text(kept["arch"]), kept["resolution"], kept[SEED], trial.params))

    def end(self, running: Running, state: TrialState, outcome: Outcome) -> FrozenTrial:
        """Return the trial with its result added."""
        trial = running.trial
        trial.state, trial.datetime_complete = state, datetime.now()
        if state == TrialState.COMPLETE:
            trial.values = [outcome.accuracies[-1]]
        kept: dict[str, Any] = {
            "accuracy_by_epoch": list(outcome.accuracies),
            "seconds": outcome.seconds,
            "reason": outcome.reason,
            "environment": dict(outcome.environment),
        }
        kept |= {CORRECT: outcome.correct} if outcome.correct else {}
        for name, value in kept.items():
            trial.set_user_attr(name, value)
        return trial

    def reported(self, running: Running, accuracy: float) -> float | None:  # noqa: ARG002 -- the protocol's names
        """Return None: every job is trained to its last epoch."""
        return None


@define(eq=False)
class FixedList:
    """A list of jobs as a source of trials; see `TrialSource`. They are started in the order of the list.

    The newest trial of each job decides about it. A job is done when that trial has ended, unless it was killed or
    failed for a reason outside its network; then the job is started again.

    Attributes:
        shared: Study of the trials.
        recorder: Makes their trials.
        jobs: The jobs by their keys.
    """

    shared: SharedStudy
    recorder: JobRecorder
    jobs: Mapping[Key, Job]
    _newest: dict[Key, FrozenTrial] = field(factory=dict, init=False)
    _avoided: dict[Key, int] = field(factory=dict, init=False)
    _repeated: frozenset[int] = field(default=frozenset(), init=False)

    @property
    def keys(self) -> frozenset[str]:
        """Keys of the reservations of all jobs."""
        return frozenset(reservation_key({TRAINED: trained, SEED: seed}) for trained, seed in self.jobs)

    @property
    def done(self) -> int:
        """Number of jobs that are done."""
        return sum(map(self._is_done, self.jobs))

    @property
    def results(self) -> dict[Key, JobResult]:
        """Results of the jobs that are done, in the order of the list."""
        return {key: _result(self._newest[key]) for key in self.jobs if self._is_done(key)}

    def job_of(self, number: int) -> Job | None:
        """Return the job of a trial, None where the trial is not the newest of any."""
        return next((self.jobs[key] for key, trial in self._newest.items() if trial.number == number), None)

    def next(self, number: int) -> Running | None:  # noqa: ARG002 -- the protocol's names
        """See `TrialSource`."""
        job = next((job for key, job in self.jobs.items() if self._is_free(key)), None)
        return None if job is None else self.recorder.begin(job)

    def learn(self, trials: Iterable[FrozenTrial]) -> None:
        """See `TrialSource`; jobs that another process wants repeated are free from now on."""
        for trial in trials:
            key = (trial.user_attrs.get(TRAINED, ""), trial.user_attrs.get(SEED, 0))
            # Equal numbers too: a trial is learned while it runs, and again with its result.
            if key in self.jobs and trial.number >= self._number(key):
                self._newest[key] = trial
        numbers = repeated(self.shared)
        if numbers != self._repeated:
            # The process that listed these may have ended before it freed their reservations.
            free(self.shared, numbers - self._repeated)
            self._repeated = numbers

    def avoid(self, running: Running) -> None:
        """See `TrialSource`; the job is avoided until a newer trial of it is learned."""
        key = (running.trial.user_attrs[TRAINED], running.trial.user_attrs[SEED])
        self._avoided[key] = self._number(key)

    def _number(self, key: Key) -> int:
        return self._newest[key].number if key in self._newest else -1

    def _is_free(self, key: Key) -> bool:
        # A killed trial does not show whether its reservation is free: it may wait for a process that takes it over.
        # No trial has number -2, so a job that was never avoided differs even from one without trials (-1).
        if self._avoided.get(key, -2) == self._number(key):
            return False
        return key not in self._newest or (self._newest[key].state.is_finished() and not self._is_done(key))

    def _is_done(self, key: Key) -> bool:
        trial = self._newest.get(key)
        return trial is not None and counts(trial, self._repeated)


def counts(trial: FrozenTrial, repeated_numbers: frozenset[int]) -> bool:
    """Return whether a trial has ended as a result: not killed, and not listed as one to repeat."""
    ended = trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    return ended and KILLED not in trial.user_attrs and trial.number not in repeated_numbers


def free(shared: SharedStudy, numbers: frozenset[int]) -> None:
    """Free the reservations of trials, by their numbers, so that their jobs are started again."""
    if numbers:
        shared.reservations.free([trial_id(trial) for trial in shared.trials() if trial.number in numbers])


def _result(trial: FrozenTrial) -> JobResult:
    kept = trial.user_attrs
    return JobResult(trial.value, kept.get("seconds", 0.0), kept.get("reason", ""), trial.number, kept.get(CORRECT, ""))
