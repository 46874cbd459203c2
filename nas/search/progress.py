"""What a search has so far, counted as it comes in."""

from collections.abc import Iterable

from attrs import define, field

from nas.studies.records import COUNTED_STATES, Record, rank


@define(eq=False)
class Progress:
    """Trials as they come in.

    Attributes:
        cost_name: of a search for a front; "" where trials have a score.
        records: of all that ended, killed ones too.
        counted: how many count.
        best: the best complete one by its own reading.
        since_better: how many have counted since the best, or the front, became better.
        failures: in a row, of this run.
        last_seconds: that the last evaluation of this run took.
    """

    cost_name: str = ""
    records: list[Record] = field(factory=list)
    counted: int = 0
    best: Record | None = None
    since_better: int = 0
    failures: int = 0
    last_seconds: float = float("inf")
    _numbers: set[int] = field(factory=set, init=False)
    _front: list[tuple[float, float]] = field(factory=list, init=False)
    _seconds: float = field(default=0.0, init=False)
    _timed: int = field(default=0, init=False)

    def knows(self, number: int) -> bool:
        """Whether a trial was counted."""
        return number in self._numbers

    def add(self, records: Iterable[Record]) -> None:
        """Count some more."""
        for record in records:
            self._numbers.add(record.number)
            self.records.append(record)
            if record.state not in COUNTED_STATES:
                continue
            self.counted += 1
            self.since_better = 0 if record.state == "complete" and self._is_better(record) else self.since_better + 1
            if record.state == "complete" and (self.best is None or rank(record) > rank(self.best)):
                self.best = record

    def _is_better(self, record: Record) -> bool:
        """Than all before it, or than any before it that costs no more."""
        if not self.cost_name:
            return self.best is None or rank(record) > rank(self.best)
        own = (record.costs[self.cost_name], record.accuracy or 0.0)
        if any(cost <= own[0] and accuracy >= own[1] for cost, accuracy in self._front):
            return False
        self._front.append(own)
        return True

    def ended(self, record: Record, seconds: float) -> None:
        """One of this run, which took so long all in all."""
        self.failures = self.failures + 1 if record.state == "failed" else 0
        self.last_seconds = seconds if record.seconds is None else record.seconds
        self._seconds += seconds
        self._timed += 1

    def seconds_left(self, total: int, at_once: int = 1) -> float | None:
        """With so many evaluated at once; None while it is not known how long one takes."""
        return max(0, total - self.counted) * self._seconds / self._timed / at_once if self._timed else None
