"""Ranges of the axes of a figure of accuracy against cost, and the labels that have room in them."""

from collections.abc import Iterable, Sequence

import attrs

from nas.report.fronts import CostAxis
from nas.report.labels import Place, with_room
from nas.report.trial_points import Point, Span

FRONT_SIDE = "top left"  # No complete trial is there: it would have a lower cost and a higher accuracy.
# The line of the most frequent class is drawn where it widens the accuracy axis by at most this share of its length.
_NEAR = 0.5


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
