"""Figure of accuracy against cost, with the Pareto front of a study."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from nas.report.points import Pareto, pareto
from nas.report.ranges import FRONT_SIDE
from nas.report.theme import (
    BAR,
    BLUE,
    GOLD,
    GRAY,
    GREEN,
    INK,
    OCHRE,
    PAPER,
    PURPLE,
    SOFT_GOLD,
    VERMILION,
    axis,
    layout,
)
from nas.report.trial_points import Point
from nas.studies.records import StudyView

MANY_POINTS = 150  # Points are drawn smaller if there are more of them.
LONGEST_NAME = 24  # characters of a name in the legend, which must fit on a telephone
MANY_BARS = 30  # Bars of more points are drawn thinner, so that they do not cover the figure.


def pareto_figure(view: StudyView, x: str = "") -> go.Figure:
    """Return a figure of accuracy against a cost.

    Args:
        view: The study.
        x: Cost of the horizontal axis; "" takes the one that the first target of the study limits.

    Raises:
        StudyError: No trial of the study is complete, or the study does not have this cost.
    """
    return draw(pareto(view, x))


def draw(info: Pareto) -> go.Figure:
    """Return the figure of data that is already computed."""
    traces = [
        *_accuracy_bars(info.others, BLUE),
        *_accuracy_bars(info.front, VERMILION),
        *_accuracy_bars(info.baseline, GREEN),
        # The error of a latency table is the same share of all predictions, so that bars at each of them would cover
        # the figure. One trial shows it.
        *cost_bars(info.example, OCHRE),
        *cost_bars(info.measured, INK),
        *differences(info.predicted, info.measured),
        *(
            point_trace(points, style)
            for points, style in (
                (info.pruned, _pruned_style(info)),
                (info.others, _others_style(info)),
                (info.front, _front_style(info)),
                (info.baseline, _baseline_style(info)),
                (info.measured, measured_style()),
                (info.recommended, _recommended_style(info)),
            )
            if points
        ),
        *chance_line(info.chance, info.x_range),
    ]
    figure = go.Figure(traces)
    figure.update_layout(
        layout(info.title, info.subtitle, legend_rows=2),
        xaxis=axis(info.axis.title, span=info.x_range),
        yaxis=axis(info.y_title, span=info.y_range),
    )
    _draw_limit(figure, info)
    return figure


def _pruned_style(info: Pareto) -> dict[str, Any]:
    below = sum(point.y < info.y_range[0] for point in info.pruned)
    marker = {"symbol": "x-thin", "size": 7, "opacity": 0.6, "line": {"color": GRAY, "width": 1.2}}
    return {"name": "pruned" + f" ({below:,} below the axis)" * bool(below), "mode": "markers", "marker": marker}


def _others_style(info: Pareto) -> dict[str, Any]:
    marker = {
        "size": 9 if len(info.others) <= MANY_POINTS else 6,
        "color": BLUE,
        "opacity": 0.75,
        "line": {"color": PAPER, "width": 0.8},
    }
    return {"name": "complete", "mode": "markers", "marker": marker}


def _front_style(info: Pareto) -> dict[str, Any]:
    size = 12 if len(info.front) <= MANY_POINTS / 5 else 8
    return {
        "name": "Pareto front (trial numbers where there is room)",
        "mode": "lines+markers+text",
        "line": {"color": VERMILION, "width": 2, "shape": "hv"},
        "marker": {"symbol": "diamond", "size": size, "color": VERMILION, "line": {"color": PAPER, "width": 1}},
        "textposition": FRONT_SIDE,
        "textfont": {"color": VERMILION, "size": 13},
    }


def _baseline_style(info: Pareto) -> dict[str, Any]:
    return {
        "name": f"baseline {_shortened(info.baseline[0].label)} (same evaluation)" if info.baseline else "",
        "mode": "markers",
        "marker": {"symbol": "square", "size": 12, "color": GREEN, "line": {"color": PAPER, "width": 1}},
    }


def _shortened(name: str) -> str:
    return escape(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…")


def measured_style() -> dict[str, Any]:
    """Return the style of the points at the measured cost."""
    marker = {"symbol": "circle-open", "size": 9, "color": INK, "line": {"width": 1.6}}
    return {"name": "measured (dotted: from the prediction)", "mode": "markers", "marker": marker}


def _recommended_style(info: Pareto) -> dict[str, Any]:
    return {
        "name": f"recommended: trial {''.join(point.label for point in info.recommended)}",
        "mode": "markers",
        "marker": {"symbol": "star", "size": 19, "color": GOLD, "line": {"color": INK, "width": 1.2}},
    }


def point_trace(points: Sequence[Point], style: dict[str, Any]) -> go.Scatter:
    """Return the points of one kind, each with the number of its trial, by which a page selects it."""
    texts = {"text": [escape(point.label) for point in points]} if "text" in style["mode"] else {}
    return go.Scatter(
        x=[point.x for point in points],
        y=[point.y for point in points],
        customdata=[point.number for point in points],
        hovertext=[point.hover for point in points],
        hoverinfo="text",
        **texts,
        **style,
    )


def _accuracy_bars(points: Sequence[Point], color: str) -> list[go.Scatter]:
    """Return the interval of each accuracy that has one."""
    known = [(point, *point.y_span) for point in points if point.y_span]
    if not known:
        return []
    above, below = [high - point.y for point, _, high in known], [point.y - low for point, low, _ in known]
    form = dict(BAR) if len(known) <= MANY_BARS else {**BAR, "thickness": 0.8, "width": 0}
    bars = {**form, "color": color, "symmetric": False, "array": above, "arrayminus": below}
    return [_invisible([point for point, *_ in known], error_y=bars)]


def cost_bars(points: Sequence[Point], color: str) -> list[go.Scatter]:
    """Return the interval of each cost that is not exact."""
    known = [point for point in points if point.x_margin]
    bars = {**BAR, "color": color, "array": [point.x_margin for point in known]}
    return [_invisible(known, error_x=bars)] if known else []


def _invisible(points: Sequence[Point], **bars: Any) -> go.Scatter:
    """Return bars without their points: in the trace of the points, Plotly would draw bars of unknown length too."""
    x, y = [point.x for point in points], [point.y for point in points]
    return go.Scatter(x=x, y=y, mode="markers", marker={"opacity": 0}, hoverinfo="skip", showlegend=False, **bars)


def differences(predicted: Sequence[Point], measured: Sequence[Point]) -> list[go.Scatter]:
    """Return lines from the predicted cost of each measured trial to its measured cost."""
    pairs = list(zip(predicted, measured, strict=True))
    if not pairs:
        return []
    return [
        go.Scatter(
            x=[x for first, second in pairs for x in (first.x, second.x, None)],
            y=[y for first, second in pairs for y in (first.y, second.y, None)],
            mode="lines",
            line={"color": GRAY, "width": 1.2, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )
    ]


def chance_line(chance: float | None, x_range: Sequence[float]) -> list[go.Scatter]:
    """Return the line of the accuracy, in percent, that the most frequent class alone has; nothing if it is None."""
    if chance is None:
        return []
    return [
        go.Scatter(
            x=list(x_range),
            y=[chance, chance],
            mode="lines",
            line={"color": PURPLE, "width": 1.5, "dash": "longdash"},
            name=f"always the most frequent class: {chance:.1f}%",
            hoverinfo="name",
        )
    ]


def _draw_limit(figure: go.Figure, info: Pareto) -> None:
    """Draw the target as a dashed line, and the cost range of the search as a shaded area that ends at the target."""
    if info.limit is None or info.axis.limit is None:
        return
    if info.low is not None:
        area = {
            "fillcolor": SOFT_GOLD,
            "line": {"width": 1, "color": OCHRE, "dash": "dot"},
            "layer": "below",
            "name": "cost range of the search",
        }
        figure.add_vrect(x0=info.low, x1=info.limit, showlegend=True, **area)
    draw_target(figure, info.limit, f"target {info.axis.amount(info.axis.limit)}", info.x_range)


def draw_target(figure: go.Figure, limit: float, label: str, x_range: Sequence[float]) -> None:
    """Draw a target as a dashed line with a label above the plot."""
    figure.add_vline(x=limit, line={"color": INK, "width": 1.5, "dash": "dash"})
    # The label extends into the wider half. A baseline that costs far more than the target moves the line to the left.
    is_left = limit - x_range[0] < x_range[1] - limit
    figure.add_annotation(
        text=escape(label),
        x=limit,
        y=1,
        yref="paper",
        xanchor="left" if is_left else "right",
        yanchor="bottom",
        xshift=-6 if is_left else 6,
        showarrow=False,
        font={"size": 13, "color": INK},
    )
