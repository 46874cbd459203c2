"""Figures of compared networks: accuracy against a cost, with the number of parameters as the area of a bubble.

The form is that of Bianco et al. 2018 (arXiv 1810.00736, figure 1).
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.report import theme
from nas.report.label_places import Bubble, Label, place_labels

WIDE_PX, NARROW_PX = 860, 400
"""Widths of the drawings for which labels are placed: names on a wide one, numbers on a narrow one."""
HEIGHT_PX = {WIDE_PX: 600, NARROW_PX: 460}
_LARGEST_PX = {WIDE_PX: 76.0, NARROW_PX: 46.0}  # diameter of the largest bubble
_SMALLEST_PX = 6.0  # A smaller bubble would not be seen.
_REFERENCES = (1e6, 10e6, 100e6)  # parameters of the bubbles that show the scale
_OPACITY = 0.55
# A plot over fewer powers of ten might have no tick at all, and one of fewer points of accuracy has equal labels.
_LEAST_DECADES, _LEAST_SPAN, _FINE_SPAN = 0.7, 0.02, 0.1


@frozen
class ComparedPoint:
    """Represent a network in a figure.

    Attributes:
        number: Number of the network in the table.
        name: Name of the network.
        group: Name of its group, which has a color and a symbol of its own.
        cost: Cost on the horizontal axis.
        cost_span: Interval of the cost, or None if it is exact.
        accuracy: Accuracy, from 0 to 1.
        accuracy_span: Interval of the accuracy, or None if it is unknown.
        params: Number of parameters.
        hover: What is shown when the pointer is on the bubble: a few lines of plain text.
    """

    number: int
    name: str
    group: str
    cost: float
    cost_span: tuple[float, float] | None
    accuracy: float
    accuracy_span: tuple[float, float] | None
    params: float
    hover: tuple[str, ...]


@frozen
class FigureText:
    """Hold the texts of a figure.

    Attributes:
        title: Title.
        subtitle: What the reader must know to read the figure.
        cost: Title of the horizontal axis, with the unit.
        accuracy: Title of the vertical axis.
        cost_ticks: Format of the numbers of the horizontal axis.
    """

    title: str
    subtitle: str
    cost: str
    accuracy: str
    cost_ticks: str = "~g"


@frozen
class _Scale:
    """Map values to pixels of the plot.

    Attributes:
        low: Common logarithm of the smallest cost of the plot.
        high: Common logarithm of the largest cost.
        bottom: Smallest accuracy.
        top: Largest accuracy.
        width: Width of the plot in pixels.
        height: Height of the plot in pixels.
    """

    low: float
    high: float
    bottom: float
    top: float
    width: float
    height: float

    def place(self, cost: float, accuracy: float) -> tuple[float, float]:
        """Return the position of a point, with y downwards."""
        across = (math.log10(cost) - self.low) / (self.high - self.low)
        return across * self.width, (self.top - accuracy) / (self.top - self.bottom) * self.height


def comparison_figure(points: Sequence[ComparedPoint], text: FigureText, *, width_px: int = WIDE_PX) -> go.Figure:
    """Return the figure of accuracy against a cost on a logarithmic axis; no label covers another one.

    Args:
        points: The networks, at least one.
        text: Texts of the figure.
        width_px: `WIDE_PX` for a figure with names, `NARROW_PX` for one with the numbers of the table.

    Example:
        >>> point = ComparedPoint(1, "net", "known", 4e9, None, 0.76, None, 25e6, ("net",))
        >>> figure = comparison_figure([point], FigureText("demo", "", "MACs", "Top-1"))
        >>> [annotation.text for annotation in figure.layout.annotations][:1]
        ['net']
    """
    groups = list(dict.fromkeys(point.group for point in points))
    figure = go.Figure()
    figure.update_layout(theme.layout(text.title, text.subtitle, legend_rows=int(len(groups) > 1)))
    scale = _scale(points, width_px, figure.layout.margin)
    for number, group in enumerate(groups):
        own = [point for point in points if point.group == group]
        figure.add_trace(_trace(own, group, number, width_px, points))
    for annotation in _labels(points, scale, width_px):
        figure.add_annotation(annotation)
    _add_references(figure, points, width_px)
    figure.update_layout(
        xaxis=theme.axis(
            text.cost, span=(scale.low, scale.high), ticks=text.cost_ticks, type="log", dtick=_steps(scale, width_px)
        ),
        yaxis=theme.axis(
            text.accuracy,
            span=(scale.bottom, scale.top),
            ticks=theme.SHARE_TICKS if scale.top - scale.bottom > _FINE_SPAN else theme.ACCURACY_TICKS,
        ),
        showlegend=len(groups) > 1,
    )
    return figure


def _scale(points: Sequence[ComparedPoint], width_px: int, margin: Any) -> _Scale:
    """Return a scale with room for bubbles and labels at all sides."""
    costs = [end for point in points for end in (point.cost, *(point.cost_span or ())) if end > 0]
    accuracies = [end for point in points for end in (point.accuracy, *(point.accuracy_span or ()))]
    low, high = math.log10(min(costs)), math.log10(max(costs))
    bottom, top = min(accuracies), max(accuracies)
    across, up = max(high - low, 0.3), max(top - bottom, 0.02)
    low, high = low - 0.12 * across, high + 0.16 * across
    bottom, top = bottom - 0.12 * up, top + 0.12 * up
    missing, few = max(0.0, _LEAST_DECADES - (high - low)) / 2, max(0.0, _LEAST_SPAN - (top - bottom)) / 2
    return _Scale(
        low - missing,
        high + missing,
        max(0.0, bottom - few),
        min(1.0 + 0.02 * up, top + few),
        width_px - margin.l - margin.r,
        HEIGHT_PX[width_px] - margin.t - margin.b,
    )


def _steps(scale: _Scale, width_px: int) -> str | int:
    """Return the distance of the ticks of a logarithmic axis: all digits, 1, 2 and 5, or powers of ten alone."""
    decades = scale.high - scale.low
    if width_px == WIDE_PX:
        return "D1" if decades <= 1 else "D2"
    return "D2" if decades <= 2 else 1


def _diameter(params: float, points: Sequence[ComparedPoint], width_px: int) -> float:
    """Return the diameter of a bubble in pixels, whose area is proportional to the parameters."""
    most = max(point.params for point in points)
    return max(_SMALLEST_PX, _LARGEST_PX[width_px] * math.sqrt(params / most)) if most else _SMALLEST_PX


def _trace(
    own: Sequence[ComparedPoint], group: str, number: int, width_px: int, points: Sequence[ComparedPoint]
) -> go.Scatter:
    color, symbol = theme.marks(number)
    spans = {
        "error_x": [(point.cost, point.cost_span) for point in own],
        "error_y": [(point.accuracy, point.accuracy_span) for point in own],
    }
    drawn = {
        name: theme.bars(
            [value for value, _ in known],
            [span and span[0] for _, span in known],
            [span and span[1] for _, span in known],
            color,
        )
        for name, known in spans.items()
        if any(span for _, span in known)
    }
    return go.Scatter(
        x=[point.cost for point in own],
        y=[point.accuracy for point in own],
        name=escape(group),
        mode="markers",
        marker={
            "size": [_diameter(point.params, points, width_px) for point in own],
            "color": color,
            "symbol": symbol,
            "opacity": _OPACITY,
            "line": {"color": theme.INK, "width": 1},
        },
        hovertext=["<br>".join(map(escape, point.hover)) for point in own],
        hoverinfo="text",
        **drawn,
    )


def _labels(points: Sequence[ComparedPoint], scale: _Scale, width_px: int) -> Iterator[dict[str, Any]]:
    bubbles = []
    for point in points:
        text = point.name if width_px == WIDE_PX else str(point.number)
        radius = _diameter(point.params, points, width_px) / 2
        has_bars = bool(point.cost_span or point.accuracy_span)
        place = scale.place(point.cost, point.accuracy)
        bubbles.append(Bubble(*place, radius, text, takes_text=not has_bars, bar=_bar(point, scale)))
    labels = place_labels(bubbles, scale.width, scale.height)
    for point, bubble, label in zip(points, bubbles, labels, strict=True):
        yield _annotation(point, bubble, label)


def _bar(point: ComparedPoint, scale: _Scale) -> tuple[float, float] | None:
    """Return where the bar of the interval of the cost begins and ends; None for no bar."""
    if point.cost_span is None or point.cost_span[0] <= 0:
        return None
    low, high = (scale.place(end, point.accuracy)[0] for end in point.cost_span)
    return low, high


def _annotation(point: ComparedPoint, bubble: Bubble, label: Label) -> dict[str, Any]:
    """Return a text at a fixed distance from its bubble, with a line to it where it is far."""
    place = {"x": math.log10(point.cost), "y": point.accuracy, "text": escape(bubble.text)}
    font = {"size": 12, "color": theme.INK}
    across, down = label.x - bubble.x, label.y - bubble.y
    if label.is_near:
        return {**place, "font": font, "showarrow": False, "xshift": across, "yshift": -down}
    distance = math.hypot(across, down)
    # The line ends at the bubble, and at the edge of the text that plotly keeps free.
    return {
        **place,
        "font": font,
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": theme.GRAY,
        "ax": across,
        "ay": down,
        "standoff": min(bubble.radius, max(0.0, distance - 1)),
    }


def _add_references(figure: go.Figure, points: Sequence[ComparedPoint], width_px: int) -> None:
    """Add bubbles of round numbers of parameters in the lower right corner, where networks are rare."""
    most = max(point.params for point in points)
    shown = [params for params in _REFERENCES if params <= most]
    right = 10.0
    for params in reversed(shown):
        diameter = _diameter(params, points, width_px)
        figure.add_shape(
            type="circle", xref="paper", yref="paper", xsizemode="pixel", ysizemode="pixel", xanchor=1, yanchor=0,
            x0=-right - diameter, x1=-right, y0=26, y1=26 + diameter, line={"color": theme.GRAY, "width": 1},
        )  # fmt: skip
        figure.add_annotation(
            xref="paper", yref="paper", x=1, y=0, xanchor="center", yanchor="bottom", showarrow=False,
            text=f"{params / 1e6:.0f}M", xshift=-right - diameter / 2, yshift=5,
            font={"size": 11, "color": theme.FAINT_INK},
        )  # fmt: skip
        right += max(diameter, 26.0) + 10
    if shown and width_px == WIDE_PX:
        figure.add_annotation(
            xref="paper", yref="paper", x=1, y=0, xanchor="right", yanchor="bottom", showarrow=False,
            text="parameters", xshift=-right, yshift=5, font={"size": 11, "color": theme.FAINT_INK},
        )  # fmt: skip
