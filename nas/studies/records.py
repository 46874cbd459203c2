"""Records of a study: trials, the baseline, measurements of the best, and the study as reports show it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from attrs import asdict, field, frozen

from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.errors import StudyError

SETTINGS = "nas:settings"
BASELINE = "nas:baseline"
MEASUREMENTS = "nas:verdicts"
EXPECTED = "nas:expected"
CONFIRMED = "nas:confirmed"  # accuracies of the best with further seeds, by trial and seed
KILLED = "killed"
COUNTED_STATES = ("complete", "pruned", "failed")
T = TypeVar("T")

# Fields of records that studies hold under other names: those of version 0.1, whose studies are still read.
_STORED_NAMES: Mapping[str, str] = MappingProxyType({"metadata": "remarks"})


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@frozen
class Record:
    """One trial, or the baseline (number -1), as it is reported.

    Attributes:
        number: Optuna's, from 0.
        state: "complete", "pruned", "failed" (by its own fault), "killed" or "running".
        arch: canonical text.
        costs: by name, `macs`, `params`, `peak_bytes`.
        accuracy: after the last epoch, 0 to 1; None where none was reached.
        accuracies: by epoch.
        score: under the study's objective; None where there is none.
        seconds: of evaluating.
        reason: why it failed.
        label: of a baseline, e.g. "mobilenetv2 x1.16".
        spreads: standard deviations of those costs that are not exact, None where they are not known.
        metadata: Further results of the evaluator, by name.
    """

    number: int
    state: str
    arch: str
    costs: Mapping[str, float]
    accuracy: float | None = None
    accuracies: tuple[float, ...] = field(default=(), converter=_floats)
    score: float | None = None
    seconds: float | None = None
    reason: str = ""
    seed: int | None = None
    label: str = ""
    spreads: Mapping[str, float | None] = field(factory=dict)
    metadata: Mapping[str, Any] = field(factory=dict)

    @property
    def architecture(self) -> Architecture:
        """The architecture itself."""
        return parse_text(self.arch)


@frozen
class DeviceMeasurement:
    """What was measured of one of the best, after the search.

    Attributes:
        cost: the target's, by its name in `Record.costs`.
        target: at most so much was asked for.
        predicted: what the search went by; None where it is not known.
        measured: on the device, in turn with the others.
        spread: one standard deviation of `measured`.
        noisy: whether other work disturbed the machine meanwhile.
    """

    cost: str
    target: float
    predicted: float | None
    measured: float
    spread: float
    noisy: bool = False

    @property
    def meets(self) -> bool:
        """Whether the target is met."""
        return self.measured <= self.target


@frozen
class Expected:
    """What a model of all trials expects of one, the noise of its own reading taken off.

    Attributes:
        accuracy: 0 to 1.
        spread: one standard deviation of it.
        score: under the study's objective.
    """

    accuracy: float
    spread: float
    score: float


@frozen
class StudyView:
    """A study as it is reported.

    Attributes:
        name: of the study.
        settings: what it was made with.
        records: its trials by number.
        baseline: a known network under the same proxy, or None.
        verdicts: by number, on what was measured once more; empty where costs are exact.
        expected: by number, of those that promise most; empty where trials came after it was found.
        confirmed: by number, accuracies with further seeds of those that were best in the end.
    """

    name: str
    settings: Mapping[str, Any]
    records: tuple[Record, ...]
    baseline: Record | None = None
    created: str = field(default="", eq=False)
    measurements: Mapping[int, DeviceMeasurement] = field(factory=dict)
    expected: Mapping[int, Expected] = field(factory=dict)
    confirmed: Mapping[int, tuple[float, ...]] = field(factory=dict)

    @property
    def counted(self) -> int:
        """Trials that count: all but killed and running ones."""
        return sum(record.state in COUNTED_STATES for record in self.records)

    @property
    def complete(self) -> tuple[Record, ...]:
        """Trials that ran to their last epoch."""
        return tuple(record for record in self.records if record.state == "complete")

    @property
    def ranked(self) -> tuple[Record, ...]:
        """Complete trials, the highest expected score first, then by their own; under "pareto" by accuracy."""
        return tuple(sorted(self.complete, key=self._rank, reverse=True))

    def _rank(self, record: Record) -> tuple[float, float]:
        expected = self.expected.get(record.number)
        return (float("-inf") if expected is None else expected.score, rank(record))

    @property
    def best(self) -> Record | None:
        """The first of `ranked`; once some were measured, the first of those that met the target."""
        return next((record for record in self.ranked if not self.measurements or self.meets(record)), None)

    def meets(self, record: Record) -> bool | None:
        """Whether it met its targets when it was measured; None where it was not."""
        measurement = self.measurements.get(record.number)
        return None if measurement is None else measurement.meets

    @property
    def measured_count(self) -> int:
        """Trials that were measured once more."""
        return sum(record.number in self.measurements for record in self.records)

    @property
    def front(self) -> tuple[Record, ...]:
        """Complete trials that no other beats in accuracy and first cost, by rising cost."""
        name = self.cost_name
        known = [(r.costs[name], r.accuracy, r) for r in self.complete if r.accuracy is not None and name in r.costs]
        front: list[Record] = []
        best = -1.0
        for _, accuracy, record in sorted(known, key=lambda row: (row[0], -row[1], row[2].number)):
            if accuracy > best:
                front.append(record)
                best = accuracy
        return tuple(front)

    @property
    def reading(self) -> str:
        """What the numbers in place of accuracies are, in a word: without training they are standings."""
        return "standing" if self.settings["proxy"].get("evaluator") == "zero-cost" else "accuracy"

    @property
    def cost_name(self) -> str:
        """The cost that the study's first target limits, as a key of `Record.costs`."""
        return str(self.settings["limits"][0]["cost"])


def to_stored(record: "Record | DeviceMeasurement | Expected") -> dict[str, Any]:
    """Return a record as the JSON object that a study holds; see `from_stored`."""
    return {_STORED_NAMES.get(name, name): value for name, value in asdict(record).items()}


def from_stored(kind: type[T], stored: Mapping[str, Any]) -> T:
    """Return the record of a JSON object that a study holds.

    Raises:
        TypeError: A name is missing or unknown.
    """
    names = {stored_name: name for name, stored_name in _STORED_NAMES.items()}
    return kind(**{names.get(name, name): value for name, value in stored.items()})


def rank(record: Record) -> float:
    """What orders trials by their own readings: the score, under "pareto" the accuracy."""
    worth = record.accuracy if record.score is None else record.score
    return float("-inf") if worth is None else worth


def find_trial(view: StudyView, which: str) -> Record:
    """A study's trial by `best`, `trial=17` or `pareto=2` (counted from 1 by rising cost).

    Raises:
        StudyError: no such trial.
    """
    word, _, number = which.partition("=")
    chosen: Record | None = None
    if word == "best" and not number:
        chosen = view.best
    elif word == "trial" and number.isdecimal():
        chosen = next((record for record in view.records if record.number == int(number)), None)
    elif word == "pareto" and number.isdecimal() and 1 <= int(number) <= len(view.front):
        chosen = view.front[int(number) - 1]
    if chosen is None and word == "best" and view.measurements:
        raise StudyError(
            f"study {view.name} has no best: none of {view.measured_count} that were measured meets the target",
            "name a trial by trial=NUMBER, or search again with a smaller --band or a higher target",
        )
    if chosen is None or not chosen.arch:
        raise StudyError(
            f"study {view.name} has no {which}",
            f"use best, trial=NUMBER or pareto=1 to pareto={len(view.front)}; {len(view.complete)} trials are complete",
        )
    return chosen
