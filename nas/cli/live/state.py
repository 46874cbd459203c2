"""The state of a search that a live view shows, added up from its events."""

import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from attrs import define, field, frozen

from nas.cli.live.chart import Place

if TYPE_CHECKING:
    from nas.noise import ValidationSplit
    from nas.search.events import Event
    from nas.studies.records import Record

MOST_POINTS = 400  # trials beside the front that a chart of a terminal can show
# Kinds of events without a trial whose message says what is being done now.
STEPS = ("screening", "confirming", "verifying")
# Kinds of events that say nothing which lasts: their lines stay above the view.
_PASSING = ("begun", "epoch", "left", "trial", "baseline", "started", "estimate", *STEPS)
# Fields of events that hold until another event has them.
_LASTING = ("total", "best", "split", "units", "limits")


@frozen
class Running:
    """Represent a trial that this process evaluates, or the baseline.

    Attributes:
        record: What is known of it, with its accuracies by epoch.
        since: When it began, in seconds of the view's clock.
    """

    record: "Record"
    since: float


@frozen
class Step:
    """Represent the latest step of a training run.

    Attributes:
        number: Number of the step, from 1.
        steps: Number of steps of an epoch.
        loss: Loss of the step.
    """

    number: int
    steps: int
    loss: float


@define
class Front:
    """Hold the Pareto front of accuracy and cost, which grows by one trial at a time.

    Attributes:
        costs: Costs of the front, rising.
        accuracies: Their accuracies, rising too.
    """

    costs: list[float] = field(factory=list)
    accuracies: list[float] = field(factory=list)

    def add(self, cost: float, accuracy: float) -> bool:
        """Add a trial; return whether it is on the front, from which it removes those that it beats."""
        at = bisect_right(self.costs, cost)
        if at and self.accuracies[at - 1] >= accuracy:
            return False
        begin, end = bisect_left(self.costs, cost), bisect_right(self.accuracies, accuracy)
        del self.costs[begin:end], self.accuracies[begin:end]
        self.costs.insert(begin, cost)
        self.accuracies.insert(begin, accuracy)
        return True

    @property
    def places(self) -> tuple[Place, ...]:
        """Return cost and accuracy of each trial, by rising cost."""
        return tuple(zip(self.costs, self.accuracies, strict=True))


@frozen
class Snapshot:
    """Hold what is known of a search at one moment.

    Attributes:
        done: Number of trials that count.
        total: Number of trials asked for.
        others: Number of those that other processes have evaluated since this one began.
        elsewhere: Number of trials that other processes are evaluating.
        seconds: Seconds since the view was opened.
        seconds_left: Estimated seconds until all is done; None while unknown.
        best: Best complete trial so far.
        split: Validation split, from which the sampling error of accuracies follows; None where it is not known.
        units: Units of the costs that the targets limit, by name.
        limits: The targets, by the names of their costs.
        running: Trials that this process evaluates.
        step: Latest step of the only one of them; None where it is not known.
        doing: What is done if no trial runs; "" if that is not known.
        front: Cost and accuracy of the front, by rising cost.
        trials: Cost and accuracy of the latest trials beside it.
        note: Latest note; "" for none.
        failure: Latest failure; "" for none.
    """

    done: int = 0
    total: int = 0
    others: int = 0
    elsewhere: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    best: "Record | None" = None
    split: "ValidationSplit | None" = None
    units: Mapping[str, str] = field(factory=dict)
    limits: Mapping[str, float] = field(factory=dict)
    running: tuple[Running, ...] = ()
    step: Step | None = None
    doing: str = ""
    front: tuple[Place, ...] = ()
    trials: tuple[Place, ...] = ()
    note: str = ""
    failure: str = ""


class SearchState:
    """Add up the events of a search; a thread that draws takes snapshots meanwhile.

    Args:
        clock: Function that returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._opened = self._heard = clock()
        self._known: dict[str, Any] = {}  # fields of the next snapshot
        self._done = 0
        self._front = Front()
        self._trials: deque[Place] = deque(maxlen=MOST_POINTS)
        self._running: dict[int, Running] = {}
        self._step: Step | None = None
        self._own = 0
        self._before: int | None = None

    @classmethod
    def of(cls, *events: "Event", clock: Callable[[], float] = time.monotonic) -> Self:
        """Return the state after some events."""
        state = cls(clock)
        for event in events:
            state.update(event)
        return state

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Note a step of a training run; it is called for each of them, so it does nothing else."""
        self._step = Step(step, steps, loss)

    def update(self, event: "Event") -> None:
        """Add an event."""
        with self._lock:
            self._heard, self._step = self._clock(), None
            self._count(event)
            for record in event.ended:
                self._add(record, next(iter(event.limits), ""))
            self._follow(event)
            self._known |= {name: value for name in _LASTING if (value := getattr(event, name))}
            self._known |= {"elsewhere": event.elsewhere, "seconds_left": event.seconds_left}
            self._known["doing"] = event.message if event.kind in STEPS else ""
            if event.message and event.kind not in _PASSING:
                self._known["note"] = event.message

    def _count(self, event: "Event") -> None:
        """Count trials: those that this process did not evaluate since the first event are of others."""
        if event.kind in ("trial", "resumed", "begun", "epoch") and self._before is None:
            self._before = event.done - (event.kind == "trial")
        self._own += event.kind == "trial"
        self._done = max(event.done, self._done)

    def _add(self, record: "Record", cost_name: str) -> None:
        if record.state == "failed":
            reason = record.reason.partition("\n")[0]
            self._known["failure"] = f"trial {record.number}{f': {reason}' if reason else ''}"
        cost = record.costs.get(cost_name)
        if record.state == "complete" and cost is not None and record.accuracy is not None:
            self._front.add(cost, record.accuracy)
            self._trials.append((cost, record.accuracy))

    def _follow(self, event: "Event") -> None:
        """Note which trials run: a trial that has ended, here or elsewhere, does not any more."""
        for record in event.ended:
            self._running.pop(record.number, None)
        if event.record is None:
            return
        number = event.record.number
        if event.kind in ("begun", "epoch"):
            known = self._running.get(number)
            self._running[number] = Running(event.record, self._heard if known is None else known.since)
        else:
            self._running.pop(number, None)

    def snapshot(self) -> Snapshot:
        """Return what is known now."""
        with self._lock:
            now = self._clock()
            known, left = dict(self._known), self._known.get("seconds_left")
            if left is not None:
                known["seconds_left"] = max(0.0, left - (now - self._heard))
            return Snapshot(
                **known,
                done=self._done,
                others=0 if self._before is None else max(0, self._done - self._before - self._own),
                seconds=now - self._opened,
                running=tuple(self._running.values()),
                step=self._step if len(self._running) < 2 else None,
                front=self._front.places,
                trials=tuple(self._trials),
            )
