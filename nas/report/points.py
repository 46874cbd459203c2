"""Data of the figure of accuracy against cost, computed before anything is drawn."""

from collections.abc import Iterable, Sequence

import attrs
from attrs import frozen

from nas.report.fronts import CostAxis, Hypervolume, drawn_axis, hypervolume
from nas.report.hover import hover_text
from nas.report.labels import Place, with_room
from nas.report.theme import percent
from nas.studies.records import NORMAL_95, Record, StudyView

FRONT_SIDE = "top left"  # No complete trial is there: it would have a lower cost and a higher accuracy.
LONGEST_TITLE = 80  # characters of the name of a study
# The line of the most frequent class is drawn where it widens the accuracy axis by at most this share of its length.
_NEAR = 0.5
Span = tuple[float, float]


@frozen
class Point:
    """Represent one architecture in the figure.

    Attributes:
        x: Cost in units of the axis.
        y: Accuracy in percent, over all seeds with which the network was trained.
        hover: Text that is shown when the mouse is over the point, as HTML.
        label: Text next to the point.
        x_margin: Half of the 95% interval of `x`; 0 for an exact cost, and where it is unknown.
        y_span: 95% interval of `y`; None where it is unknown.
    """

    x: float
    y: float
    hover: str
    label: str
    x_margin: float = 0.0
    y_span: Span | None = None

    @property
    def has_bars(self) -> bool:
        """Return whether an interval is known."""
        return self.x_margin > 0 or self.y_span is not None


@frozen
class Pareto:
    """Hold the data of the figure.

    Attributes:
        title: Name of the study, shortened if it is too long.
        subtitle: Search space, objective, targets, number of trials, and what is not drawn.
        axis: Cost of the figure.
        y_title: Title of the accuracy axis, with its unit.
        x_range: Smallest and largest value of the cost axis.
        y_range: Smallest and largest value of the accuracy axis.
        others: Complete trials that are not on the Pareto front.
        front: Pareto front by rising cost; a label is empty if there is no space for it.
        pruned: Trials that were stopped early.
        baseline: A known network that was evaluated in the same way; empty if there is none.
        recommended: The trial that `nas search` recommends; empty if it recommends none.
        measured: Trials whose cost was measured on the device after the search, at the measured cost.
        predicted: The same trials, in the same order, at the cost that the search used.
        volume: Hypervolume of the front.
        chance: Accuracy in percent of always giving the most frequent class, if it is near the other accuracies.
    """

    title: str
    subtitle: str
    axis: CostAxis
    y_title: str
    x_range: Span
    y_range: Span
    others: tuple[Point, ...]
    front: tuple[Point, ...]
    pruned: tuple[Point, ...]
    baseline: tuple[Point, ...]
    recommended: tuple[Point, ...]
    measured: tuple[Point, ...]
    predicted: tuple[Point, ...]
    volume: Hypervolume
    chance: float | None

    @property
    def example(self) -> tuple[Point, ...]:
        """Return one trial, whose bar shows the error of all predicted costs: the recommended one if there is one."""
        return self.recommended or self.front[-1:]

    @property
    def limit(self) -> float | None:
        """Return the target of the drawn cost, in units of the axis; None if the study has none."""
        return None if self.axis.limit is None else self.axis.limit / self.axis.size

    @property
    def low(self) -> float | None:
        """Return the lower bound of the cost range, in units of the axis; None if there is none."""
        return None if self.axis.low is None else self.axis.low / self.axis.size


def pareto(view: StudyView, x: str = "") -> Pareto:
    """Return the data of a study's figure.

    Args:
        view: The study.
        x: Cost of the horizontal axis; see `nas.report.fronts.cost_axis`.

    Raises:
        StudyError: No trial of the study is complete, or the study does not have this cost.

    Example:
        >>> settings = {
        ...     "limits": [{"cost": "macs", "high": 400e6}], "targets": ["flops=400M"], "band": 0.9,
        ...     "objective": "soft", "space": "mnasnet", "epochs": 1, "proxy": {"evaluator": "train"},
        ... }
        >>> trial = Record(0, "complete", "net", {"macs": 381_000_000}, accuracy=0.62)
        >>> info = pareto(StudyView("demo", settings, (trial,)))
        >>> [(point.x, point.y) for point in info.front], info.limit, info.low
        ([(381.0, 62.0)], 400.0, 360.0)
    """
    axis = drawn_axis(view, x)
    chosen, records, best = view.front_by(axis.cost), view.complete, view.best
    numbers = {record.number for record in chosen}
    others = points_of(view, axis, (record for record in records if record.number not in numbers), best)
    front, recommended = (points_of(view, axis, each, best) for each in (chosen, [best] if best else []))
    pruned = points_of(view, axis, (record for record in view.records if record.state == "pruned"))
    baseline = points_of(view, axis, [view.baseline] if view.baseline else [])
    predicted, measured = measured_points(view, axis, records)
    volume = hypervolume(view, axis, chosen)
    x_range = x_range_of((*others, *front, *pruned, *baseline), (*(recommended or front[-1:]), *measured), axis)
    y_range = y_range_of((*others, *front, *baseline), pruned)
    chance = None if view.split is None else 100 * view.split.chance
    is_near, y_range = with_chance(y_range, chance)
    front = label_front(front, x_range, y_range)
    return Pareto(
        title=short_title(view.name),
        subtitle="  ·  ".join(
            [
                *_subtitle(view, axis, volume),
                *([] if is_near or chance is None else [chance_text(chance)]),
                *(
                    ["bars: 95% intervals"]
                    if any(each.has_bars for each in (*front, *others, *baseline, *measured))
                    else []
                ),
            ]
        ),
        axis=axis,
        y_title=accuracy_title(view),
        x_range=x_range,
        y_range=y_range,
        others=others,
        front=front,
        pruned=pruned,
        baseline=baseline,
        recommended=recommended,
        measured=measured,
        predicted=predicted,
        volume=volume,
        chance=chance if is_near else None,
    )


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
        0.0 if spread is None else NORMAL_95 * spread / axis.size,
        span,
    )


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


def short_title(name: str) -> str:
    """Return the name of a study, shortened if it is too long for a title."""
    return name if len(name) <= LONGEST_TITLE else f"{name[: LONGEST_TITLE - 1]}…"


def x_range_of(points: Iterable[Point], with_bars: Iterable[Point], *axes: CostAxis) -> Span:
    """Return the range of the cost axis: it contains all points, the bars that are drawn, target and cost range."""
    bars = [point.x + side * point.x_margin for point in with_bars for side in (-1, 1)]
    bounds = [bound / axis.size for axis in axes for bound in (axis.limit, axis.low) if bound is not None]
    known = [*(point.x for point in points), *bars, *bounds]
    margin = 0.04 * (max(known) - min(known)) or 0.04 * max(known) or 1.0
    return min(known) - margin, max(known) + margin


def y_range_of(shown: Iterable[Point], pruned: Iterable[Point] = ()) -> Span:
    """Return the range of the accuracy axis.

    It contains all points except pruned trials that are so far below the others that the others would be drawn too
    close together.
    """
    heights = [height for point in shown for height in (point.y, *(point.y_span or ()))]
    lowest, highest = min(heights), max(heights)
    spread = max(highest - lowest, 1.0)
    stopped = [point.y for point in pruned]
    lowest = min([lowest, *(accuracy for accuracy in stopped if accuracy >= lowest - spread)])
    highest = max([highest, *stopped])
    margin = max(0.08 * (highest - lowest), 0.5)
    return lowest - margin, highest + margin


def with_chance(y_range: Span, chance: float | None) -> tuple[bool, Span]:
    """Return whether the accuracy of the most frequent class alone is near others, and the range that then has it.

    Args:
        y_range: Range of the accuracy axis.
        chance: Accuracy, in percent, of a network that always gives the most frequent class; None where it is unknown.
    """
    length = y_range[1] - y_range[0]
    if chance is None or chance <= y_range[0] - _NEAR * length:
        return False, y_range
    return True, (min(y_range[0], chance - 0.04 * length), max(y_range[1], chance + 0.04 * length))


def chance_text(chance: float) -> str:
    """Return the accuracy, in percent, of the most frequent class alone in words, for a figure that lacks its line."""
    return f"always giving the most frequent class: {chance:.1f}%"


def _share(value: float, span: Span) -> float:
    return (value - span[0]) / (span[1] - span[0])


def places(points: Iterable[Point], x_range: Span, y_range: Span) -> list[Place]:
    """Return the positions of points as shares of the plot's width and height."""
    return [(_share(point.x, x_range), _share(point.y, y_range)) for point in points]


def label_front(front: Sequence[Point], x_range: Span, y_range: Span) -> tuple[Point, ...]:
    """Return the points of a front without the labels that would cover others."""
    labels = with_room([point.label for point in front], places(front, x_range, y_range), FRONT_SIDE)
    return tuple(attrs.evolve(point, label=label) for point, label in zip(front, labels, strict=True))


def accuracy_title(view: StudyView) -> str:
    """Return the title of the accuracy axis; only training has a number of epochs."""
    evaluator = view.settings["proxy"].get("evaluator")
    if evaluator == "zero-cost":
        return "Zero-cost score (%)"
    return f"Accuracy{' after ' + _count(view.settings['epochs'], 'epoch') if evaluator == 'train' else ''} (%)"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _subtitle(view: StudyView, axis: CostAxis, volume: Hypervolume) -> list[str]:
    pruned = sum(record.state == "pruned" for record in view.records)
    return [
        f"space {view.settings['space']}",
        f"{view.settings['objective']} objective",
        " and ".join(map(str, view.settings["targets"])),
        f"{_count(view.counted, 'trial')}: {len(view.complete):,} complete{f', {pruned:,} pruned' if pruned else ''}",
        *(["no network is recommended"] if view.best is None else []),
        volume_text(volume, axis),
    ]


def reference_text(volume: Hypervolume, axis: CostAxis) -> str:
    """Return the reference point of a hypervolume in words."""
    return f"the reference point {axis.amount(volume.cost)} and {percent(volume.accuracy, 1)}"


def volume_text(volume: Hypervolume, axis: CostAxis) -> str:
    """Return a hypervolume in words, with its reference point."""
    span = (
        "" if volume.low is None or volume.high is None else f" ({percent(volume.low, 1)} to {percent(volume.high, 1)})"
    )
    return f"hypervolume {percent(volume.value, 1)}{span} to {reference_text(volume, axis)}"
