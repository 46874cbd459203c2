"""Records of a study: trials, the baseline, measurements on the device, and the study as reports show it."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from statistics import fmean
from types import MappingProxyType
from typing import Any, TypeVar

from attrs import asdict, field, frozen

from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.noise import ValidationSplit
from nas.outlook import Outlook

SETTINGS = "nas:settings"
JOB_SETTINGS = "nas:scoring"  # of studies of jobs
BASELINE = "nas:baseline"
MEASUREMENTS = "nas:verdicts"
EXPECTED = "nas:expected"
ACCURACY = "accuracy"  # the label of accuracies that were measured on images
OUTLOOK = "nas:outlook"
CONFIRMED = "nas:confirmed"  # accuracies of the best trials trained with more seeds, by trial and seed
CONFIRMED_CORRECT = "nas:confirmed_correct"  # which images they classified correctly, by trial and seed
SPLIT = "nas:validation_split"
CORRECT = "correct"  # which validation images a trial classified correctly, as `nas.noise.pack` writes it
KILLED = "killed"
NORMAL_95 = 1.96  # standard deviations on either side of the mean that hold 95% of a normal distribution
# Setting with the exponents of the targets after the first. Studies of earlier versions lack it and keep their rule.
FURTHER_W = "further_w"
# Setting with the name of the network whose weights the candidates inherit. It is then the baseline.
SOURCE = "source"
NOT_LEARNED = (
    "nothing has been learned, because no network is better than one that always gives the most frequent class, by "
    "more than noise"
)
COUNTED_STATES = ("complete", "pruned", "failed")
T = TypeVar("T")

# Fields of records that studies hold under other names: those of version 0.1, whose studies are still read.
_STORED_NAMES: Mapping[str, str] = MappingProxyType({"metadata": "remarks"})


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@frozen
class Record:
    """Represent one trial, or the baseline, as reports show it.

    Attributes:
        number: Number of the trial in its study, from 0; -1 for the baseline.
        state: "complete", "pruned", "failed" (the architecture could not be evaluated), "killed" (the evaluation was
            interrupted) or "running".
        arch: Canonical text of the architecture.
        costs: Costs by name, among them `macs`, `params` and `peak_bytes`.
        accuracy: Accuracy after the last epoch, from 0 to 1; None if no epoch was finished.
        accuracies: Accuracies by epoch.
        score: Value of the study's objective; None if the trial has none.
        seconds: Seconds that the evaluation took.
        reason: Why the trial failed or was killed.
        seed: Seed of the evaluation.
        label: Name of a baseline, such as "mobilenetv2 x1.16".
        spreads: Standard deviations of those costs that are not exact; None for one that is not known.
        metadata: Further results of the evaluator, by name.
        correct: Which validation images were classified correctly, as `nas.noise.pack` writes it; "" where it is not
            known.
        params: Options that the trial has, by the name of the choice in the search space; empty for the baseline.
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
    correct: str = ""
    params: Mapping[str, Any] = field(factory=dict, repr=False)

    @property
    def architecture(self) -> Architecture:
        """Return the architecture of the trial."""
        return parse_text(self.arch)


@frozen
class DeviceMeasurement:
    """Represent the measurement of a trial on the device after the search.

    Attributes:
        cost: Name of the measured cost in `Record.costs`.
        target: Largest cost that was asked for.
        predicted: Cost that the search used; None if it is not known.
        measured: Cost on the device, measured in turn with the other trials, or by a function of the user's own.
        spread: Standard deviation of `measured`.
        noisy: Whether other work on the device disturbed the measurement.
    """

    cost: str
    target: float
    predicted: float | None
    measured: float
    spread: float
    noisy: bool = False

    @property
    def meets(self) -> bool:
        """Return whether the target is met."""
        return self.measured <= self.target


@frozen
class Expected:
    """Represent what is expected of one trial given all trials and seeds, without the noise of its own evaluation.

    Attributes:
        accuracy: Expected accuracy, from 0 to 1.
        spread: Standard error of the expected accuracy; with the sampling error of the validation split where the study
            holds the split, and between seeds only where it does not.
        score: Value of the study's objective at the expected accuracy.
        low: Lower end of the 95% interval of the accuracy; None in studies of earlier versions.
        high: Upper end of the interval.
    """

    accuracy: float
    spread: float
    score: float
    low: float | None = None
    high: float | None = None


@frozen
class Interval:
    """Represent an accuracy with its 95% interval.

    Attributes:
        value: Accuracy, from 0 to 1: the mean over all seeds with which the network was trained.
        low: Lower end of the interval; None where it is unknown.
        high: Upper end of the interval; None where it is unknown.
    """

    value: float
    low: float | None = None
    high: float | None = None


@frozen
class Recommendation:
    """Represent which network a study recommends, and why.

    Attributes:
        trial: Number of the recommended trial; None if no network is recommended.
        reason: Reason for the choice, or for choosing none.
    """

    trial: int | None
    reason: str


@frozen
class StudyView:
    """Represent a study as reports show it.

    Attributes:
        name: Name of the study.
        settings: Settings that the study was made with.
        records: Trials by number.
        baseline: A known network that was evaluated in the same way, or None.
        created: Local time at which the first trial started, "" for a study without trials.
        measurements: Measurements on the device by trial number; empty where all costs are exact.
        expected: Expected accuracies of the most promising trials, and of the baseline, by number; empty where trials
            were added since.
        confirmed: Accuracies of the best trials, and of the baseline, trained with more seeds, by trial number.
        confirmed_correct: Which validation images these training runs classified correctly, as `nas.noise.pack` writes
            it; fewer where it is not known.
        split: Validation split; None where it is not known.
        foreign: Numbers of the trials that another program wrote or changed; they are left out of `records`.
        outlook: What is still to be expected of the search; None if this is not known, or trials were added since.
    """

    name: str
    settings: Mapping[str, Any]
    records: tuple[Record, ...]
    baseline: Record | None = None
    created: str = field(default="", eq=False)
    measurements: Mapping[int, DeviceMeasurement] = field(factory=dict)
    expected: Mapping[int, Expected] = field(factory=dict)
    confirmed: Mapping[int, tuple[float, ...]] = field(factory=dict)
    foreign: tuple[int, ...] = ()
    confirmed_correct: Mapping[int, tuple[str, ...]] = field(factory=dict)
    split: ValidationSplit | None = None
    outlook: Outlook | None = None

    @property
    def source(self) -> Record | None:
        """Return the baseline if it is the network whose weights the candidates inherited; None if it is not."""
        return self.baseline if SOURCE in self.settings else None

    @property
    def counted(self) -> int:
        """Return the number of trials that count: all except killed and running ones."""
        return sum(record.state in COUNTED_STATES for record in self.records)

    @cached_property
    def complete(self) -> tuple[Record, ...]:
        """Return the trials that ran to their last epoch."""
        return tuple(record for record in self.records if record.state == "complete")

    @property
    def promising(self) -> tuple[Record, ...]:
        """Return the complete trials by expected score, then by their own score or accuracy, the highest first.

        Those that have not learned anything come last.
        """
        return tuple(sorted(self.complete, key=lambda each: (self._has_learned(each), self._rank(each)), reverse=True))

    def meeting(self, records: Iterable[Record]) -> tuple[Record, ...]:
        """Return those that met the target on the device; all if no trial was measured."""
        measured = self.measured_count  # counted once, and not again for every record
        return tuple(record for record in records if not measured or self.meets(record))

    @cached_property
    def ranked(self) -> tuple[Record, ...]:
        """Return the complete trials, the best first: those that were re-trained before all others.

        Their accuracies have smaller errors, and the search re-trains what is most promising. After that, the order is
        that of the expected scores, and then of their own scores or accuracies.
        """
        ordered = sorted(self.complete, key=self._rank, reverse=True)
        return tuple(sorted(ordered, key=lambda record: record.number not in self.confirmed))

    def _rank(self, record: Record) -> tuple[float, float]:
        expected = self.expected.get(record.number)
        return (float("-inf") if expected is None else expected.score, rank(record))

    def runs(self, record: Record) -> tuple[float, ...]:
        """Return the accuracies of all training runs of a trial's network, its own first."""
        own = () if record.accuracy is None else (record.accuracy,)
        return (*own, *self.confirmed.get(record.number, ()))

    @cached_property
    def _evaluated_count(self) -> int:
        return sum(record.accuracy is not None for record in self.records)

    def _has_learned(self, record: Record) -> bool:
        """Return whether a trial is better than the most frequent class by more than noise; true if that is unknown.

        The mean of a network's training runs is compared, as that of one of all trials that were evaluated.
        """
        if self.split is None:
            return True
        runs = self.runs(record)
        return bool(runs) and self.split.exceeds_chance(fmean(runs), self._evaluated_count)

    @property
    def candidates(self) -> tuple[Record, ...]:
        """Return the trials that may be recommended, the best first.

        Once trials were measured, these are those that meet the target; and of them those that were re-trained, if any.
        """
        met = self.meeting(self.ranked)
        return tuple(record for record in met if record.number in self.confirmed) or met

    @property
    def learned(self) -> bool | None:
        """Return whether any candidate (any trial, if there is none) has learned something; None if unknown."""
        if self.split is None or not self.complete:
            return None
        return any(map(self._has_learned, self.candidates or self.ranked))

    @property
    def best(self) -> Record | None:
        """Return the recommended trial, None if there is none; see `recommendation`."""
        number = self.recommendation.trial
        return next((record for record in self.complete if record.number == number), None)

    @cached_property
    def recommendation(self) -> Recommendation:
        """Return which network is recommended; this is the definition of the best trial that every view uses.

        It is the first of `candidates` that has learned something. It follows from what the study holds, so that every
        view of the same results has the same one.
        """
        if not self.complete:
            return Recommendation(None, "no trial is complete")
        if not self.candidates:
            return Recommendation(
                None,
                f"none of the {self.measured_count} networks that were measured {self.measured_how} meets the target",
            )
        chosen = next(filter(self._has_learned, self.candidates), None)
        if chosen is None:
            return Recommendation(None, NOT_LEARNED)
        among = [
            *([self._met] if self.measured_count else []),
            *(["were re-trained"] if chosen.number in self.confirmed else []),
        ]
        which = f"the trials that {' and '.join(among)}" if among else "all trials"
        return Recommendation(chosen.number, f"it has the highest {self._ranking} of {which}")

    @property
    def _ranking(self) -> str:
        """Return a name for the value by which `ranked` orders the trials."""
        if self.expected:
            return "expected score, which excludes the noise of single evaluations,"
        return self.accuracy_label if all(record.score is None for record in self.complete) else "score"

    def interval(self, record: Record) -> Interval | None:
        """Return the accuracy of a trial over all its seeds, with its interval; None if it has no accuracy."""
        if record.accuracy is None:
            return None
        further, expected = self.confirmed.get(record.number, ()), self.expected.get(record.number)
        mean = fmean((record.accuracy, *further)) if further else record.accuracy
        # A score without training is no proportion of images, so that no interval of one holds for it.
        if expected is None or self.accuracy_label != ACCURACY:
            return Interval(mean)
        margin = NORMAL_95 * expected.spread
        low = expected.accuracy - margin if expected.low is None else expected.low
        high = expected.accuracy + margin if expected.high is None else expected.high
        # The interval is about the expected accuracy, which a lucky mean may exceed by more than the margin.
        return Interval(mean, max(0.0, min(low, mean)), min(1.0, max(high, mean)))

    def meets(self, record: Record) -> bool | None:
        """Return whether a trial met its target when it was measured, or None if it was not measured."""
        measurement = self.measurements.get(record.number)
        return None if measurement is None else measurement.meets

    @property
    def measured_count(self) -> int:
        """Return the number of trials that were measured on the device."""
        return sum(record.number in self.measurements for record in self.records)

    @property
    def measured_how(self) -> str:
        """Return in words where or how trials were measured after the search."""
        costs = {measurement.cost for measurement in self.measurements.values()}
        return "again" if costs & {limit["cost"] for limit in self.own_limits} else "on the device"

    @property
    def _met(self) -> str:
        """Return in words what trials did that met their target in these measurements."""
        return f"met the target {'when they were measured again' if self.measured_how == 'again' else 'on the device'}"

    @cached_property
    def front(self) -> tuple[Record, ...]:
        """Return the Pareto front of accuracy and first cost; see `front_by`."""
        return self.front_by(self.cost_name)

    def front_by(self, name: str) -> tuple[Record, ...]:
        """Return the Pareto front of accuracy and a cost: complete trials that no other beats, by rising cost.

        The accuracy of a trial that was re-trained is the mean over its seeds.

        Args:
            name: Name of the cost in `Record.costs`; trials without it are left out.
        """
        intervals = [(record, self.interval(record)) for record in self.complete if name in record.costs]
        known = [(record.costs[name], interval.value, record) for record, interval in intervals if interval]
        front: list[Record] = []
        best = -1.0
        for _, accuracy, record in sorted(known, key=lambda row: (row[0], -row[1], row[2].number)):
            if accuracy > best:
                front.append(record)
                best = accuracy
        return tuple(front)

    @property
    def accuracy_label(self) -> str:
        """Return a name for what `Record.accuracy` holds: without training it is a zero-cost score."""
        return "zero-cost score" if self.settings["proxy"].get("evaluator") == "zero-cost" else ACCURACY

    @property
    def own_limits(self) -> tuple[Mapping[str, Any], ...]:
        """Return the limits of costs that functions of the user's own give."""
        return tuple(limit for limit in self.settings["limits"] if "function" in limit.get("basis", {}))

    @property
    def cost_name(self) -> str:
        """Return the cost that the study's first target limits, as a name in `Record.costs`."""
        return str(self.settings["limits"][0]["cost"])


def to_stored(record: "Record | DeviceMeasurement | Expected") -> dict[str, Any]:
    """Return a record as the JSON object that a study holds, without empty parameters; see `from_stored`."""
    fields = asdict(record)
    if not fields.get("params", True):
        del fields["params"]  # A baseline has none, and earlier versions do not know the field.
    return {_STORED_NAMES.get(name, name): value for name, value in fields.items()}


def from_stored(kind: type[T], stored: Mapping[str, Any]) -> T:
    """Return the record of a JSON object that a study holds.

    Raises:
        TypeError: A name is missing or unknown.
    """
    names = {stored_name: name for name, stored_name in _STORED_NAMES.items()}
    return kind(**{names.get(name, name): value for name, value in stored.items()})


def rank(record: Record) -> float:
    """Return the number by which trials are ordered: the score, or the accuracy of a trial without a score."""
    value = record.accuracy if record.score is None else record.score
    return float("-inf") if value is None else value


def find_trial(view: StudyView, which: str) -> Record:
    """Return the trial of a study that `best`, `trial=17` or `pareto=2` names.

    Args:
        view: The study.
        which: Words for the trial. Numbers of the Pareto front count from 1 by rising cost.

    Raises:
        StudyError: There is no such trial.
    """
    word, _, number = which.partition("=")
    chosen: Record | None = None
    if word == "best" and not number:
        chosen = view.best
    elif word == "trial" and number.isdecimal():
        chosen = next((record for record in view.records if record.number == int(number)), None)
    elif word == "pareto" and number.isdecimal() and 1 <= int(number) <= len(view.front):
        chosen = view.front[int(number) - 1]
    if chosen is None and which == "best":
        raise StudyError(f"study {view.name} has no best: {view.recommendation.reason}", _remedy(view))
    if chosen is None or not chosen.arch:
        raise StudyError(
            f"study {view.name} has no {which}",
            f"use best, trial=NUMBER or pareto=1 to pareto={len(view.front)}; {len(view.complete)} trials are complete"
            if view.front
            else _remedy(view),
        )
    return chosen


def _remedy(view: StudyView) -> str:
    """Return what to do about a study without a recommended trial."""
    if not view.complete:
        return "run its search again, which goes on with it; `nas studies` lists the trials of each study"
    if view.learned is False:
        return "name a trial with trial=NUMBER, or search again with more --epochs, more images or a larger resolution"
    return "name a trial with trial=NUMBER, or search again with a smaller --band or a higher target"
