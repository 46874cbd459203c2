"""The Pareto front of a study as the figure that is stored in it for optuna-dashboard."""

import json
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from attrs import evolve

if TYPE_CHECKING:
    from nas.studies.records import Record, StudyView

# Most trials of each kind, so that the figure remains below 100 kB however many trials there are.
MOST_ON_FRONT, MOST_COMPLETE, MOST_PRUNED = 150, 400, 150
DRAWN = ("complete", "pruned")
DIGITS = 6
HEADROOM = 0.06


def draw_front(view: "StudyView") -> str:
    """Return the figure of accuracy against cost as JSON of plotly; "" if no trial is complete.

    Of many trials it shows a sample, and says so.

    Args:
        view: The study.
    """
    front = view.front
    if not front:
        return ""
    from nas.report.pareto import draw
    from nas.report.points import pareto

    drawn = sample(view, front)
    every, kept = (sum(record.state in DRAWN for record in each.records) for each in (view, drawn))
    of_them = f", of which a sample of {kept:,} is drawn" if kept < every else ""
    # Which trial is recommended depends on how many there are.
    best = "" if view.best is None else str(view.best.number)
    info = pareto(drawn)
    info = evolve(
        info,
        # The page of a dashboard names the study, and gives the figure half of its width.
        title="Accuracy against cost",
        subtitle=f"{view.counted:,} trials{of_them}",
        # The place is low, so that a label at the highest point needs a larger share of it.
        y_range=(info.y_range[0], info.y_range[1] + HEADROOM * (info.y_range[1] - info.y_range[0])),
        others=tuple(evolve(point, hover=f"trial {point.label}") for point in info.others),
        pruned=tuple(evolve(point, hover=f"trial {point.label}") for point in info.pruned),
        recommended=tuple(point for point in info.recommended if point.label == best),
    )
    whole = json.loads(draw(info).to_json(), parse_float=_rounded)
    whole["layout"] |= {"width": None, "height": None}
    return json.dumps(whole, separators=(",", ":"))


def _rounded(number: str) -> float:
    return float(f"{float(number):.{DIGITS}g}")


def sample(view: "StudyView", front: Sequence["Record"]) -> "StudyView":
    """Return a study with a bounded number of trials: the front, what was measured or re-trained, and some others.

    Args:
        view: The study.
        front: Its front.
    """
    on_front = {record.number for record in front}
    kept = {record.number for record in (*_spread(front, MOST_ON_FRONT - 1), front[-1])}
    kept |= {*view.measurements, *view.confirmed, *({view.best.number} if view.best else ())}
    for state, most in zip(DRAWN, (MOST_COMPLETE, MOST_PRUNED), strict=True):
        others = [each for each in view.records if each.state == state and each.number not in on_front]
        kept |= {record.number for record in _spread(others, most)}
    return evolve(view, records=tuple(record for record in view.records if record.number in kept))


def _spread(records: Sequence["Record"], most: int) -> Sequence["Record"]:
    """Return at most so many trials, at equal distances in their order."""
    return records[:: max(1, ceil(len(records) / most))]
