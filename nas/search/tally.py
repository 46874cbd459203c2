"""What a search has so far, counted as it comes in."""

from collections.abc import Iterable

from attrs import define, field

from nas.search.storage import COUNTED_STATES, Record, rank


@define(eq=False)
class Tally:
    """Trials as they come in.

    Attributes:
        records: of all of them, killed ones too.
        counted: how many count.
        best: the best complete one by its own reading.
        failures: in a row, of this run.
        last_seconds: that the last evaluation of this run took.
    """

    records: list[Record] = field(factory=list)
    counted: int = 0
    best: Record | None = None
    failures: int = 0
    last_seconds: float = float("inf")
    _seconds: float = field(default=0.0, init=False)
    _timed: int = field(default=0, init=False)

    def add(self, records: Iterable[Record]) -> None:
        """Count some more."""
        for record in records:
            self.records.append(record)
            self.counted += record.state in COUNTED_STATES
            if record.state == "complete" and (self.best is None or rank(record) > rank(self.best)):
                self.best = record

    def ended(self, seconds: float) -> None:
        """The last record is of a trial of this run that took so long all in all."""
        last = self.records[-1]
        self.failures = self.failures + 1 if last.state == "failed" else 0
        self.last_seconds = seconds if last.seconds is None else last.seconds
        self._seconds += seconds
        self._timed += 1

    def seconds_left(self, total: int) -> float | None:
        """Until there are so many, None while it is not known how long one takes."""
        return max(0, total - self.counted) * self._seconds / self._timed if self._timed else None
