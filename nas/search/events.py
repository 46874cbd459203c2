"""Events: what a search, or the jobs of a fixed list, report while they run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from nas.noise import ValidationSplit
from nas.search.job import Job
from nas.studies.records import Record


@frozen
class Event:
    """Something that happened in a search or in the jobs of a fixed list.

    Attributes:
        kind: One of the following.
            In both: "started" (a search without trials, or a list of jobs, begins), "foreign" (trials of other programs
            are left out), "resumed" (trials of earlier runs are there), "trial" (one has ended), "lost" (one was lost
            with its worker), "ended" (no more trials are started, although not all are done), "stopping", "stopped" or
            "waiting".
            In a search also: "threads" (of each training run), "objective" (the scoring rule of an earlier version is
            used), "screening", "screened" (some scores are not used), "moved" (a network to start from), "estimate" (of
            the whole duration, before the first trial), "baseline", "begun" (a trial, here), "epoch", "left" (a trial
            that another process has taken over), "exhausted", "confirming" or "verifying".
        record: Record of the trial or baseline concerned.
        done: Number of trials that count so far; of jobs that have a result.
        total: Number of trials asked for; of jobs in the list.
        best: Best complete trial so far; None for jobs.
        seconds_left: Estimated seconds until all are done, None while unknown.
        message: Message for the user.
        job: Job of the trial concerned; None in a search.
        units: Units of the costs that the targets of a search limit, by the costs' names in records.
        limits: The targets themselves, in the same order.
        ended: Trials that have ended since the last event, those of earlier runs and of other processes too. A search
            reports each of them once.
        elsewhere: Number of trials that other processes were evaluating when this one last read the study.
        split: Validation split of a search; None where it is not known.
    """

    kind: str
    record: Record | None = None
    done: int = 0
    total: int = 0
    best: Record | None = None
    seconds_left: float | None = None
    message: str = ""
    job: Job | None = None
    units: Mapping[str, str] = field(factory=dict, eq=False)
    limits: Mapping[str, float] = field(factory=dict, eq=False)
    ended: Sequence[Record] = field(default=(), eq=False)
    elsewhere: int = field(default=0, eq=False)
    split: ValidationSplit | None = field(default=None, eq=False)


Listener = Callable[[Event], None]


class Tell(Protocol):
    """Reports an event, given what is particular to it; see `Event`."""

    def __call__(self, kind: str, record: Record | None = None, message: str = "") -> None:
        """Report one event."""
        ...
