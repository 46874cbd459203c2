"""The look of every figure and page: colors for light and dark, fonts, symbols, number formats, layouts and axes.

The colors are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which color-blind readers can distinguish,
darkened for white paper and lightened for dark screens. Texts have a contrast of at least 4.5 to 1 with the paper, and
marks one of at least 3 to 1 (WCAG 2.2, criteria 1.4.3 and 1.4.11). A color is never the only difference of two marks.

Figures are drawn in the light colors. A page replaces each of them by its dark one, which is why a figure may use only
the colors that are named here.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go

WIDTH_PX, HEIGHT_PX = 1000, 640  # of a picture
BLUE, VERMILION, GREEN, PURPLE, OCHRE = "#0072B2", "#C24E00", "#007F5C", "#B0508A", "#B09000"
GOLD = "#F0C000"  # only for areas that have a line of `INK` around them
INK, FAINT_INK, GRAY, GRID, PAPER = "#333333", "#5A5A5A", "#757575", "#E8E8E8", "#FFFFFF"
SOFT_BLUE, SOFT_GOLD = "rgba(0, 114, 178, 0.16)", "rgba(230, 159, 0, 0.12)"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, OCHRE, INK)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "star-triangle-up")
# Dashes of lines, in the order of `SERIES`.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
DARK: Mapping[str, str] = MappingProxyType(
    {
        BLUE: "#56B4E9",
        VERMILION: "#F07A35",
        GREEN: "#1FB488",
        PURPLE: "#E08CC0",
        OCHRE: "#EBCF4A",
        GOLD: "#F0C001",
        INK: "#E8E8E9",
        FAINT_INK: "#B8B8B8",
        GRAY: "#9A9A9A",
        GRID: "#343A40",
        PAPER: "#15181C",
        SOFT_BLUE: "rgba(86, 180, 233, 0.22)",
        SOFT_GOLD: "rgba(230, 159, 0, 0.14)",
    }
)
# Scale of a share or a score, from low to high. The lowest color is that of the paper.
SCALE = ((0.0, PAPER), (1.0, BLUE))
# Scale of the colors of points, of which none may be like the paper.
POINT_SCALE = ((0.0, OCHRE), (1.0, BLUE))
FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
FONT_PX, SUBTITLE_PX, TITLE_PX = 13, 13, 19
PANEL_GAP = 0.03  # of plots in one figure, as a share of its width
_LINE_CHARACTERS, _TITLE_CHARACTERS = 140, 80  # that fit into the width of a picture
# Intervals are drawn as bars of this form everywhere.
BAR: Mapping[str, Any] = MappingProxyType({"type": "data", "thickness": 1.5, "width": 4})
ACCURACY_TICKS, SHARE_TICKS = ".1%", ".0%"
LEGEND: Mapping[str, Any] = MappingProxyType(
    {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0.01, "yanchor": "bottom"}
)
_AXIS: Mapping[str, Any] = MappingProxyType(
    {
        "gridcolor": GRID,
        "linecolor": INK,
        "tickcolor": INK,
        "ticks": "outside",
        "showline": True,
        "zeroline": False,
        "automargin": True,
    }
)


def marks(number: int) -> tuple[str, str]:
    """Return the color and the symbol of series `number`; no two of the first 42 series have the same two.

    >>> marks(0), marks(6)
    (('#0072B2', 'circle'), ('#0072B2', 'square'))
    """
    rounds, place = divmod(number, len(SERIES))
    return SERIES[place], SYMBOLS[(place + rounds) % len(SYMBOLS)]


def template() -> go.layout.Template:
    """Return what all figures have in common, in light colors."""
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": FONT_PX, "color": INK},
            "colorway": list(SERIES),
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "hovermode": "closest",
            "hoverlabel": {
                "align": "left",
                "bgcolor": PAPER,
                "bordercolor": GRAY,
                "font": {"family": FONT, "size": 12, "color": INK},
            },
            "xaxis": dict(_AXIS),
            "yaxis": dict(_AXIS),
            "legend": dict(LEGEND),
        }
    )


def layout(title: str, subtitle: str = "", *, legend_rows: int = 1, narrow_columns: int = 1) -> dict[str, Any]:
    """Return the layout of a figure, for `Figure.update_layout`.

    A picture shows the title in the figure. A page shows it as text above the figure, where it can wrap.

    Args:
        title: Title, as plain text; a figure without one has an empty title.
        subtitle: What the reader must know to read the figure, as plain text.
        legend_rows: Number of rows of the legend in a picture; 0 for a figure without a legend.
        narrow_columns: Number of plots beside each other on a narrow screen, for a figure of `panels`.

    Example:
        >>> layout("demo <b>", "12 trials")["title"]["text"]
        '<b>demo &lt;b&gt;</b>'
    """
    titles, subtitles = _lines(title, _TITLE_CHARACTERS), _lines(subtitle, _LINE_CHARACTERS)
    top = 40 + 26 * len(titles) + 18 * len(subtitles)
    return {
        "template": template(),
        "meta": {"title": title, "subtitle": subtitle, "narrow_columns": narrow_columns},
        "title": {
            "text": f"<b>{'<br>'.join(map(escape, titles))}</b>" if titles else "",
            "subtitle": {
                "text": "<br>".join(map(escape, subtitles)),
                "font": {"size": SUBTITLE_PX, "color": FAINT_INK},
            },
            "font": {"size": TITLE_PX, "color": INK},
            "x": 0,
            "xref": "paper",
            "yref": "container",
            "y": 0.97,
            "yanchor": "top",
        },
        "margin": {"l": 70, "r": 40, "t": top if titles else 40, "b": 62 + 24 * legend_rows},
    }


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def axis(
    title: str, *, span: Sequence[float] | None = None, ticks: str | None = None, log: bool = False, **more: Any
) -> dict[str, Any]:
    """Return an axis, for `Figure.update_layout`.

    Args:
        title: Title with the unit, as plain text.
        span: Smallest and largest value; None leaves that to plotly. Those of a logarithmic axis are powers of ten.
        ticks: Format of the numbers, such as `SHARE_TICKS`; None leaves that to plotly.
        log: Whether the axis is logarithmic.
        **more: Further attributes of a plotly axis.

    Example:
        >>> axis("Latency (ms)", span=(0, 8))["range"]
        [0, 8]
    """
    kind = {"type": "log", "dtick": "D2"} if log else {}
    known = {} if span is None else {"range": list(span)}
    formats = {} if ticks is None else {"tickformat": ticks}
    return {"title": {"text": escape(title), "font": {"size": 15}, "standoff": 10}, **kind, **known, **formats, **more}


def panels(titles: Sequence[str], columns: int) -> dict[str, Any]:
    """Return the axes of several plots in one figure, for `Figure.update_layout`; number 2 has the axes `x2` and `y2`.

    Args:
        titles: Titles of the plots, as plain text.
        columns: Number of plots beside each other; see also `narrow_columns` of `layout`.
    """
    columns = min(columns, len(titles))
    row_count = math.ceil(len(titles) / columns)
    made: dict[str, Any] = {"annotations": []}
    for number, title in enumerate(titles):
        suffix = "" if number == 0 else str(number + 1)
        row, column = divmod(number, columns)
        width, height = 1 / columns, 1 / row_count
        made[f"xaxis{suffix}"] = {
            "domain": [column * width, (column + 1) * width - PANEL_GAP * (column + 1 < columns)],
            "anchor": f"y{suffix}",
            "showticklabels": number + columns >= len(titles),
        }
        made[f"yaxis{suffix}"] = {
            "domain": [1 - (row + 1) * height + 3 * PANEL_GAP * (row + 1 < row_count), 1 - row * height],
            "anchor": f"x{suffix}",
            "showticklabels": column == 0,
        }
        place = {"xref": f"x{suffix} domain", "yref": f"y{suffix} domain", "x": 0.5, "y": 1.0, "yanchor": "bottom"}
        made["annotations"].append({"text": escape(title), "showarrow": False, **place})
    return made


def bars(
    values: Sequence[float], lows: Sequence[float | None], highs: Sequence[float | None], color: str
) -> dict[str, Any]:
    """Return the error bars of intervals; an unknown interval has a bar of no length.

    Args:
        values: Estimates.
        lows: Lower ends of their intervals; None where they are unknown.
        highs: Upper ends of their intervals; None where they are unknown.
        color: Color of the bars.

    >>> bars([0.5], [0.4], [0.7], BLUE)["array"]
    [0.19999999999999996]
    """
    above = [0.0 if high is None else high - value for value, high in zip(values, highs, strict=True)]
    below = [0.0 if low is None else value - low for value, low in zip(values, lows, strict=True)]
    return {**BAR, "color": color, "symmetric": False, "array": above, "arrayminus": below}


def percent(share: float, digits: int = 2) -> str:
    """Return a share as a percentage.

    >>> percent(0.625), percent(0.625, digits=0)
    ('62.50%', '62%')
    """
    return f"{100 * share:.{digits}f}%"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Return a 95% interval of a share in words.

    >>> interval(0.6, 0.65), interval(None, None)
    ('95% interval 60.00 to 65.00%', '95% interval unknown')
    """
    if low is None or high is None:
        return "95% interval unknown"
    return f"95% interval {100 * low:.{digits}f} to {percent(high, digits)}"


def css_variables() -> str:
    """Return the colors as CSS variables: light by default and in print, and dark where the reader prefers that.

    >>> ".page" in css_variables(), "--blue: #0072B2" in css_variables()
    (False, True)
    """
    light = "; ".join(f"--{name}: {color}" for name, color in _NAMES.items())
    dark = "; ".join(f"--{name}: {DARK[color]}" for name, color in _NAMES.items())
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "blue": BLUE,
        "vermilion": VERMILION,
        "green": GREEN,
        "purple": PURPLE,
        "ochre": OCHRE,
        "gold": GOLD,
        "ink": INK,
        "faint-ink": FAINT_INK,
        "gray": GRAY,
        "grid": GRID,
        "paper": PAPER,
        "soft-blue": SOFT_BLUE,
        "soft-gold": SOFT_GOLD,
    }
)
