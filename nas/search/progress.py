"""Progress of a search, or of the jobs of a fixed list: its trials, counted as they end."""

from collections.abc import Iterable

from attrs import define, field

from nas.studies.records import COUNTED_STATES, Record, rank


@define(eq=False)
class Progress:
    """Trials of a study that have ended, counted in the order in which this process saw them.

    Attributes:
        cost_name: Cost that the first target limits, in a search for a front; "" where trials have a score.
        records: Records of all trials that ended, killed ones too.
        counted: Number of trials that count.
        best: Best complete trial by its own accuracy.
        since_better: Number of trials that have counted since the best trial, or the front, became better.
        failed: Numbers of the trials that failed one after another, up to the last trial of this process.
        last_seconds: Seconds that the last evaluation of this process took.
        at_once: Largest number of trials that this process has evaluated at once.
        elsewhere: Number of trials that other processes were evaluating when the study was last read.
    """

    cost_name: str = ""
    records: list[Record] = field(factory=list)
    counted: int = 0
    best: Record | None = None
    since_better: int = 0
    failed: list[int] = field(factory=list)
    last_seconds: float = float("inf")
    at_once: int = 1
    elsewhere: int = 0
    _numbers: set[int] = field(factory=set, init=False)
    _front: list[tuple[float, float]] = field(factory=list, init=False)
    _seconds: float = field(default=0.0, init=False)
    _timed: int = field(default=0, init=False)
    _reported: int = field(default=0, init=False)

    def knows(self, number: int) -> bool:
        """Return whether a trial was added before."""
        return number in self._numbers

    def add(self, records: Iterable[Record]) -> None:
        """Add trials that have ended."""
        for record in records:
            self._numbers.add(record.number)
            self.records.append(record)
            if record.state not in COUNTED_STATES:
                continue
            self.counted += 1
            self.since_better = 0 if record.state == "complete" and self._is_better(record) else self.since_better + 1
            if record.state == "complete" and (self.best is None or rank(record) > rank(self.best)):
                self.best = record

    def news(self) -> tuple[Record, ...]:
        """Return the trials that were added since the last call."""
        new = tuple(self.records[self._reported :])
        self._reported += len(new)
        return new

    def _is_better(self, record: Record) -> bool:
        """Return whether a trial beats all before it or, for a front, all before it that cost no more."""
        if not self.cost_name:
            return self.best is None or rank(record) > rank(self.best)
        own = (record.costs[self.cost_name], record.accuracy or 0.0)
        if any(cost <= own[0] and accuracy >= own[1] for cost, accuracy in self._front):
            return False
        # Points that are dominated from now on may stay: whatever they beat, the new point beats too.
        self._front.append(own)
        return True

    def ended(self, record: Record, seconds: float) -> None:
        """Note the state and the duration of a trial that this process has evaluated.

        Args:
            record: Record of the trial.
            seconds: Seconds from its reservation to its end.
        """
        # One success ends the row: only failures without a success between them point to a common cause.
        self.failed = [*self.failed, record.number] if record.state == "failed" else []
        # The evaluation alone, because it predicts whether the next trial is quick; storing a trial takes time as well.
        self.last_seconds = seconds if record.seconds is None else record.seconds
        self._seconds += seconds
        self._timed += 1

    def seconds_left(self, total: int, at_once: int = 1, later: int = 0) -> float | None:
        """Return the estimated seconds until all is done, None before a first trial has ended here.

        Args:
            total: Number of trials asked for.
            at_once: Number of trials that are evaluated at once, at least.
            later: Number of evaluations after the trials, which are done one at a time.
        """
        if not self._timed:
            return None
        each, left = self._seconds / self._timed, max(0, total - self.counted)
        return each * (left / max(at_once, self.at_once) + max(0, later))
