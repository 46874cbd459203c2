"""What the figure of accuracy against cost shows, computed before anything is drawn."""

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

FRONT_SIDE = "top left"  # No complete trial lies there, or the point were not on the front.
HOVER_COSTS = (
    ("macs", "MACs"),
    ("params", "params"),
    ("peak_bytes", "bytes"),
    ("size_bytes", "bytes"),
    ("latency_ms", "ms"),
)
USUAL_COSTS = ("macs", "params", "peak_bytes")  # of every study; others only where they were asked for
LONGEST_TITLE = 80  # More characters than these would run out of the figure.
Span = tuple[float, float]
Row = Mapping[Hashable, Any]


@frozen
class Axis:
    """How a cost is drawn: its axis title, and how many of its units make one of the axis."""

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
    """One architecture in the figure.

    Attributes:
        x: cost in the axis's units.
        y: accuracy in percent.
        hover: what is said about it, as HTML.
        label: what is printed beside it.
    """

    x: float
    y: float
    hover: str
    label: str


@frozen
class Pareto:
    """What the figure shows.

    Attributes:
        title: the study's name, cut where it is too long.
        subtitle: what was searched, and how far.
        x_title: cost and unit.
        y_title: accuracy and unit.
        x_range: from left to right.
        y_range: from bottom to top.
        others: complete trials off the front.
        front: by rising cost; a label is empty where there is no room for it.
        pruned: trials that were stopped early.
        baseline: a known network under the same proxy, or none.
        baseline_side: where its label has room.
        limit: the first target, in the axis's units.
        limit_label: the target as the user wrote it.
        low: where the band begins, None where there is none.
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
    """The cost that is drawn.

    Attributes:
        cost: its column.
        title: of the axis.
        size: how many of its units make one of the axis.
        limit: the target, in the axis's units.
    """

    cost: str
    title: str
    size: float
    limit: float

    def points(self, rows: pd.DataFrame) -> tuple[Point, ...]:
        """The rows whose cost and accuracy are known."""
        known = rows[rows["accuracy"].notna() & rows[self.cost].notna()]
        return tuple(map(self._point, known.to_dict("records")))

    def _point(self, row: Row) -> Point:
        label = str(row["trial"] if pd.isna(row["label"]) else row["label"])
        return Point(float(row[self.cost]) / self.size, 100 * float(row["accuracy"]), _hover(row), label)


def pareto(view: StudyView) -> Pareto:
    """What there is to show of a study.

    Raises:
        StudyError: none of its trials is complete.
    """
    if not view.front:
        raise StudyError(
            f"study {view.name} has no complete trial to show, of {len(view.records)} begun",
            "give its `nas search` command again, which goes on with it, until a trial is complete",
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
        front=_labelled(front, _places(front, x_range, y_range)),
        pruned=pruned,
        baseline=baseline,
        baseline_side=_side(baseline, _places(baseline, x_range, y_range), places, _share(scale.limit, x_range)),
        limit=scale.limit,
        limit_label=str(view.settings["targets"][0]),
        low=low,
    )


def _scale(view: StudyView) -> _Scale:
    axis = AXES.get(view.cost_name)
    if axis is None:
        raise StudyError(f"study {view.name} limits {view.cost_name!r}, which is no known cost", "draw another study")
    _, _, precision = str(view.settings["targets"][0]).partition(" at ")
    title = re.sub("memory|Weights", rf"\g<0> at {precision}", axis.title) if precision else axis.title
    return _Scale(view.cost_name, title, axis.size, float(view.settings["limits"][0]["high"]) / axis.size)


def _x_range(costs: Sequence[float], limit: float, low: float | None) -> Span:
    known = [*costs, limit] if low is None else [*costs, limit, low]
    margin = 0.04 * (max(known) - min(known)) or 0.04 * limit
    return min(known) - margin, max(known) + margin


def _y_range(accuracies: Sequence[float], pruned: Sequence[float]) -> Span:
    """Wide enough for all but pruned trials so far below that they would press the others together."""
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


def _labelled(front: Sequence[Point], places: Sequence[Place]) -> tuple[Point, ...]:
    labels = with_room([point.label for point in front], places, FRONT_SIDE)
    return tuple(attrs.evolve(point, label=label) for point, label in zip(front, labels, strict=True))


def _side(baseline: Sequence[Point], at: Sequence[Place], others: Sequence[Place], line_x: float) -> str:
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
    """Only a training has epochs to speak of."""
    trained = view.settings["proxy"].get("evaluator") == "train"
    after = f" after {_count(view.settings['epochs'], 'epoch')}" if trained else ""
    return f"{view.accuracy_label.capitalize()}{after} (%)"


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
