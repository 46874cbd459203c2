"""Cost axes, Pareto fronts and their hypervolume, computed from the records of a study."""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from attrs import frozen

from nas.cost.base import format_amount
from nas.errors import StudyError
from nas.objective import PARETO
from nas.studies.records import Record, StudyView

# Names of `nas pareto --x`, and the costs in `Record.costs`.
X_COSTS: Mapping[str, str] = MappingProxyType(
    {"latency": "latency_ms", "macs": "macs", "params": "params", "memory": "peak_bytes", "size": "size_bytes"}
)
# Title of the axis of each cost, the number of units of the cost in one unit of the axis, and the unit of the cost.
AXES: Mapping[str, tuple[str, float, str]] = MappingProxyType(
    {
        "macs": ("Multiply-adds per image (millions)", 1e6, "MACs"),
        "params": ("Parameters (millions)", 1e6, "params"),
        "peak_bytes": ("Peak activation memory per image (MB)", 1e6, "bytes"),
        "size_bytes": ("Weights (MB)", 1e6, "bytes"),
        "latency_ms": ("Latency (ms)", 1.0, "ms"),
    }
)


@frozen
class CostAxis:
    """Describe the cost that a figure draws, and what the search allowed for it.

    Attributes:
        cost: Name of the cost in `Record.costs`.
        title: Title of the axis, with its unit.
        size: Number of units of the cost that make one unit of the axis.
        unit: Unit of the cost.
        limit: Largest cost that a target of the study allows; None if no target limits this cost.
        low: Lower bound of the cost range of the search; None if it has none for this cost.
    """

    cost: str
    title: str
    size: float
    unit: str
    limit: float | None = None
    low: float | None = None

    def amount(self, value: float) -> str:
        """Return a cost as text for people."""
        return format_amount(value, self.unit)


@frozen
class Hypervolume:
    """Hold the hypervolume of a front: the share of the area of cost and accuracy that its networks dominate.

    The whole area is between a network without cost that classifies all images correctly, and the reference point.

    Attributes:
        value: Share of the area, from 0 to 1.
        low: Share for the lower ends of the 95% intervals of the accuracies; None where an interval is unknown.
        high: Share for the upper ends; None where an interval is unknown.
        cost: Cost of the reference point: the target, or the largest cost of a complete trial where there is none.
        accuracy: Accuracy of the reference point: that of always giving the most frequent class; 0 where unknown.
    """

    value: float
    low: float | None
    high: float | None
    cost: float
    accuracy: float


def cost_axis(view: StudyView, x: str = "") -> CostAxis:
    """Return the axis of a cost.

    Args:
        view: The study.
        x: A name of `X_COSTS`, or a cost of the user's own; "" takes the cost that the first target limits.

    Raises:
        StudyError: The study does not have this cost.
    """
    cost = X_COSTS.get(x, x) or view.cost_name
    number = next((i for i, limit in enumerate(view.settings["limits"]) if limit["cost"] == cost), None)
    own = {str(limit["cost"]): str(limit["unit"]) for limit in view.own_limits}
    if cost in own:
        title, size, unit = _own_title(cost, own[cost]), 1.0, own[cost]
    elif cost in AXES:
        title, size, unit = AXES[cost]
    else:
        known = [*X_COSTS, *own]
        what = f"{cost!r}, which is not a known cost" if x else f"a limit of {cost!r}, which is not a known cost"
        raise StudyError(
            f"study {view.name} is to be drawn by {what}; the known costs are {', '.join(known)}",
            "choose one of them with --x",
        )
    if number is None:
        return CostAxis(cost, title, size, unit)
    limit = view.settings["limits"][number]
    _, _, precision = str(view.settings["targets"][number]).partition(" at ")
    if precision:
        title = re.sub("memory|Weights", rf"\g<0> at {precision}", title)
    has_range = number == 0 and view.settings["objective"] != PARETO
    high = float(limit["high"])
    return CostAxis(cost, title, size, unit, high, float(view.settings["band"]) * high if has_range else None)


def _own_title(name: str, unit: str) -> str:
    """Return the title of the axis of a cost of the user's own."""
    words = name.replace("_", " ").capitalize()
    return f"{words} ({unit})" if unit else words


def check_cost_is_known(view: StudyView, axis: CostAxis) -> None:
    """Check that a complete trial has the cost of an axis.

    Raises:
        StudyError: None of the complete trials has it, or no trial is complete.
    """
    if not view.complete:
        raise StudyError(
            f"study {view.name} has no complete trial out of {len(view.records)}; a figure needs at least one",
            "give the study's `nas search` command again, which continues the search, until a trial is complete",
        )
    if not any(axis.cost in record.costs for record in view.complete):
        stored = {cost for record in view.complete for cost in record.costs}
        known = [name for name, cost in X_COSTS.items() if cost in stored] + sorted(stored - {*X_COSTS.values()})
        raise StudyError(
            f"no complete trial of study {view.name} has the cost {axis.cost}; its trials have {', '.join(known)}",
            "choose one of these with --x",
        )


def hypervolume(view: StudyView, axis: CostAxis, front: Sequence[Record]) -> Hypervolume:
    """Return the hypervolume of a front of `StudyView.front_by`.

    Args:
        view: The study.
        axis: Cost of the front.
        front: Trials of the front, by rising cost.
    """
    costs = [record.costs[axis.cost] for record in view.complete if axis.cost in record.costs]
    most = axis.limit if axis.limit is not None else float(max(costs, default=0.0))
    least = 0.0 if view.split is None else view.split.chance
    intervals = [(record.costs[axis.cost], interval) for record in front if (interval := view.interval(record))]
    ends = [[(cost, end) for cost, each in intervals if (end := getattr(each, name)) is not None] for name in _ENDS]
    value = dominated_share([(cost, each.value) for cost, each in intervals], most, least)
    if any(len(end) < len(intervals) for end in ends):
        return Hypervolume(value, None, None, most, least)
    low, high = (dominated_share(end, most, least) for end in ends)
    return Hypervolume(value, low, high, most, least)


_ENDS = ("low", "high")


def dominated_share(points: Iterable[tuple[float, float]], most: float, least: float) -> float:
    """Return the share of the area between the reference point and the ideal that points dominate.

    Args:
        points: Cost and accuracy of each network.
        most: Cost of the reference point.
        least: Accuracy of the reference point.

    Example:
        >>> dominated_share([(5.0, 0.5), (2.5, 0.25), (12.0, 0.9)], most=10.0, least=0.0)
        0.3125
    """
    whole = most * (1 - least)
    if whole <= 0:
        return 0.0
    area, height = 0.0, least
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if cost < most and accuracy > height:
            area += (most - cost) * (accuracy - height)
            height = accuracy
    return min(1.0, area / whole)
