"""The Pareto front of a study as the figure that is stored in it for optuna-dashboard."""

import json
from math import ceil
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve

if TYPE_CHECKING:
    from nas.report.points import Pareto, Point
    from nas.studies.records import StudyView

# Most points of each kind, so that the figure remains below 100 kB however many trials there are.
MOST_ON_FRONT, MOST_OTHERS, MOST_PRUNED = 150, 500, 150
DIGITS = 6
T = TypeVar("T")


def draw_front(view: "StudyView") -> str:
    """Return the figure of accuracy against cost as JSON of plotly; "" if no trial is complete.

    Of many trials it shows a sample, and says so.

    Args:
        view: The study.
    """
    if not view.front:
        return ""
    from nas.report.pareto import draw
    from nas.report.points import pareto

    # The page of a dashboard names the study, and gives the figure half of its width.
    info = sample(evolve(pareto(view), title="Accuracy against cost", subtitle=f"{view.counted:,} trials"))
    whole = json.loads(draw(info).to_json(), parse_float=_rounded)
    whole["layout"] |= {"width": None, "height": None}
    return json.dumps(whole, separators=(",", ":"))


def _rounded(number: str) -> float:
    return float(f"{float(number):.{DIGITS}g}")


def sample(info: "Pareto") -> "Pareto":
    """Return the data of a figure with a bounded number of points; the subtitle says how many are left out."""
    front = info.front
    if len(front) > MOST_ON_FRONT:
        front = (*_spread(front, MOST_ON_FRONT - 1), front[-1])
    others = tuple(map(_without_hover, _spread(info.others, MOST_OTHERS)))
    pruned = tuple(map(_without_hover, _spread(info.pruned, MOST_PRUNED)))
    kept = len(front) + len(others) + len(pruned)
    every = len(info.front) + len(info.others) + len(info.pruned)
    left_out = f", of which a sample of {kept:,} is drawn" if kept < every else ""
    return evolve(info, front=front, others=others, pruned=pruned, subtitle=f"{info.subtitle}{left_out}")


def _spread(points: tuple[T, ...], most: int) -> tuple[T, ...]:
    """Return at most so many points, at equal distances in the order of the trials."""
    return points[:: max(1, ceil(len(points) / most))]


def _without_hover(point: "Point") -> "Point":
    return evolve(point, hover=f"trial {point.label}")
