"""Trials as the public API returns them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nas.errors import StudyError

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.studies.records import Record, StudyView


@frozen
class Trial:
    """Hold one evaluated architecture of a study, or its baseline.

    Attributes:
        number: Number of the trial, from 0; None for the baseline.
        name: Name of a baseline, for example "mobilenetv2 x1.16"; "" for a trial.
        state: "complete", "pruned", "failed", "killed" (its process was ended) or "running".
        text: Text form of the architecture, with one stage in each line.
        accuracy: Accuracy after the last epoch, 0 to 1; None if there is none. Zero-cost evaluators give a score here,
            which is no accuracy.
        accuracies: Accuracy after each epoch.
        expected_accuracy: Accuracy that is expected given all trials and seeds, without the noise of a single
            evaluation; None if the search did not estimate it.
        expected_spread: Standard error of `expected_accuracy`. It includes the choice of validation images if the study
            knows the validation split, and is between seeds only if `Study.split` is None.
        expected_low: Lower end of the 95% interval of the accuracy; None if it is unknown.
        expected_high: Upper end of this interval.
        further_accuracies: Accuracies of re-training with more seeds.
        costs: Costs by name: "macs" and "params" (numbers), "peak_bytes" and "size_bytes" (bytes), "latency_ms"
            (milliseconds), and costs of your own in the units of their targets.
        cost_spreads: Standard deviations of the costs that are not exact; None if unknown.
        score: Score under the objective of the study; None if there is none.
        measured_ms: Latency that was measured after the search in milliseconds; None if it was not.
        measured_costs: Costs that were measured after the search, by name; of several targets, the one that is exceeded
            most.
        meets_target: Whether the measured cost is within the target; None if none was measured.
        seconds: Duration of the evaluation in seconds.
        seed: Seed of the evaluation.
        reason: Reason of a failure.
        metadata: Further results of the evaluator by name.

    >>> import nas
    >>> study = nas.search("mnasnet", target="flops=100M", trials=6, evaluator="zero-cost:depth", study="demo")
    >>> study.best.state, sorted(study.best.costs)
    ('complete', ['macs', 'params', 'peak_bytes'])
    """

    number: int | None
    name: str
    state: str
    text: str = field(repr=False)
    accuracy: float | None
    accuracies: tuple[float, ...] = field(repr=False)
    expected_accuracy: float | None
    expected_spread: float | None
    expected_low: float | None = field(repr=False)
    expected_high: float | None = field(repr=False)
    further_accuracies: tuple[float, ...] = field(repr=False)
    costs: Mapping[str, float]
    cost_spreads: Mapping[str, float | None] = field(repr=False)
    score: float | None
    measured_ms: float | None
    measured_costs: Mapping[str, float] = field(repr=False)
    meets_target: bool | None
    seconds: float | None
    seed: int | None
    reason: str
    metadata: Mapping[str, Any] = field(repr=False)

    @property
    def architecture(self) -> "Architecture":
        """Return the architecture.

        Raises:
            StudyError: The trial has just started and has no architecture yet.
        """
        from nas.arch.code import parse_text

        if not self.text:
            raise StudyError(f"trial {self.number} has no architecture", "refresh the study once the trial has begun")
        return parse_text(self.text)


def make_trial(view: "StudyView", record: "Record") -> Trial:
    """Return a trial, or the baseline, of a study."""
    number = record.number
    expected, measured = view.expected.get(number), view.measurements.get(number)
    return Trial(
        number=None if number < 0 else number,
        name=record.label,
        state=record.state,
        text=record.arch,
        accuracy=record.accuracy,
        accuracies=record.accuracies,
        expected_accuracy=None if expected is None else expected.accuracy,
        expected_spread=None if expected is None else expected.spread,
        expected_low=None if expected is None else expected.low,
        expected_high=None if expected is None else expected.high,
        further_accuracies=view.confirmed.get(number, ()),
        costs=dict(record.costs),
        cost_spreads=dict(record.spreads),
        score=record.score,
        measured_ms=measured.measured if measured is not None and measured.cost == "latency_ms" else None,
        measured_costs={} if measured is None else {measured.cost: measured.measured},
        meets_target=None if measured is None else measured.meets,
        seconds=record.seconds,
        seed=record.seed,
        reason=record.reason,
        metadata=dict(record.metadata),
    )
