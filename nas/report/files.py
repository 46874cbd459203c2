"""A study's table and figure as files: CSV, a page that needs no network, and a still picture."""

from collections.abc import Mapping
from html import escape
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nas.errors import MissingPackageError, NasError
from nas.files import write_atomically
from nas.report.pareto import HEIGHT_PX, WIDTH_PX

PIXEL_RATIO = 2
PATIENCE_SECONDS = 90
# Plotly's button to share a chart would upload it.
PAGE_CONFIG: Mapping[str, Any] = MappingProxyType(
    {
        "responsive": True,
        "displaylogo": False,
        "showSendToCloud": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d"],
        "toImageButtonOptions": {"filename": "pareto", "scale": PIXEL_RATIO},
    }
)
# The policy lets the page run what is written in it and load nothing from anywhere.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>html, body {{ margin: 0; height: 100%; min-width: 700px; min-height: 480px; background: white; }}</style>
</head>
<body>
{body}
</body>
</html>
"""


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """The table with a header line; what is unknown is left empty.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    safe = frame.copy()
    for name in frame.columns[frame.dtypes == "string"]:
        safe[name] = frame[name].str.replace(r"^(?=[=+\-@\t\r])", "'", regex=True)
    text: str = safe.to_csv(index=False, lineterminator="\n")
    return text.encode()


def html_bytes(figure: go.Figure, title: str) -> bytes:
    """A page with the figure and all that draws it."""
    body = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        include_mathjax=False,
        div_id="figure",
        default_height="100%",
        config=dict(PAGE_CONFIG),
    )
    return PAGE.format(title=escape(title), body=body).encode()


def png_bytes(figure: go.Figure) -> bytes:
    """A still picture, drawn by Chrome or Chromium; nothing is fetched from a network.

    Raises:
        MissingPackageError: kaleido is absent.
        NasError: no browser was found, or it did not draw.
    """
    kaleido, errors = _import_kaleido()
    options = {"format": "png", "width": WIDTH_PX, "height": HEIGHT_PX, "scale": PIXEL_RATIO}
    try:
        # MathJax would be fetched from outside, and no text needs it.
        return bytes(kaleido.calc_fig_sync(figure, options, kopts={"mathjax": False, "timeout": PATIENCE_SECONDS}))
    except errors.ChromeNotFoundError:
        raise NasError(
            "a PNG is drawn by Chrome or Chromium, and none was found",
            "install one (`apt install chromium`, or `kaleido_get_chrome`), or name it in BROWSER_PATH",
        ) from None
    except (RuntimeError, TimeoutError, OSError, errors.KaleidoError) as error:
        raise NasError(
            f"the browser did not draw the PNG: {type(error).__name__}: {error.args[0] if error.args else ''}",
            "name another one in BROWSER_PATH, or write --html and save the picture from the page",
        ) from None


def _import_kaleido() -> tuple[Any, Any]:
    """Kaleido and its errors."""
    try:
        return import_module("kaleido"), import_module("kaleido.errors")
    except ImportError:
        raise MissingPackageError("a PNG is drawn by kaleido, which is absent", "pip install 'hwnas[png]'") from None


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """See `csv_bytes`; the file is whole or not there."""
    write_atomically(path, csv_bytes(frame))


def write_html(path: Path, figure: go.Figure, title: str) -> None:
    """See `html_bytes`; the file is whole or not there."""
    write_atomically(path, html_bytes(figure, title))


def write_png(path: Path, figure: go.Figure) -> None:
    """See `png_bytes`; the file is whole or not there."""
    write_atomically(path, png_bytes(figure))
