"""Figure of accuracy against cost, with the Pareto front of a study."""

from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go

from nas.report.points import FRONT_SIDE, Pareto, Point, pareto
from nas.studies.records import StudyView

WIDTH_PX, HEIGHT_PX = 1000, 640
# Colors of Okabe and Ito, which color-blind readers can distinguish; each kind of point also has a shape of its own.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#007A5A"
GOLD, DARK_GOLD = "#F0C000", "#8A6D00"
BAR: Mapping[str, Any] = MappingProxyType({"type": "data", "thickness": 1.5, "width": 4})
INK, FAINT_INK, GRAY, GRID = "#333333", "#5A5A5A", "#8C8C8C", "#E8E8E8"
MANY_BARS = 30  # Bars of more points would cover the figure.
MANY_POINTS = 150  # Points are drawn smaller if there are more of them.
RANGE_FILL = "rgba(230, 159, 0, 0.09)"
FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
MONOSPACE = "Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace"


def pareto_figure(view: StudyView) -> go.Figure:
    """Return a figure of accuracy against the cost that the first target of the study limits.

    Raises:
        StudyError: No trial of the study is complete.
    """
    return draw(pareto(view))


def draw(info: Pareto) -> go.Figure:
    """Return the figure of data that is already computed."""
    figure = go.Figure()
    for points, color in ((info.others, BLUE), (info.front, VERMILION), (info.baseline, GREEN)):
        _draw_bars(figure, points, color)
    # The error of a latency table is the same share of all predictions, so that bars at each of them would cover the
    # figure. One trial shows it.
    _draw_cost_bars(figure, info.example, DARK_GOLD)
    _draw_cost_bars(figure, info.measured, INK)
    _draw_differences(figure, info)
    layers = (
        (info.pruned, _pruned_style(info)),
        (info.others, _others_style(info)),
        (info.front, _front_style(info)),
        (info.baseline, _baseline_style(info)),
        (info.measured, _measured_style()),
        (info.recommended, _recommended_style(info)),
    )
    for points, style in layers:
        if points:
            figure.add_trace(_trace(points, style))
    _draw_limit(figure, info)
    figure.update_layout(_layout(info))
    return figure


def _pruned_style(info: Pareto) -> dict[str, Any]:
    below = sum(point.y < info.y_range[0] for point in info.pruned)
    marker = {"symbol": "x-thin", "size": 7, "opacity": 0.6, "line": {"color": GRAY, "width": 1.2}}
    return {"name": "pruned" + f" ({below} below the axis)" * bool(below), "mode": "markers", "marker": marker}


def _others_style(info: Pareto) -> dict[str, Any]:
    marker = {
        "size": 9 if len(info.others) <= MANY_POINTS else 6,
        "color": BLUE,
        "opacity": 0.75,
        "line": {"color": "white", "width": 0.8},
    }
    return {"name": "complete", "mode": "markers", "marker": marker}


def _front_style(info: Pareto) -> dict[str, Any]:
    size = 12 if len(info.front) <= MANY_POINTS / 5 else 8
    return {
        "name": "Pareto front (trial numbers)",
        "mode": "lines+markers+text",
        "line": {"color": VERMILION, "width": 2, "shape": "hv"},
        "marker": {"symbol": "diamond", "size": size, "color": VERMILION, "line": {"color": "white", "width": 1}},
        "textposition": FRONT_SIDE,
        "textfont": {"color": VERMILION, "size": 13},
    }


def _baseline_style(info: Pareto) -> dict[str, Any]:
    return {
        "name": "baseline (same evaluation)",
        "mode": "markers+text",
        "marker": {"symbol": "square", "size": 12, "color": GREEN, "line": {"color": "white", "width": 1}},
        "textposition": info.baseline_side,
        "textfont": {"color": GREEN, "size": 13},
    }


def _measured_style() -> dict[str, Any]:
    marker = {"symbol": "circle-open", "size": 9, "color": INK, "line": {"width": 1.6}}
    return {"name": "measured (dotted: from the prediction)", "mode": "markers", "marker": marker}


def _recommended_style(info: Pareto) -> dict[str, Any]:
    return {
        "name": f"recommended: trial {''.join(point.label for point in info.recommended)}",
        "mode": "markers",
        "marker": {"symbol": "star", "size": 19, "color": GOLD, "line": {"color": INK, "width": 1.2}},
    }


def _trace(points: Sequence[Point], style: dict[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=[point.x for point in points],
        y=[point.y for point in points],
        text=[escape(point.label) for point in points],
        hovertext=[point.hover for point in points],
        hoverinfo="text",
        **style,
    )


def _draw_bars(figure: go.Figure, points: Sequence[Point], color: str) -> None:
    """Draw the interval of each accuracy that has one, for a few points."""
    known = [(point, *point.y_span) for point in points if point.y_span]
    if 0 < len(known) <= MANY_BARS:
        above, below = [high - point.y for point, _, high in known], [point.y - low for point, low, _ in known]
        bars = {**BAR, "color": color, "symmetric": False, "array": above, "arrayminus": below}
        _draw_invisible(figure, [point for point, *_ in known], error_y=bars)


def _draw_cost_bars(figure: go.Figure, points: Sequence[Point], color: str) -> None:
    """Draw the interval of each cost that is not exact."""
    known = [point for point in points if point.x_margin]
    if known:
        _draw_invisible(figure, known, error_x={**BAR, "color": color, "array": [point.x_margin for point in known]})


def _draw_invisible(figure: go.Figure, points: Sequence[Point], **bars: Any) -> None:
    """Draw bars without their points: in the trace of the points, Plotly would draw bars of unknown length too."""
    x, y = [point.x for point in points], [point.y for point in points]
    figure.add_scatter(x=x, y=y, mode="markers", marker={"opacity": 0}, hoverinfo="skip", showlegend=False, **bars)


def _draw_differences(figure: go.Figure, info: Pareto) -> None:
    """Connect the predicted cost of each measured trial with its measured cost."""
    pairs = list(zip(info.predicted, info.measured, strict=True))
    if pairs:
        figure.add_scatter(
            x=[x for predicted, measured in pairs for x in (predicted.x, measured.x, None)],
            y=[y for predicted, measured in pairs for y in (predicted.y, measured.y, None)],
            mode="lines",
            line={"color": GRAY, "width": 1.2, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )


def _draw_limit(figure: go.Figure, info: Pareto) -> None:
    """Draw the target as a dashed line, and the cost range of the search as a shaded area that ends at the target."""
    if info.low is not None:
        area = {"fillcolor": RANGE_FILL, "line": {"width": 0}, "layer": "below", "name": "cost range of the search"}
        figure.add_vrect(x0=info.low, x1=info.limit, showlegend=True, **area)
    figure.add_vline(x=info.limit, line={"color": INK, "width": 1.5, "dash": "dash"})
    # The label extends into the wider half. A baseline that costs far more than the target moves the line to the left.
    is_left = info.limit - info.x_range[0] < info.x_range[1] - info.limit
    figure.add_annotation(
        text=f"target {escape(info.limit_label)}",
        x=info.limit,
        y=1,
        yref="paper",
        xanchor="left" if is_left else "right",
        yanchor="bottom",
        xshift=-6 if is_left else 6,
        showarrow=False,
        font={"size": 13, "color": INK},
    )


def _axis(title: str, span: tuple[float, float]) -> dict[str, Any]:
    lines = {"gridcolor": GRID, "linecolor": INK, "tickcolor": INK, "ticks": "outside", "showline": True}
    return {**lines, "zeroline": False, "range": list(span), "title": {"text": title, "font": {"size": 15}}}


def _layout(info: Pareto) -> dict[str, Any]:
    return {
        "title": {
            "text": f"<b>{escape(info.title)}</b>",
            "subtitle": {"text": escape(info.subtitle), "font": {"size": 13, "color": FAINT_INK}},
            "font": {"size": 19, "color": INK},
            "x": 0,
            "xref": "paper",
            "yref": "paper",
            "y": 1,
            "yanchor": "bottom",
            "pad": {"b": 50},
        },
        "font": {"family": FONT, "size": 13, "color": INK},
        "xaxis": _axis(escape(info.x_title), info.x_range),
        "yaxis": _axis(info.y_title, info.y_range),
        "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 0.01, "yanchor": "bottom"},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "hoverlabel": {"font": {"family": MONOSPACE, "size": 12, "color": INK}, "align": "left", "bgcolor": "white"},
        "hovermode": "closest",
        "margin": {"l": 70, "r": 40, "t": 108, "b": 95},
    }
