"""Figures of the assessment of a network: confusion matrix, calibration, and accuracy on corrupted images.

The figures are drawn from the JSON values of an assessment, so that they can be drawn again from its file.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.report.theme import (
    BLUE,
    GRAY,
    GRID,
    INK,
    PAPER,
    SCALE,
    SHARE_TICKS,
    axis,
    bars,
    layout,
    marks,
    panels,
    percent,
)

Values = Mapping[str, Any]
# Numbers in the cells of more classes would overlap.
MOST_NUMBERED = 20
MOST_CELLS = 20_000  # of a figure: more would be slow to draw, and a page of several megabytes
LONGEST_NAME = 18  # characters of the name of a class on an axis
DARK_SHARE = 0.55  # Numbers on cells of larger shares have the color of the paper.


def confusion_figure(title: str, assessment: Values) -> go.Figure:
    """Return a figure of the share of the images of each class that are classified as each class.

    Args:
        title: Title of the figure.
        assessment: JSON values of an assessment.
    """
    names = [row["name"] for row in assessment["classes"]]
    cells = _cells(assessment["confusion"])
    figure = go.Figure(_cell_trace(names, cells[:MOST_CELLS]))
    numbered = len(names) <= MOST_NUMBERED
    if numbered:
        figure.add_trace(_number_trace(cells))
    parts = [
        f"{assessment['images']:,} images",
        f"accuracy {_interval(assessment['accuracy'])}",
        "the stronger a color, the larger the share of the class",
        *([f"the {len(cells) - MOST_CELLS:,} smallest shares are not drawn"] if len(cells) > MOST_CELLS else []),
    ]
    shown = [escape(_shortened(name)) for name in names]
    ticks = {"tickmode": "array", "tickvals": [*range(len(names))], "ticktext": shown} if numbered else {}
    whole = [-0.5, len(names) - 0.5]
    square: dict[str, Any] = {"showgrid": False, "constrain": "domain", **ticks}
    figure.update_layout(
        layout(title, "  ·  ".join(parts), legend_rows=0),
        bargap=0,
        xaxis=axis("Predicted class", span=whole, **square),
        yaxis=axis("Class", span=whole[::-1], scaleanchor="x", constraintoward="top", **square),
        showlegend=False,
    )
    return figure


@frozen
class _Cell:
    """Represent the images of one class that are classified as one class; both are numbers of classes."""

    true: int
    predicted: int
    images: int
    share: float


def _cells(counts: Sequence[Sequence[int]]) -> list[_Cell]:
    """Return the cells that hold images, the largest shares first."""
    cells = [
        _Cell(true, predicted, images, images / sum(row))
        for true, row in enumerate(counts)
        for predicted, images in enumerate(row)
        if images
    ]
    return sorted(cells, key=lambda cell: -cell.share)


def _cell_trace(names: Sequence[str], cells: Sequence[_Cell]) -> go.Bar:
    return go.Bar(
        x=[cell.predicted for cell in cells],
        y=[1] * len(cells),
        base=[cell.true - 0.5 for cell in cells],
        width=1,
        marker={
            "color": [cell.share for cell in cells],
            "colorscale": [list(step) for step in SCALE],
            "cmin": 0,
            "cmax": 1,
            "line": {"color": PAPER, "width": 1},
        },
        hovertext=[
            f"<b>{escape(names[cell.true])}</b> classified as <b>{escape(names[cell.predicted])}</b><br>"
            f"{cell.images:,} images, {percent(cell.share, 1)} of their class"
            for cell in cells
        ],
        hoverinfo="text",
    )


def _number_trace(cells: Sequence[_Cell]) -> go.Scatter:
    return go.Scatter(
        x=[cell.predicted for cell in cells],
        y=[cell.true for cell in cells],
        mode="text",
        text=[f"{cell.images:,}" for cell in cells],
        textfont={"size": 12, "color": [PAPER if cell.share > DARK_SHARE else INK for cell in cells]},
        hoverinfo="skip",
    )


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


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
        marker={"color": GRID, "line": {"color": GRAY, "width": 1}},
        name="share of the images",
        hovertemplate="%{y:.1%} of the images<extra></extra>",
    )
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GRAY, "dash": "dot"}, name="perfect calibration"
    )
    figure.add_scatter(
        x=[each["confidence"] for each in used],
        y=[each["accuracy"]["value"] for each in used],
        error_y=_bars([each["accuracy"] for each in used], BLUE),
        mode="markers",
        marker={"color": BLUE, "size": 9},
        name="accuracy, 95% interval",
        text=[f"{each['images']:,} images" for each in used],
        hovertemplate="probability %{x:.1%}, accuracy %{y:.1%}<br>%{text}<extra></extra>",
    )
    error = _interval(assessment["calibration_error"])
    figure.update_layout(
        layout(title, f"{assessment['images']:,} images  ·  calibration error {error}"),
        xaxis=axis("Probability of the predicted class", span=(0, 1.01), ticks=SHARE_TICKS),
        yaxis=axis("Accuracy", span=(0, 1.02), ticks=SHARE_TICKS),
    )
    return figure


def corruption_figure(title: str, robustness: Values) -> go.Figure:
    """Return a figure of the accuracy against the severity of each corruption.

    Args:
        title: Title of the figure.
        robustness: JSON values of a robustness report.
    """
    networks = [each for each in (robustness["network"], robustness["baseline"]) if each]
    kinds = list(dict.fromkeys(cell["kind"] for cell in networks[0]["corruptions"]))
    errors = [f"{each['name']} {_interval(each['mean_corruption_error'])}" for each in networks]
    parts = (
        f"{robustness['images']:,} images",
        f"mean corruption error {', '.join(errors)}",
        "accuracy against severity 0 to 5",
        "bars: 95% intervals",
    )
    figure = go.Figure()
    figure.update_layout(layout(title, "  ·  ".join(parts), narrow_columns=3))
    figure.update_layout(panels([kind.replace("_", " ") for kind in kinds], columns=5))
    for number, network in enumerate(networks):
        for place, kind in enumerate(kinds):
            figure.add_trace(_corruption_trace(network, kind, number, place))
    figure.update_xaxes(dtick=1, range=[-0.4, 5.4], tickfont={"size": 10})
    figure.update_yaxes(tickformat=SHARE_TICKS, range=[0, 1.04], tickfont={"size": 10})
    return figure


def _corruption_trace(network: Values, kind: str, number: int, place: int) -> go.Scatter:
    cells = [cell for cell in network["corruptions"] if cell["kind"] == kind]
    # Severity 0 is the image without a corruption.
    accuracies = [network["clean"], *(cell["accuracy"] for cell in cells)]
    color, symbol = marks(number)
    suffix = "" if place == 0 else str(place + 1)
    return go.Scatter(
        x=[0, *(cell["severity"] for cell in cells)],
        y=[each["value"] for each in accuracies],
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        error_y=_bars(accuracies, color),
        name=escape(network["name"]),
        legendgroup=str(number),
        showlegend=not place,
        mode="lines+markers",
        line={"color": color, "width": 1.5},
        marker={"color": color, "symbol": symbol, "size": 6},
        hovertemplate="severity %{x}: %{y:.1%}<extra></extra>",
    )


def _interval(values: Values) -> str:
    return f"{percent(values['value'], 1)} ({percent(values['low'], 1)} to {percent(values['high'], 1)})"


def _bars(intervals: Sequence[Values], color: str) -> dict[str, Any]:
    values, lows, highs = ([each[name] for each in intervals] for name in ("value", "low", "high"))
    return bars(values, lows, highs, color)
