"""Drawing of the figure of several studies: each has a color, a symbol and a dash of its own."""

from collections.abc import Sequence
from html import escape

import attrs
import plotly.graph_objects as go

from nas.report.labels import with_room
from nas.report.overlay import Overlay, Series
from nas.report.pareto import chance_line, cost_bars, differences, draw_target, measured_style, point_trace
from nas.report.points import short_title
from nas.report.ranges import FRONT_SIDE, chance_text, places, with_chance, x_range_of, y_range_of
from nas.report.theme import BAR, DASHES, GRAY, INK, PAPER, SERIES, axis, layout, marks, percent
from nas.report.trial_points import Point, Span, not_drawn


def overlay_figure(info: Overlay) -> go.Figure:
    """Return a figure of several studies; a study has a color, a symbol and a dash of its own."""
    fronts = [point for each in info.series for point in each.front]
    shown = [point for each in info.series for point in (*each.others, *each.front)]
    bars = [point for each in info.series for point in (*each.recommended, *each.measured)]
    x_range, y_range = x_range_of(shown, bars, *(each.axis for each in info.series)), y_range_of(shown)
    is_near, y_range = with_chance(y_range, info.chance)
    labels = iter(with_room([point.label for point in fronts], places(fronts, x_range, y_range), FRONT_SIDE))
    figure = go.Figure()
    for number, each in enumerate(info.series):
        kept = tuple(attrs.evolve(point, label=next(labels)) for point in each.front)
        figure.add_traces(_study_traces(attrs.evolve(each, front=kept), number))
    if info.merged_points:
        figure.add_trace(_merged_trace(info.merged_points))
    if is_near:
        figure.add_traces(chance_line(info.chance, x_range))
    first, limits = info.series[0].axis, {each.axis.limit for each in info.series}
    if len(limits) > 1:
        figure.add_traces(_target_traces(info.series, y_range))
    elif first.limit is not None:
        draw_target(figure, first.limit / first.size, f"target {first.amount(first.limit)}", x_range)
    figure.update_layout(
        layout(
            ", ".join(short_title(each.name) for each in info.series), _subtitle(info, has_line=is_near), legend_rows=2
        ),
        xaxis=axis(first.title, span=x_range),
        yaxis=axis(info.y_title, span=y_range),
    )
    return figure


def _study_traces(each: Series, number: int) -> list[go.Scatter]:
    color, symbol = marks(number)
    name = escape(short_title(each.name))
    line = {"color": color, "width": 2, "shape": "hv", "dash": DASHES[number % len(DASHES)]}
    outlined = {"symbol": symbol, "color": color, "line": {"color": PAPER, "width": 1}}
    kinds = (
        (each.others, {"mode": "markers", "marker": {**outlined, "size": 5, "opacity": 0.35}, "showlegend": False}),
        (
            each.front,
            {
                "name": f"{name}: front",
                "mode": "lines+markers+text",
                "line": line,
                "marker": {**outlined, "size": 10},
                "textposition": FRONT_SIDE,
                "textfont": {"color": color if color in SERIES[:4] else INK, "size": 12},
            },
        ),
        (each.measured, {**measured_style(), "showlegend": number == 0, "legendgroup": "measured"}),
        (
            each.recommended,
            {
                "name": f"{name}: recommended",
                "mode": "markers",
                "marker": {"symbol": "star", "size": 17, "color": color, "line": {"color": INK, "width": 1.2}},
            },
        ),
    )
    drawn = [point_trace(points, style) for points, style in kinds if points]
    return [
        *_front_bars(each.front, color),
        *cost_bars((*(each.recommended or each.front[-1:]), *each.measured), color),
        *differences(each.predicted, each.measured),
        *drawn,
    ]


def _front_bars(points: Sequence[Point], color: str) -> list[go.Scatter]:
    known = [(point, *point.y_span) for point in points if point.y_span]
    if not known:
        return []
    above, below = [high - point.y for point, _, high in known], [point.y - low for point, low, _ in known]
    bars = {**BAR, "color": color, "symmetric": False, "array": above, "arrayminus": below}
    x, y = [point.x for point, *_ in known], [point.y for point, *_ in known]
    invisible = {"mode": "markers", "marker": {"opacity": 0}, "hoverinfo": "skip", "showlegend": False}
    return [go.Scatter(x=x, y=y, error_y=bars, **invisible)]


def _merged_trace(points: Sequence[Point]) -> go.Scatter:
    return go.Scatter(
        x=[point.x for point in points],
        y=[point.y for point in points],
        mode="lines",
        name="front of all studies",
        line={"color": GRAY, "width": 6, "shape": "hv"},
        opacity=0.35,
        hoverinfo="skip",
    )


def _target_traces(series: Sequence[Series], y_range: Span) -> list[go.Scatter]:
    """Return the target of each study as a line with an entry in the legend, because labels could cover each other."""
    return [
        go.Scatter(
            x=[each.axis.limit / each.axis.size] * 2,
            y=list(y_range),
            mode="lines",
            line={"color": marks(number)[0], "width": 1.5, "dash": "dash"},
            name=f"{escape(short_title(each.name))}: target {escape(each.axis.amount(each.axis.limit))}",
            hoverinfo="name",
        )
        for number, each in enumerate(series)
        if each.axis.limit is not None
    ]


def _subtitle(info: Overlay, *, has_line: bool) -> str:
    volumes = ", ".join(f"{short_title(each.name)} {percent(each.volume.value, 1)}" for each in info.series)
    own = "" if info.has_one_reference else ", each to a reference point of its own"
    parts = [f"hypervolumes{own}: {volumes}"]
    if info.volume is not None:
        to = "" if info.has_one_reference else f" to {info.reference}"
        parts.append(f"of all studies {percent(info.volume, 1)}{to}")
    if info.chance is not None and not has_line:
        parts.append(chance_text(info.chance))
    if any(point.has_bars for each in info.series for point in (*each.front, *each.measured)):
        parts.append("bars: 95% intervals")
    if hidden := sum(each.hidden for each in info.series):
        parts.append(not_drawn(hidden))
    return "  ·  ".join((*parts, *info.differences))
