"""Comparisons of the best trial of a study with others: by how much it is ahead, and whether that is more than noise.

Networks are compared at equal score: the accuracy of the other one is that with which the best trial would have the
other's score at its own cost. Only a network whose weights the trials inherited, which costs something else, is
compared by its accuracy and by its cost. The sampling error comes from the differences image by image where they are
known.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from attrs import frozen

from nas.noise import Correct, Difference, Errors, difference, find_errors, quantile, unpack
from nas.studies.records import ACCURACY, Record, StudyView

LEADERS = 5


@frozen
class Lead:
    """The lead of the best trial over another network.

    Attributes:
        other: The other network.
        value: Difference of the accuracies at equal score, from -1 to 1.
        half: Half the width of its interval, which holds for all compared networks together (95%); NaN where no error
            is known.
    """

    other: Record
    value: float
    half: float

    @property
    def low(self) -> float:
        """Return the lower end of the interval, NaN where no error is known."""
        return self.value - self.half

    @property
    def high(self) -> float:
        """Return the upper end of the interval, NaN where no error is known."""
        return self.value + self.half

    @property
    def is_clear(self) -> bool | None:
        """Return whether the best trial is ahead by more than noise; None where it may be, and no error is known."""
        return None if math.isnan(self.half) and self.value > 0 else self.value > self.half


@frozen
class AgainstSource:
    """The comparison of a trial with the network whose weights it inherited, which was fine-tuned in the same way.

    Attributes:
        lead: Lead of the trial in accuracy, whatever the costs are.
        cost: Name of the cost that the first target limits.
        unit: Unit of the cost.
        own: Cost of the trial; the measured one if both networks were measured.
        other: Cost of the other network.
    """

    lead: Lead
    cost: str
    unit: str
    own: float
    other: float

    @property
    def change(self) -> float:
        """Return the cost of the trial as a change of the other network's cost: -0.4 is 40% less."""
        return self.own / self.other - 1


@frozen
class _Network:
    """A network with what is known of its accuracy.

    Attributes:
        accuracy: Mean accuracy of its training runs.
        runs: Number of training runs.
        correct: Which images they classify correctly, as far as it is known.
        slope: Growth of the score with the accuracy.
        offset: Score at accuracy 0.
    """

    accuracy: float
    runs: int
    correct: Sequence[Correct]
    slope: float
    offset: float


def leaders(view: StudyView) -> tuple[Record, ...]:
    """Return the first of the ranked trials; once trials were measured, of those that meet the target."""
    return view.meeting(view.ranked)[:LEADERS]


def not_told_apart(view: StudyView) -> tuple[Record, ...]:
    """Return the leaders over which the best trial is not ahead by more than noise.

    There are none without a best trial, nor for scores of networks that were not trained, which have no noise.
    """
    best = view.best
    if best is None or view.accuracy_label != ACCURACY:
        return ()
    # The best was chosen among all trials, so each difference is one of so many.
    others = [record for record in leaders(view) if record.number != best.number]
    return tuple(lead.other for lead in _leads(view, best, others, len(view.complete) - 1) if not lead.is_clear)


def is_testable(view: StudyView) -> bool:
    """Return whether the error of any lead of the best trial over another leader is known."""
    best = view.best
    others = [record for record in leaders(view) if best is not None and record.number != best.number]
    return best is not None and not all(math.isnan(lead.half) for lead in _leads(view, best, others, 1))


def ahead_of_baseline(view: StudyView) -> Lead | None:
    """Return the lead of the best trial over the baseline; None where one of them is missing or was not trained."""
    best, baseline = view.best, view.baseline
    if view.accuracy_label != ACCURACY or best is None or baseline is None or baseline.accuracy is None:
        return None
    return _leads(view, best, [baseline], len(view.complete))[0]


def against_source(view: StudyView, record: Record) -> AgainstSource | None:
    """Return the comparison of a trial with the network whose weights it inherited; None if there is none."""
    source = view.source
    if source is None or source.accuracy is None or record.accuracy is None:
        return None
    limit = view.settings["limits"][0]
    cost = limit["cost"]
    measured = [view.measurements.get(each.number) for each in (record, source)]
    # A measured cost is compared with a measured one, and a predicted cost with a predicted one.
    own, other = (
        (measured[0].measured, measured[1].measured)
        if measured[0] is not None and measured[1] is not None
        else (record.costs.get(cost), source.costs.get(cost))
    )
    if own is None or not other or math.isinf(other):  # a network that cannot be measured has an infinite cost
        return None
    # The trial was chosen among all trials, so the difference is one of so many.
    (lead,) = _leads(view, record, [source], len(view.complete), at_equal_score=False)
    return AgainstSource(lead, cost, limit["unit"], own, other)


def _leads(
    view: StudyView, best: Record, others: Sequence[Record], comparisons: int, *, at_equal_score: bool = True
) -> list[Lead]:
    every = (*view.complete, *((view.baseline,) if view.baseline else ()))
    errors = find_errors(view.split, [(view.runs(record), _correct(view, record)) for record in every])
    own = _network(view, best, at_equal_score=at_equal_score)
    networks = [_network(view, record, at_equal_score=at_equal_score) for record in others]
    pairs = zip(others, networks, strict=True)
    return [_lead(view, (best, own), (record, other), errors, comparisons) for record, other in pairs]


def _lead(
    view: StudyView, first: tuple[Record, _Network], second: tuple[Record, _Network], errors: Errors, comparisons: int
) -> Lead:
    (best, own), (record, other) = first, second
    value = own.accuracy - (other.slope * other.accuracy + other.offset - own.offset) / own.slope
    variance = _variance(own, other, errors)
    if variance is None:
        spreads = [expected.spread for each in (best, record) if (expected := view.expected.get(each.number))]
        variance = sum(spread**2 for spread in spreads) if len(spreads) == 2 else None
    half = math.nan if variance is None else Difference(value, math.sqrt(variance)).half_width(comparisons)
    return Lead(record, value, half)


def _variance(one: _Network, other: _Network, errors: Errors) -> float | None:
    """Return the variance of the difference of two accuracies; None where no error is known."""
    if errors.split is None and not errors.is_complete:
        return None
    # An interval with few degrees of freedom is wider, as if the variance were larger by this factor.
    caution = (quantile(errors.degrees) / quantile()) ** 2 if errors.is_complete else 0.0
    training = caution * errors.training if errors.is_complete else 0.0
    if not (errors.split and one.correct and other.correct):
        return sum(errors.sampling(each.accuracy) + training / each.runs for each in (one, other))
    paired = difference(one.correct, other.correct).error ** 2 * errors.split.images / errors.split.effective
    return paired + training * (1 / one.runs + 1 / other.runs)


def _network(view: StudyView, record: Record, *, at_equal_score: bool) -> _Network:
    runs, slope, offset = view.runs(record), 1.0, 0.0
    if not at_equal_score:
        return _Network(fmean(runs), len(runs), _correct(view, record), slope, offset)
    if record.score is not None and record.accuracy and view.settings["objective"] != "absolute":
        slope = record.score / record.accuracy
    elif record.score is not None and record.accuracy is not None:
        offset = record.score - record.accuracy
    return _Network(fmean(runs), len(runs), _correct(view, record), slope or 1.0, offset)


def _correct(view: StudyView, record: Record) -> list[Correct]:
    """Return which images each training run of a network classifies correctly, as far as it is known."""
    return [unpack(text) for text in (record.correct, *view.confirmed_correct.get(record.number, ())) if text]
