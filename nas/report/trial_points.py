"""Points of a figure of accuracy against cost, each of one trial."""

from collections.abc import Iterable

from attrs import frozen

from nas.report.fronts import CostAxis
from nas.report.hover import hover_text
from nas.report.thinning import MOST, places_to_draw
from nas.studies.records import NORMAL_95, Record, StudyView

Span = tuple[float, float]


@frozen
class Point:
    """Represent one architecture in the figure.

    Attributes:
        x: Cost in units of the axis.
        y: Accuracy in percent, over all seeds with which the network was trained.
        hover: Text that is shown when the mouse is over the point, as HTML.
        label: Text next to the point.
        number: Number of the trial; -1 for the baseline.
        x_margin: Half of the 95% interval of `x`; 0 for an exact cost, and where it is unknown.
        y_span: 95% interval of `y`; None where it is unknown.
    """

    x: float
    y: float
    hover: str
    label: str
    number: int
    x_margin: float = 0.0
    y_span: Span | None = None

    @property
    def has_bars(self) -> bool:
        """Return whether an interval is known."""
        return self.x_margin > 0 or self.y_span is not None


def points_of(
    view: StudyView, axis: CostAxis, records: Iterable[Record], best: Record | None = None
) -> tuple[Point, ...]:
    """Return a point for each trial whose cost and accuracy are known, at the cost that the search used.

    Args:
        view: Study of the trials.
        axis: Cost of the figure.
        records: The trials.
        best: The recommended trial; None if there is none.
    """
    found = (
        _point(view, axis, record, record.costs[axis.cost], record.spreads.get(axis.cost), best)
        for record in records
        if axis.cost in record.costs
    )
    return tuple(point for point in found if point is not None)


def _point(
    view: StudyView, axis: CostAxis, record: Record, cost: float, spread: float | None, best: Record | None
) -> Point | None:
    known = view.interval(record)
    if known is None:
        return None
    span = None if known.low is None or known.high is None else (100 * known.low, 100 * known.high)
    return Point(
        float(cost) / axis.size,
        100 * known.value,
        hover_text(view, record, known, axis, recommended=record is best),
        record.label or str(record.number),
        record.number,
        0.0 if spread is None else NORMAL_95 * spread / axis.size,
        span,
    )


def thinned(
    view: StudyView, axis: CostAxis, records: Iterable[Record], most: int = MOST
) -> tuple[tuple[Record, ...], int]:
    """Return the trials of a large group to draw, and the number of those that are left out.

    Trials with an interval, which are the best ones, are drawn in any case.

    Args:
        view: Study of the trials.
        axis: Cost of the figure.
        records: The trials; those whose cost or accuracy is unknown have no place in the figure.
        most: Number of trials above which some are left out.
    """
    pairs = [(record, view.interval(record)) for record in records if axis.cost in record.costs]
    known = [(record, interval) for record, interval in pairs if interval is not None]
    x, y = [float(record.costs[axis.cost]) for record, _ in known], [interval.value for _, interval in known]
    stressed = [place for place, (_, interval) in enumerate(known) if interval.low is not None]
    drawn = places_to_draw(x, y, stressed, most)
    return tuple(known[place][0] for place in drawn), len(known) - len(drawn)


def not_drawn(count: int) -> str:
    """Return in words how many trials of a figure are not drawn; "" if all are."""
    return f"{count:,} trials that are close to others are not drawn" if count else ""


def measured_points(
    view: StudyView, axis: CostAxis, records: Iterable[Record]
) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Return the trials that were measured after the search, at the predicted and at the measured cost."""
    pairs = []
    for record in records:
        found = view.measurements.get(record.number)
        # A network that was refused when it was measured has an infinite cost.
        if found is None or found.cost != axis.cost or found.measured == float("inf") or axis.cost not in record.costs:
            continue
        predicted = _point(view, axis, record, record.costs[axis.cost], record.spreads.get(axis.cost), None)
        measured = _point(view, axis, record, found.measured, found.spread, None)
        if predicted and measured:
            pairs.append((predicted, measured))
    return tuple(predicted for predicted, _ in pairs), tuple(measured for _, measured in pairs)
