"""The page of a comparison of networks: figures, a table for each device, and what cannot be told apart."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from attrs import frozen
from markupsafe import Markup

from nas.report.comparison import HEIGHT_PX, NARROW_PX, WIDE_PX, ComparedPoint, FigureText, comparison_figure
from nas.report.files import csv_bytes
from nas.report.pages import figure_block, plain, render

# A figure has names on a wide screen and in print, and the numbers of the table on a narrow screen. The hidden one is
# drawn too, because a figure without a width cannot be drawn. On a narrow screen each row of the table is a block of
# its own, whose values have their titles.
_STYLE = f"""
main {{ max-width: 1360px; }}
main > p, section > p, .fitted {{ max-width: 1160px; }}
.narrow-figure {{ visibility: hidden; position: absolute; height: 0; overflow: hidden; width: 100%; left: 0; }}
.fitted {{ position: relative; }}
.comparison-table {{ font-size: 15px; margin-bottom: 16px; }}
.comparison-table th, .comparison-table td {{ padding-right: 10px; }}
.comparison-table thead th {{ vertical-align: bottom; }}
.comparison-table .group {{ text-align: center; border-left: 8px solid var(--paper); }}
.comparison-table tbody th {{ color: var(--ink); font-weight: 400; max-width: 260px; overflow-wrap: anywhere; }}
.comparison-table td {{ white-space: nowrap; }}
@media screen and (max-width: {WIDE_PX - 1}px) {{
  .narrow-figure {{ visibility: visible; position: static; height: auto; overflow: visible; }}
  .wide-figure {{ visibility: hidden; position: absolute; height: 0; overflow: hidden; width: 100%; left: 0; }}
  .comparison-table, .comparison-table tbody {{ display: block; }}
  .comparison-table thead {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
  .comparison-table tr {{
    display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 2px 8px; padding: 8px 0;
    border-bottom: 1px solid var(--grid);
  }}
  .comparison-table th, .comparison-table td {{ border: 0; padding: 0; text-align: left; }}
  .comparison-table td.place, .comparison-table td.unknown {{ display: none; }}
  .comparison-table tbody th {{ grid-column: 1 / -1; max-width: none; font-weight: 600; }}
  .comparison-table tbody th::before {{ content: attr(data-place) ". "; }}
  .comparison-table td::before {{
    content: attr(data-title); display: block; white-space: normal; color: var(--faint-ink); font-size: 12px;
    line-height: 1.2;
  }}
}}
@media print {{
  @page {{ size: A4 landscape; }}
  .comparison-table {{ font-size: 8pt; }}
}}
"""


UNKNOWN = "-"
"""Text of a cell whose value is unknown; a narrow screen leaves it out."""


@frozen
class Heading:
    """Hold the title of a column of the table.

    Attributes:
        title: Title of the column alone.
        group: Heading over this column and its neighbors; "" without one.
        short: Title under that heading.
    """

    title: str
    group: str = ""
    short: str = ""


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
        headings: Titles of the columns of the table.
        rows: Cells of the table; the first one is the number of the network in the figures.
        sentences: Sentences about the measurement.
        alike: Sentences about latencies that cannot be told apart.
    """

    name: str
    figures: tuple[DrawnFigure, ...]
    headings: tuple[Heading, ...]
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
            "headings": device.headings,
            "groups": [(name, list(own)) for name, own in groupby(device.headings, key=lambda each: each.group)],
            "rows": device.rows,
            "sentences": device.sentences,
            "alike": device.alike,
        }
        for at, device in enumerate(devices, 1)
    ]
    return render(
        "comparison.html.jinja", title=title, styles=(_STYLE,), has_figures=any(each.figures for each in devices),
        lead=lead, devices=parts, notes=notes, plain=plain, unknown=UNKNOWN,
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
            plain(figure.alt_text),
            height_px=HEIGHT_PX[width],
        )
        for kind, width in (("wide", WIDE_PX), ("narrow", NARROW_PX))
    )
    return Markup(
        '<div class="fitted"><div class="wide-figure">{}</div><div class="narrow-figure">{}</div></div>'
    ).format(wide, narrow)
