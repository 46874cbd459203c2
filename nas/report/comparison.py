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
from nas.report.pages import plain

WIDE_PX, NARROW_PX = 860, 400
"""Widths of the drawings for which labels are placed: names on a wide one, numbers on a narrow one."""
HEIGHT_PX = {WIDE_PX: 600, NARROW_PX: 460}
_LARGEST_PX = {WIDE_PX: 76.0, NARROW_PX: 46.0}  # diameter of the largest bubble
_SMALLEST_PX = 6.0  # A smaller bubble would not be seen.
_REFERENCES = (1e6, 10e6, 100e6)  # parameters of the bubbles that show the scale
_LONGEST_LABEL = 28  # characters
_OPACITY, _REFERENCE_OPACITY = 0.55, 0.6
# Labels are placed for a drawing of `WIDE_PX`; on a page it is up to so much wider, where bars are longer.
_WIDEST = 1.4
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
        >>> [annotation.text for annotation in figure.layout.annotations][-1:]
        ['net']
    """
    groups = list(dict.fromkeys(point.group for point in points))
    figure = go.Figure()
    figure.update_layout(theme.layout(text.title, text.subtitle, legend_rows=int(len(groups) > 1)))
    scale = _scale(points, width_px, figure.layout.margin)
    _add_references(figure, points, scale, width_px)
    for number, group in enumerate(groups):
        own = [point for point in points if point.group == group]
        figure.add_trace(_trace(own, group, number, width_px, points))
    for annotation in _labels(points, scale, width_px):
        figure.add_annotation(annotation)
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
        hovertext=["<br>".join(escape(plain(line)) for line in point.hover) for point in own],
        hoverinfo="text",
        **drawn,
    )


def _labels(points: Sequence[ComparedPoint], scale: _Scale, width_px: int) -> Iterator[dict[str, Any]]:
    bubbles = []
    for point in points:
        text = _label_text(point.name) if width_px == WIDE_PX else str(point.number)
        radius = _diameter(point.params, points, width_px) / 2
        has_bars = bool(point.cost_span or point.accuracy_span)
        place = scale.place(point.cost, point.accuracy)
        bubbles.append(Bubble(*place, radius, text, takes_text=not has_bars, bar=_bar(point, scale)))
    labels = place_labels(bubbles, scale.width, scale.height)
    for point, bubble, label in zip(points, bubbles, labels, strict=True):
        yield _annotation(point, bubble, label)


def _label_text(name: str) -> str:
    """Return a name for a label, without the middle of a long one: file names differ at both ends.

    >>> _label_text("efficientnet-b0"), _label_text("a" * 20 + "b" * 20)
    ('efficientnet-b0', 'aaaaaaaaaaaaa…bbbbbbbbbbbbb')
    """
    text, end = plain(name), (_LONGEST_LABEL - 1) // 2
    return text if len(text) <= _LONGEST_LABEL else f"{text[:end]}…{text[-end:]}"


def _bar(point: ComparedPoint, scale: _Scale) -> tuple[float, float] | None:
    """Return where the bar of the interval of the cost begins and ends; None for no bar."""
    if point.cost_span is None or point.cost_span[0] <= 0:
        return None
    middle = scale.place(point.cost, point.accuracy)[0]
    low, high = (middle + _WIDEST * (scale.place(end, point.accuracy)[0] - middle) for end in point.cost_span)
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


def _add_references(figure: go.Figure, points: Sequence[ComparedPoint], scale: _Scale, width_px: int) -> None:
    """Add bubbles of round numbers of parameters behind the networks, in the corner where they cover the fewest."""
    most = max(point.params for point in points)
    shown = [params for params in reversed(_REFERENCES) if params <= most]
    diameters = [_diameter(params, points, width_px) for params in shown]
    title = "parameters" if width_px == WIDE_PX else ""
    steps = [max(diameter, 26.0) + 10 for diameter in diameters]
    extent = (sum(steps) + 10 + 70 * bool(title), max(diameters, default=0.0) + 30)
    across, up = _free_corner(points, scale, width_px, extent)
    side = 1 - 2 * across  # to the right from the left edge, or to the left from the right edge
    # In an upper corner the numbers are below the bubbles too, so that both stand on one line.
    base = scale.height - extent[1] if up else 0.0
    at = 10.0
    for params, diameter, step in zip(shown, diameters, steps, strict=True):
        ends = sorted((side * at, side * (at + diameter)))
        figure.add_shape(
            type="circle", xref="paper", yref="paper", xsizemode="pixel", ysizemode="pixel", layer="below",
            xanchor=across, yanchor=0, x0=ends[0], x1=ends[1], y0=base + 26, y1=base + 26 + diameter,
            line={"color": theme.GRAY, "width": 1}, opacity=_REFERENCE_OPACITY,
        )  # fmt: skip
        _add_reference_text(figure, f"{params / 1e6:.0f}M", across, side * (at + diameter / 2), base, "center")
        at += step
    if shown and title:
        _add_reference_text(figure, title, across, side * at, base, "right" if across else "left")


def _add_reference_text(figure: go.Figure, text: str, across: int, shift: float, base: float, anchor: str) -> None:
    figure.add_annotation(
        xref="paper", yref="paper", x=across, y=0, xanchor=anchor, yanchor="bottom", showarrow=False,
        text=text, xshift=shift, yshift=base + 5, font={"size": 11, "color": theme.FAINT_INK},
    )  # fmt: skip


def _free_corner(
    points: Sequence[ComparedPoint], scale: _Scale, width_px: int, extent: tuple[float, float]
) -> tuple[int, int]:
    """Return the corner, as shares of the width and of the height, in which the fewest networks are; lower right first.

    Args:
        points: The networks.
        scale: Scale of the plot.
        width_px: Width of the drawing.
        extent: Width and height of what is placed in the corner.
    """

    def count(corner: tuple[int, int]) -> int:
        left = corner[0] * (scale.width - extent[0])
        top = (1 - corner[1]) * (scale.height - extent[1])
        box = Label(left + extent[0] / 2, top + extent[1] / 2, extent[0] / 2, extent[1] / 2, is_near=True)
        return sum(
            box.covers(
                Bubble(*scale.place(point.cost, point.accuracy), _diameter(point.params, points, width_px) / 2, "")
            )
            > 0
            for point in points
        )

    return min(((1, 0), (0, 0), (0, 1), (1, 1)), key=count)
