"""The figure of accuracy against cost in a report page, whose points can be selected."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from nas.errors import StudyError
from nas.report.fronts import CostAxis
from nas.report.page.words import plural
from nas.report.pareto import draw
from nas.report.points import Pareto, Point, pareto
from nas.report.section import Figure, Section, missing
from nas.report.theme import percent
from nas.studies.records import StudyView

TITLE = "Accuracy against cost"
ID = "front"
# Points of larger groups have short texts, and those that would cover each other are drawn once.
MANY = 500
# Columns and rows of cells of which at most one point is drawn; a point is some 6 of 1,000 pixels wide.
CELLS = (400, 250)


def front_section(view: StudyView) -> Section:
    """Return the section of the front with the recommended network, the baseline and the target."""
    try:
        info = pareto(view)
    except StudyError as error:
        return missing(TITLE, f"There is no figure yet: {error.problem}.", ())
    figure = draw(info)
    hidden = make_selectable(figure, info, [record.number for record in view.front_by(info.axis.cost)])
    text = " ".join(filter(None, _sentences(view, info, hidden)))
    return Section(TITLE, text, (Figure(ID, _alt(view, info), figure, height_px=560),))


def make_selectable(figure: go.Figure, info: Pareto, front: Sequence[int]) -> int:
    """Give each point the number of its trial, and large groups of points short texts; return how many are left out.

    Args:
        figure: Figure that `nas.report.pareto.draw` has drawn.
        info: Data of the figure.
        front: Numbers of the trials of the front, in the order of its points.
    """
    numbers = dict(_numbers(info, front))
    hidden = 0
    for trace in figure.data:
        texts = trace.hovertext
        if texts is None or isinstance(texts, str) or not all(text in numbers for text in texts):
            continue
        trace.customdata = [numbers[text] for text in texts]
        if len(texts) > MANY:
            hidden += _thin(trace, info)
    return hidden


def _numbers(info: Pareto, front: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield the text of each point with the number of its trial; -1 is the baseline."""
    for group in (info.others, info.pruned, info.recommended, info.measured, info.predicted):
        yield from ((point.hover, int(point.label)) for point in group if point.label.isdecimal())
    yield from ((point.hover, number) for point, number in zip(info.front, front, strict=True))
    yield from ((point.hover, -1) for point in info.baseline)


def _thin(trace: go.Scatter, info: Pareto) -> int:
    """Keep one point of each cell, the one with the lowest number, and replace the texts by a template."""
    kept: dict[tuple[int, int], int] = {}
    for place, (x, y) in enumerate(zip(trace.x, trace.y, strict=True)):
        kept.setdefault((_cell(x, info.x_range, CELLS[0]), _cell(y, info.y_range, CELLS[1])), place)
    places, whole = sorted(kept.values()), len(trace.x)
    for name in ("x", "y", "customdata"):
        values = getattr(trace, name)
        setattr(trace, name, [values[place] for place in places])
    trace.update(hovertext=None, hoverinfo=None)
    trace.hovertemplate = f"trial %{{customdata}}: %{{y:.2f}}%<br>%{{x:.4g}} {_unit(info.axis)}<extra></extra>"
    return whole - len(places)


def _cell(value: float, span: Sequence[float], count: int) -> int:
    return int((value - span[0]) / (span[1] - span[0]) * count)


def _unit(axis: CostAxis) -> str:
    return axis.title.rpartition("(")[2].rstrip(")").replace("<", "&lt;").replace("%", "")


def _sentences(view: StudyView, info: Pareto, hidden: int) -> Iterator[str]:
    best = view.best
    yield (
        f"The Pareto front has {plural(len(info.front), 'network')}, which none of "
        f"{plural(len(view.complete), 'complete trial')} beats in both {view.accuracy_label} and cost."
    )
    if best is not None and best not in view.front:
        yield (
            f"The recommended network, trial {best.number}, is not on it: the front follows the {view.accuracy_label} "
            f"of each trial, and the recommendation the {'expected ' if view.expected else ''}score."
        )
    if any(point.y_span for point in (*info.front, *info.others)):
        yield "Bars are 95% intervals; networks whose bars overlap may differ by noise only."
    if hidden:
        yield f"{plural(hidden, 'point')} that others would cover are not drawn."
    yield "Select a point, or a row of the table below, to see a network and the commands for it."


def _alt(view: StudyView, info: Pareto) -> str:
    def words(points: Sequence[Point]) -> str:
        return "; ".join(
            f"{percent(point.y / 100)} at {info.axis.amount(point.x * info.axis.size)}" for point in points
        )

    parts = [f"Accuracy against cost of {plural(len(view.complete), 'complete trial')}."]
    if len(info.front) > 1:
        parts.append(f"The Pareto front goes from {words(info.front[:1])} to {words(info.front[-1:])}.")
    elif info.front:
        parts.append(f"The only network of the Pareto front has {words(info.front)}.")
    parts += [f"The recommended network has {words(info.recommended)}."] if info.recommended else []
    parts += [f"The baseline has {words(info.baseline)}."] if info.baseline else []
    parts += [f"The target is {info.axis.amount(info.axis.limit)}."] if info.axis.limit is not None else []
    return " ".join((*parts, "The table below holds the same networks."))
