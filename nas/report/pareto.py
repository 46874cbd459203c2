"""Figure of accuracy against cost, with the Pareto front of a study."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from nas.report.points import FRONT_SIDE, Pareto, Point, pareto
from nas.studies.records import StudyView

WIDTH_PX, HEIGHT_PX = 1000, 640
# Colors of Okabe and Ito, which color-blind readers can distinguish; each kind of point also has a shape of its own.
BLUE, VERMILION, GREEN, GOLD = "#0072B2", "#D55E00", "#007A5A", "#F0C000"
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
    # The error of a latency table is the same share of all predictions, so that bars at each of them would cover the
    # figure. The recommended trial shows it.
    layers = (
        (info.pruned, _pruned_style(info), {}),
        (info.others, _others_style(info), _bars(info.others, BLUE, "y")),
        (info.front, _front_style(info), _bars(info.front, VERMILION, "y")),
        (info.baseline, _baseline_style(info), _bars(info.baseline, GREEN, "y")),
        (info.measured, _measured_style(), _bars(info.measured, INK, "x")),
        (info.recommended, _recommended_style(info), _bars(info.recommended, INK, "xy")),
    )
    for points, style, bars in layers:
        if points:
            figure.add_trace(_trace(points, {**style, **bars}))
    _draw_differences(figure, info)
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
    return {"name": "measured on the device", "mode": "markers", "marker": marker}


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


def _bars(points: Sequence[Point], color: str, axes: str) -> dict[str, Any]:
    """Return the error bars of a few points along some axes, without those of intervals that are not known."""
    spans = [point.y_span or (point.y, point.y) for point in points]
    above = [high - point.y for point, (_, high) in zip(points, spans, strict=True)]
    below = [point.y - low for point, (low, _) in zip(points, spans, strict=True)]
    bar = {"type": "data", "color": color, "thickness": 1.2, "width": 4}
    margins = [point.x_margin for point in points]
    bars = {"x": {**bar, "array": margins}, "y": {**bar, "symmetric": False, "array": above, "arrayminus": below}}
    count = sum(point.y_span is not None for point in points)
    known = {"x": any(margins), "y": 0 < count <= MANY_BARS}
    return {f"error_{axis}": bars[axis] for axis in axes if known[axis]}


def _draw_differences(figure: go.Figure, info: Pareto) -> None:
    """Connect the predicted cost of each measured trial with its measured cost."""
    pairs = list(zip(info.predicted, info.measured, strict=True))
    if pairs:
        figure.add_scatter(
            x=[x for predicted, measured in pairs for x in (predicted.x, measured.x, None)],
            y=[y for predicted, measured in pairs for y in (predicted.y, measured.y, None)],
            mode="lines",
            line={"color": INK, "width": 1, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )


def _draw_limit(figure: go.Figure, info: Pareto) -> None:
    """Draw the target as a dashed line, and the cost range of the search as a shaded area that ends at the target."""
    if info.low is not None:
        area = {"fillcolor": RANGE_FILL, "line": {"width": 0}, "layer": "below", "name": "cost range of the search"}
        figure.add_vrect(x0=info.low, x1=info.limit, showlegend=True, **area)
    figure.add_vline(x=info.limit, line={"color": INK, "width": 1.5, "dash": "dash"})
    figure.add_annotation(
        text=f"target {escape(info.limit_label)}",
        x=info.limit,
        y=1,
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        xshift=6,
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
            "pad": {"b": 42},
        },
        "font": {"family": FONT, "size": 13, "color": INK},
        "xaxis": _axis(info.x_title, info.x_range),
        "yaxis": _axis(info.y_title, info.y_range),
        "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 0.01, "yanchor": "bottom"},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "hoverlabel": {"font": {"family": MONOSPACE, "size": 12, "color": INK}, "align": "left", "bgcolor": "white"},
        "hovermode": "closest",
        "margin": {"l": 70, "r": 40, "t": 100, "b": 95},
    }
