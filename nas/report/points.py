"""Data of the figure of accuracy against cost, computed before anything is drawn."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import attrs
import pandas as pd
from attrs import frozen

from nas.errors import StudyError
from nas.objective import PARETO
from nas.report.frame import BASELINE_STATE, LATENCY, front_rows, own_columns, trial_frame
from nas.report.hover import Columns, Row, hover_text, spread_column
from nas.report.labels import Place, best_side, with_room
from nas.studies.records import NORMAL_95, StudyView

FRONT_SIDE = "top left"  # No complete trial is there: it would have a lower cost and a higher accuracy.
LONGEST_TITLE = 80  # A title with more characters would not fit into the figure.
Span = tuple[float, float]


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
        subtitle: Search space, objective, targets and number of trials.
        x_title: Title of the cost axis, with its unit.
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
    recommended: tuple[Point, ...]
    measured: tuple[Point, ...]
    predicted: tuple[Point, ...]
    baseline_side: str
    limit: float
    limit_label: str
    low: float | None

    @property
    def example(self) -> tuple[Point, ...]:
        """Return one trial, whose bar shows the error of all predicted costs: the recommended one if there is one."""
        return self.recommended or self.front[-1:]


@frozen
class _Scale:
    """Describe the cost that is drawn.

    Attributes:
        cost: Column of the cost in the data frame.
        title: Title of the axis, with its unit.
        size: Number of units of the cost that make one unit of the axis.
        limit: First target, in units of the axis.
        measured: Column of the cost that was measured after the search; "" for a cost that is not measured.
        own: Columns of costs of the user's own, with their units.
    """

    cost: str
    title: str
    size: float
    limit: float
    measured: str = ""
    own: Columns = ()

    def points(self, rows: pd.DataFrame, column: str = "") -> tuple[Point, ...]:
        """Return a point for each row whose cost and accuracy are known.

        Args:
            rows: Rows of the data frame.
            column: Column of the cost; "" for the one that the search used.
        """
        column = column or self.cost
        known = rows[rows["accuracy"].notna() & rows[column].notna()]
        return tuple(self._point(row, column) for row in known.to_dict("records"))

    def _point(self, row: Row, column: str) -> Point:
        label = str(row["trial"] if pd.isna(row["label"]) else row["label"])
        spread = row.get(spread_column(column))
        margin = 0.0 if spread is None or pd.isna(spread) else NORMAL_95 * float(spread) / self.size
        low, high = row["accuracy_low"], row["accuracy_high"]
        span = None if pd.isna(low) or pd.isna(high) else (100 * float(low), 100 * float(high))
        return Point(
            float(row[column]) / self.size,
            100 * float(row["accuracy_mean"]),
            hover_text(row, self.own),
            label,
            margin,
            span,
        )


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
    front, recommended = scale.points(front_rows(frame)), scale.points(frame[frame["recommended"]])
    # A network that was refused when it was measured has an infinite cost.
    compared = frame[frame[scale.measured].lt(math.inf).fillna(False)] if scale.measured else frame.head(0)
    measured, predicted = scale.points(compared, scale.measured), scale.points(compared)
    low = None if view.settings["objective"] == PARETO else float(view.settings["band"]) * scale.limit
    ends = [point.x + side * point.x_margin for point in (*(recommended or front[-1:]), *measured) for side in (-1, 1)]
    x_range = _x_range([*ends, *(point.x for point in (*others, *front, *pruned, *baseline))], scale.limit, low)
    shown = (*others, *front, *baseline)
    heights = [height for point in shown for height in (point.y, *(point.y_span or ()))]
    y_range = _y_range(heights, [point.y for point in pruned])
    places = _places((*others, *front, *pruned), x_range, y_range)
    return Pareto(
        title=view.name if len(view.name) <= LONGEST_TITLE else f"{view.name[: LONGEST_TITLE - 1]}…",
        subtitle=_subtitle(view, has_bars=any(point.has_bars for point in (*shown, *measured))),
        x_title=scale.title,
        y_title=_y_title(view),
        x_range=x_range,
        y_range=y_range,
        others=others,
        front=_label_front(front, _places(front, x_range, y_range)),
        pruned=pruned,
        baseline=baseline,
        recommended=recommended,
        measured=measured,
        predicted=predicted,
        baseline_side=_label_side(baseline, _places(baseline, x_range, y_range), places, _share(scale.limit, x_range)),
        limit=scale.limit,
        limit_label=str(view.settings["targets"][0]),
        low=low,
    )


def _scale(view: StudyView) -> _Scale:
    name, own = view.cost_name, {str(limit["cost"]): str(limit["unit"]) for limit in view.own_limits}
    columns = [(column, unit) for cost, unit in own.items() for column in own_columns(cost)[::2]]
    high = float(view.settings["limits"][0]["high"])
    if name in own:
        return _Scale(name, _own_title(name, own[name]), 1.0, high, own_columns(name)[2], columns)
    axis = AXES.get(name)
    if axis is None:
        raise StudyError(
            f"study {view.name} limits {view.cost_name!r}, which is not a known cost; the known costs are "
            f"{', '.join(AXES)}",
            "draw another study",
        )
    _, _, precision = str(view.settings["targets"][0]).partition(" at ")
    title = re.sub("memory|Weights", rf"\g<0> at {precision}", axis.title) if precision else axis.title
    return _Scale(name, title, axis.size, high / axis.size, "measured_ms" if name == LATENCY else "", columns)


def _own_title(name: str, unit: str) -> str:
    """Return the title of the axis of a cost of the user's own."""
    words = name.replace("_", " ").capitalize()
    return f"{words} ({unit})" if unit else words


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


def _y_title(view: StudyView) -> str:
    """Return the title of the accuracy axis; only training has a number of epochs."""
    evaluator = view.settings["proxy"].get("evaluator")
    if evaluator == "zero-cost":
        return "Zero-cost score (%)"
    return f"Accuracy{' after ' + _count(view.settings['epochs'], 'epoch') if evaluator == 'train' else ''} (%)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _subtitle(view: StudyView, *, has_bars: bool) -> str:
    pruned = sum(record.state == "pruned" for record in view.records)
    parts = [
        f"space {view.settings['space']}",
        f"{view.settings['objective']} objective",
        " and ".join(map(str, view.settings["targets"])),
        f"{_count(view.counted, 'trial')}: {len(view.complete)} complete{f', {pruned} pruned' if pruned else ''}",
        *(["no network is recommended"] if view.best is None else []),
        *(["bars: 95% intervals"] if has_bars else []),
    ]
    return "  ·  ".join(parts)
