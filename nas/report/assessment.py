"""Figures of the assessment of a network: confusion matrix, calibration, and accuracy on corrupted images.

The figures are drawn from the JSON values of an assessment, so that they can be drawn again from its file.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from nas.report.pareto import BLUE, FONT, GRAY, GRID, INK, VERMILION

Values = Mapping[str, Any]
# Numbers in the cells of more classes would overlap.
MOST_NUMBERED = 20


def confusion_figure(title: str, assessment: Values) -> go.Figure:
    """Return a figure of the share of the images of each class that are classified as each class.

    Args:
        title: Title of the figure.
        assessment: JSON values of an assessment.
    """
    names = [escape(row["name"]) for row in assessment["classes"]]
    counts = assessment["confusion"]
    # A class without images has no shares, and its row stays empty.
    shares = [[count / sum(row) if sum(row) else None for count in row] for row in counts]
    numbered = len(names) <= MOST_NUMBERED
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            text=counts,
            texttemplate="%{text}" if numbered else None,
            colorscale=[(0.0, "white"), (1.0, BLUE)],
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorbar={"title": {"text": "share of<br>the class"}, "tickformat": ".0%"},
            hovertemplate="%{text} images, %{z:.1%} of their class<extra></extra>",
        )
    )
    ticks = {"tickmode": "array", "tickvals": [*range(len(names))], "ticktext": names} if numbered else {}
    figure.update_layout(
        **_layout(title, f"{assessment['images']:,} images, accuracy {_interval(assessment['accuracy'])}"),
        xaxis={"title": {"text": "Predicted class"}, "constrain": "domain", **ticks},
        yaxis={"title": {"text": "Class"}, "autorange": "reversed", "scaleanchor": "x", "constrain": "domain", **ticks},
    )
    return figure


def reliability_figure(title: str, assessment: Values) -> go.Figure:
    """Return a figure of accuracy against the probability of the predicted class, with the number of images.

    Args:
        title: Title of the figure.
        assessment: JSON values of an assessment.
    """
    used = [each for each in assessment["bins"] if each["images"]]
    figure = go.Figure()
    figure.add_bar(
        x=[(each["low"] + each["high"]) / 2 for each in assessment["bins"]],
        y=[each["images"] / assessment["images"] for each in assessment["bins"]],
        width=[each["high"] - each["low"] for each in assessment["bins"]],
        marker={"color": GRID, "line": {"color": "white", "width": 1}},
        name="share of the images",
        hovertemplate="%{y:.1%} of the images<extra></extra>",
    )
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GRAY, "dash": "dot"}, name="perfect calibration"
    )
    figure.add_scatter(
        x=[each["confidence"] for each in used],
        y=[each["accuracy"]["value"] for each in used],
        error_y=_bars([each["accuracy"] for each in used]),
        mode="markers",
        marker={"color": BLUE, "size": 9},
        name="accuracy, 95% interval",
        text=[f"{each['images']:,} images" for each in used],
        hovertemplate="probability %{x:.1%}, accuracy %{y:.1%}<br>%{text}<extra></extra>",
    )
    error = _interval(assessment["calibration_error"])
    figure.update_layout(
        **_layout(title, f"{assessment['images']:,} images, calibration error {error}"),
        xaxis=_axis("Probability of the predicted class", [0, 1.01]),
        yaxis=_axis("Accuracy", [0, 1.02]),
        legend={"x": 0.02, "y": 0.98, "bgcolor": "rgba(255,255,255,0.8)"},
    )
    return figure


def corruption_figure(title: str, robustness: Values) -> go.Figure:
    """Return a figure of the accuracy against the severity of each corruption.

    Args:
        title: Title of the figure.
        robustness: JSON values of a robustness report.
    """
    from plotly.subplots import make_subplots

    networks = [each for each in (robustness["network"], robustness["baseline"]) if each]
    kinds = list(dict.fromkeys(cell["kind"] for cell in networks[0]["corruptions"]))
    figure = make_subplots(
        rows=3,
        cols=5,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=[kind.replace("_", " ") for kind in kinds],
        horizontal_spacing=0.02,
        vertical_spacing=0.08,
    )
    for network, color, symbol in zip(networks, (BLUE, VERMILION), ("circle", "square"), strict=False):
        for place, kind in enumerate(kinds):
            trace = _corruption_trace(network, kind, color, symbol)
            trace.showlegend = not place
            figure.add_trace(trace, row=place // 5 + 1, col=place % 5 + 1)
    errors = [f"{escape(each['name'])} {_interval(each['mean_corruption_error'])}" for each in networks]
    figure.update_layout(
        **_layout(title, f"{robustness['images']:,} images, mean corruption error {', '.join(errors)}"),
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.12},
    )
    figure.update_xaxes(gridcolor=GRID, dtick=1, range=[-0.3, 5.3])
    figure.update_yaxes(gridcolor=GRID, tickformat=".0%", range=[0, 1.04])
    figure.update_xaxes(title={"text": "Severity"}, row=3, col=3)
    figure.update_yaxes(title={"text": "Accuracy (bars: 95% interval)"}, row=2, col=1)
    return figure


def _corruption_trace(network: Values, kind: str, color: str, symbol: str) -> go.Scatter:
    cells = [cell for cell in network["corruptions"] if cell["kind"] == kind]
    # Severity 0 is the image without a corruption.
    accuracies = [network["clean"], *(cell["accuracy"] for cell in cells)]
    return go.Scatter(
        x=[0, *(cell["severity"] for cell in cells)],
        y=[each["value"] for each in accuracies],
        error_y=_bars(accuracies),
        name=escape(network["name"]),
        mode="lines+markers",
        line={"color": color, "width": 1.5},
        marker={"symbol": symbol, "size": 6},
        hovertemplate="severity %{x}: %{y:.1%}<extra></extra>",
    )


def _bars(intervals: Sequence[Values]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [each["high"] - each["value"] for each in intervals],
        "arrayminus": [each["value"] - each["low"] for each in intervals],
        "thickness": 1.2,
        "width": 3,
    }


def _interval(values: Values) -> str:
    return f"{values['value']:.1%} ({values['low']:.1%} to {values['high']:.1%})"


def _axis(title: str, ends: Sequence[float]) -> dict[str, Any]:
    return {"title": {"text": title}, "range": list(ends), "gridcolor": GRID, "tickformat": ".0%", "zeroline": False}


def _layout(title: str, subtitle: str) -> dict[str, Any]:
    return {
        "title": {"text": f"<b>{escape(title)}</b><br><sup>{subtitle}</sup>", "font": {"size": 18}, "x": 0.02},
        "font": {"family": FONT, "size": 13, "color": INK},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "margin": {"t": 90},
    }
