"""Data of the figure of accuracy against cost, computed before anything is drawn."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

import attrs
import pandas as pd
from attrs import frozen

from nas.cost.base import format_amount
from nas.errors import StudyError
from nas.objective import PARETO
from nas.report.frame import BASELINE_STATE, front_rows, trial_frame
from nas.report.labels import Place, best_side, with_room
from nas.studies.records import StudyView

FRONT_SIDE = "top left"  # No complete trial is there: it would have a lower cost and a higher accuracy.
HOVER_COSTS = (
    ("macs", "MACs"),
    ("params", "params"),
    ("peak_bytes", "bytes"),
    ("size_bytes", "bytes"),
    ("latency_ms", "ms"),
)
USUAL_COSTS = ("macs", "params", "peak_bytes")  # Every study has these costs, and other costs only if requested.
LONGEST_TITLE = 80  # A title with more characters would not fit into the figure.
Span = tuple[float, float]
Row = Mapping[Hashable, Any]


@frozen
class Axis:
    """Describe the axis of a cost.

    Attributes:
        title: Title of the axis, with its unit.
        size: Number of units of the cost that make one unit of the axis.
    """

    title: str
    size: float


AXES: Mapping[str, Axis] = MappingProxyType(
    {
        "macs": Axis("Multiply-adds per image (millions)", 1e6),
        "params": Axis("Parameters (millions)", 1e6),
        "peak_bytes": Axis("Peak activation memory per image (MB)", 1e6),
        "size_bytes": Axis("Weights (MB)", 1e6),
        "latency_ms": Axis("Latency (ms)", 1.0),
    }
)


@frozen
class Point:
    """Represent one architecture in the figure.

    Attributes:
        x: Cost in units of the axis.
        y: Accuracy in percent.
        hover: Text that is shown when the mouse is over the point, as HTML.
        label: Text next to the point.
    """

    x: float
    y: float
    hover: str
    label: str


@frozen
class Pareto:
    """Hold the data of the figure.

    Attributes:
        title: Name of the study, shortened if it is too long.
        subtitle: Search space, objective, targets and number of trials.
        x_title: Title of the cost axis, with its unit.
        y_title: Title of the accuracy axis, with its unit.
        x_range: Smallest and largest value of the cost axis.
        y_range: Smallest and largest value of the accuracy axis.
        others: Complete trials that are not on the Pareto front.
        front: Pareto front by rising cost; a label is empty if there is no space for it.
        pruned: Trials that were stopped early.
        baseline: A known network that was evaluated in the same way; empty if there is none.
        baseline_side: Side of the baseline's point at which its label covers the fewest points.
        limit: First target, in units of the cost axis.
        limit_label: First target as the user wrote it.
        low: Lower bound of the cost range of the search, in units of the cost axis; None if there is none.
    """

    title: str
    subtitle: str
    x_title: str
    y_title: str
    x_range: Span
    y_range: Span
    others: tuple[Point, ...]
    front: tuple[Point, ...]
    pruned: tuple[Point, ...]
    baseline: tuple[Point, ...]
    baseline_side: str
    limit: float
    limit_label: str
    low: float | None


@frozen
class _Scale:
    """Describe the cost that is drawn.

    Attributes:
        cost: Column of the cost in the data frame.
        title: Title of the axis, with its unit.
        size: Number of units of the cost that make one unit of the axis.
        limit: First target, in units of the axis.
    """

    cost: str
    title: str
    size: float
    limit: float

    def points(self, rows: pd.DataFrame) -> tuple[Point, ...]:
        """Return a point for each row whose cost and accuracy are known."""
        known = rows[rows["accuracy"].notna() & rows[self.cost].notna()]
        return tuple(map(self._point, known.to_dict("records")))

    def _point(self, row: Row) -> Point:
        label = str(row["trial"] if pd.isna(row["label"]) else row["label"])
        return Point(float(row[self.cost]) / self.size, 100 * float(row["accuracy"]), _hover(row), label)


def pareto(view: StudyView) -> Pareto:
    """Return the data of a study's figure.

    Raises:
        StudyError: No trial of the study is complete, or the study limits an unknown cost.

    Example:
        >>> from nas.studies.records import Record
        >>> settings = {
        ...     "targets": ["flops=400M"], "limits": [{"cost": "macs", "high": 400e6}], "band": 0.9, "space": "mnasnet",
        ...     "objective": "soft", "epochs": 3, "proxy": {"evaluator": "train"},
        ... }
        >>> trial = Record(0, "complete", "net", {"macs": 381_000_000}, accuracy=0.62)
        >>> info = pareto(StudyView("demo", settings, (trial,)))
        >>> [(point.x, point.y) for point in info.front], info.limit, info.low
        ([(381.0, 62.0)], 400.0, 360.0)
    """
    if not view.front:
        raise StudyError(
            f"study {view.name} has no complete trial out of {len(view.records)}; a figure needs at least one",
            "give the study's `nas search` command again, which continues the search, until a trial is complete",
        )
    scale, frame = _scale(view), trial_frame(view)
    others, pruned, baseline = (
        scale.points(frame[(frame["state"] == state) & ~frame["front"]])
        for state in ("complete", "pruned", BASELINE_STATE)
    )
    front = scale.points(front_rows(frame))
    low = None if view.settings["objective"] == PARETO else float(view.settings["band"]) * scale.limit
    x_range = _x_range([point.x for point in (*others, *front, *pruned, *baseline)], scale.limit, low)
    y_range = _y_range([point.y for point in (*others, *front, *baseline)], [point.y for point in pruned])
    places = _places((*others, *front, *pruned), x_range, y_range)
    return Pareto(
        title=view.name if len(view.name) <= LONGEST_TITLE else f"{view.name[: LONGEST_TITLE - 1]}…",
        subtitle=_subtitle(view),
        x_title=scale.title,
        y_title=_y_title(view),
        x_range=x_range,
        y_range=y_range,
        others=others,
        front=_label_front(front, _places(front, x_range, y_range)),
        pruned=pruned,
        baseline=baseline,
        baseline_side=_label_side(baseline, _places(baseline, x_range, y_range), places, _share(scale.limit, x_range)),
        limit=scale.limit,
        limit_label=str(view.settings["targets"][0]),
        low=low,
    )


def _scale(view: StudyView) -> _Scale:
    axis = AXES.get(view.cost_name)
    if axis is None:
        raise StudyError(
            f"study {view.name} limits {view.cost_name!r}, which is not a known cost; the known costs are "
            f"{', '.join(AXES)}",
            "draw another study",
        )
    _, _, precision = str(view.settings["targets"][0]).partition(" at ")
    title = re.sub("memory|Weights", rf"\g<0> at {precision}", axis.title) if precision else axis.title
    return _Scale(view.cost_name, title, axis.size, float(view.settings["limits"][0]["high"]) / axis.size)


def _x_range(costs: Sequence[float], limit: float, low: float | None) -> Span:
    known = [*costs, limit] if low is None else [*costs, limit, low]
    margin = 0.04 * (max(known) - min(known)) or 0.04 * limit
    return min(known) - margin, max(known) + margin


def _y_range(accuracies: Sequence[float], pruned: Sequence[float]) -> Span:
    """Return the range of the accuracy axis.

    It contains all points except pruned trials that are so far below the others that the others would be drawn too
    close together.
    """
    lowest, highest = min(accuracies), max(accuracies)
    spread = max(highest - lowest, 1.0)
    lowest = min([lowest, *(accuracy for accuracy in pruned if accuracy >= lowest - spread)])
    highest = max([highest, *pruned])
    margin = max(0.08 * (highest - lowest), 0.5)
    return lowest - margin, highest + margin


def _share(value: float, span: Span) -> float:
    return (value - span[0]) / (span[1] - span[0])


def _places(points: Iterable[Point], x_range: Span, y_range: Span) -> list[Place]:
    return [(_share(point.x, x_range), _share(point.y, y_range)) for point in points]


def _label_front(front: Sequence[Point], places: Sequence[Place]) -> tuple[Point, ...]:
    labels = with_room([point.label for point in front], places, FRONT_SIDE)
    return tuple(attrs.evolve(point, label=label) for point, label in zip(front, labels, strict=True))


def _label_side(baseline: Sequence[Point], at: Sequence[Place], others: Sequence[Place], line_x: float) -> str:
    return best_side(baseline[0].label, at[0], others, line_x) if baseline else "middle right"


def _hover(row: Row) -> str:
    known: dict[Hashable, Any] = {name: None if pd.isna(value) else value for name, value in row.items()}
    name = f"trial {known['trial']}" if known["label"] is None else f"baseline {known['label']}"
    shown = [(column, unit) for column, unit in HOVER_COSTS if column in USUAL_COSTS or known[column] is not None]
    costs = ", ".join(_amount(known[column], unit) for column, unit in shown)
    arch = escape(known["arch"] or "").replace("\n", "<br>")
    return f"<b>{escape(name)}: {100 * known['accuracy']:.2f}%</b><br>{costs}<br><br>{arch}"


def _amount(value: float | None, unit: str) -> str:
    return f"{unit} unknown" if value is None else format_amount(value, unit)


def _y_title(view: StudyView) -> str:
    """Return the title of the accuracy axis; only training has a number of epochs."""
    evaluator = view.settings["proxy"].get("evaluator")
    if evaluator == "zero-cost":
        return "Zero-cost score (%)"
    return f"Accuracy{' after ' + _count(view.settings['epochs'], 'epoch') if evaluator == 'train' else ''} (%)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _subtitle(view: StudyView) -> str:
    pruned = sum(record.state == "pruned" for record in view.records)
    parts = [
        f"space {view.settings['space']}",
        f"{view.settings['objective']} objective",
        " and ".join(map(str, view.settings["targets"])),
        f"{_count(view.counted, 'trial')}: {len(view.complete)} complete{f', {pruned} pruned' if pruned else ''}",
    ]
    return "  ·  ".join(parts)
