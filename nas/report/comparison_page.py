"""The page of a comparison of networks: figures, a table for each device, and what cannot be told apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from attrs import frozen
from markupsafe import Markup

from nas.report.comparison import HEIGHT_PX, NARROW_PX, WIDE_PX, ComparedPoint, FigureText, comparison_figure
from nas.report.files import csv_bytes
from nas.report.pages import figure_block, render

# A figure has names on a wide screen and in print, and the numbers of the table on a narrow screen. The hidden one is
# drawn too, because a figure without a width cannot be drawn.
_STYLE = f"""
.narrow-figure {{ visibility: hidden; position: absolute; height: 0; overflow: hidden; width: 100%; left: 0; }}
.fitted {{ position: relative; }}
.comparison-table th[scope="row"] {{ color: var(--ink); font-weight: 400; white-space: nowrap; }}
.comparison-table td, .comparison-table th {{ white-space: nowrap; }}
@media screen and (max-width: {WIDE_PX - 1}px) {{
  .narrow-figure {{ visibility: visible; position: static; height: auto; overflow: visible; }}
  .wide-figure {{ visibility: hidden; position: absolute; height: 0; overflow: hidden; width: 100%; left: 0; }}
}}
"""


@frozen
class DrawnFigure:
    """Hold the networks and the texts of one figure.

    Attributes:
        points: The networks, at least one.
        text: Texts of the figure.
        alt_text: What the figure shows, in sentences, for readers who cannot see it.
    """

    points: tuple[ComparedPoint, ...]
    text: FigureText
    alt_text: str


@frozen
class DevicePart:
    """Hold what the page shows of one device, as plain texts.

    Attributes:
        name: Name of the device.
        figures: Figures of the networks.
        headers: Titles of the columns of the table.
        rows: Cells of the table; the first one is the number of the network in the figures.
        sentences: Sentences about the measurement.
        alike: Sentences about latencies that cannot be told apart.
    """

    name: str
    figures: tuple[DrawnFigure, ...]
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sentences: tuple[str, ...]
    alike: tuple[str, ...]


def comparison_page(title: str, lead: Sequence[str], devices: Sequence[DevicePart], notes: Sequence[str]) -> bytes:
    """Return the page of a comparison.

    Args:
        title: Title of the page.
        lead: Sentences that stand first.
        devices: What was measured on each device.
        notes: Sentences about single networks.

    Example:
        >>> page = comparison_page("demo <b>", ["One network."], [], [])
        >>> b"<h1>demo &lt;b&gt;</h1>" in page
        True
    """
    parts = [
        {
            "name": device.name,
            "figures": [_fitted(figure, f"figure-{at}-{number}") for number, figure in enumerate(device.figures, 1)],
            "headers": device.headers,
            "rows": device.rows,
            "sentences": device.sentences,
            "alike": device.alike,
        }
        for at, device in enumerate(devices, 1)
    ]
    return render(
        "comparison.html.jinja", title=title, styles=(_STYLE,), has_figures=any(each.figures for each in devices),
        lead=lead, devices=parts, notes=notes,
    )  # fmt: skip


def comparison_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    r"""Return rows as CSV with a header line; unknown values are empty.

    >>> comparison_csv([{"network": "net", "macs": 5}, {"network": "=1", "macs": None}])
    b"network,macs\nnet,5\n'=1,\n"
    """
    return csv_bytes(pd.DataFrame(rows).convert_dtypes())


def _fitted(figure: DrawnFigure, name: str) -> Markup:
    """Return a figure for wide and one for narrow screens, of which one is shown."""
    wide, narrow = (
        figure_block(
            comparison_figure(figure.points, figure.text, width_px=width),
            f"{name}-{kind}",
            figure.alt_text,
            height_px=HEIGHT_PX[width],
        )
        for kind, width in (("wide", WIDE_PX), ("narrow", NARROW_PX))
    )
    return Markup(
        '<div class="fitted"><div class="wide-figure">{}</div><div class="narrow-figure">{}</div></div>'
    ).format(wide, narrow)
