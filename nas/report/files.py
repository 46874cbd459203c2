"""Files of tables and figures: CSV, HTML pages that work without a network, and PNG images."""

from collections.abc import Mapping
from html import escape
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nas.errors import MissingPackageError, NasError
from nas.output_kinds import PAGE as HTML_PAGE
from nas.output_kinds import PICTURE, TRIALS, write_output
from nas.report.pareto import HEIGHT_PX, WIDTH_PX

PIXEL_RATIO = 2
TIMEOUT_SECONDS = 90
# Plotly's button for sharing a chart would upload the chart, so it is removed.
PAGE_CONFIG: Mapping[str, Any] = MappingProxyType(
    {
        "responsive": True,
        "displaylogo": False,
        "showSendToCloud": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d"],
        "toImageButtonOptions": {"filename": "pareto", "scale": PIXEL_RATIO},
    }
)
# The content security policy allows the scripts in the page, and forbids loading anything from another place.
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
    """Return a table as CSV with a header line; unknown values are empty.

    A text that a spreadsheet would execute as a formula is prefixed with an apostrophe.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"trial": [0, 1], "label": pd.array(["net", "=1+1"], dtype="string")})
        >>> print(csv_bytes(frame).decode(), end="")
        trial,label
        0,net
        1,'=1+1
    """
    safe = frame.copy()
    for name in frame.columns[frame.dtypes == "string"]:
        safe[name] = frame[name].str.replace(r"^(?=[=+\-@\t\r])", "'", regex=True)
    text: str = safe.to_csv(index=False, lineterminator="\n")
    return text.encode()


def html_bytes(figure: go.Figure, title: str) -> bytes:
    """Return an HTML page with the figure and the script that draws it.

    Args:
        figure: Figure to show.
        title: Title of the page.

    Example:
        >>> page = html_bytes(go.Figure(), "demo")
        >>> b"<title>demo</title>" in page
        True
    """
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
    """Return the figure as a PNG image, which Chrome or Chromium draws without loading anything from a network.

    Raises:
        MissingPackageError: The package kaleido is not installed.
        NasError: No browser was found, or the browser failed.
    """
    kaleido, errors = _import_kaleido()
    options = {"format": "png", "width": WIDTH_PX, "height": HEIGHT_PX, "scale": PIXEL_RATIO}
    try:
        # MathJax would be loaded from the network, and no text of the figures needs it.
        return bytes(kaleido.calc_fig_sync(figure, options, kopts={"mathjax": False, "timeout": TIMEOUT_SECONDS}))
    except errors.ChromeNotFoundError:
        raise NasError(
            "neither Chrome nor Chromium was found; Chrome or Chromium is needed to draw a PNG image",
            "install one (`apt install chromium`, or `kaleido_get_chrome`), or set BROWSER_PATH to its path",
        ) from None
    except (RuntimeError, TimeoutError, OSError, errors.KaleidoError) as error:
        raise NasError(
            f"the browser did not draw the PNG image: {type(error).__name__}: {error.args[0] if error.args else ''}",
            "set BROWSER_PATH to another browser, or use --html and save the image from the page",
        ) from None


def _import_kaleido() -> tuple[Any, Any]:
    """Return the modules `kaleido` and `kaleido.errors`."""
    try:
        return import_module("kaleido"), import_module("kaleido.errors")
    except ImportError:
        raise MissingPackageError(
            "the package kaleido is not installed; it is needed to draw a PNG image", "pip install 'hwnas[png]'"
        ) from None


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV; see `csv_bytes` and `write_output`."""
    write_output(path, csv_bytes(frame), TRIALS)


def write_html(path: Path, figure: go.Figure, title: str) -> None:
    """Write a figure as an HTML page; see `html_bytes` and `write_output`."""
    write_output(path, html_bytes(figure, title), HTML_PAGE)


def write_png(path: Path, figure: go.Figure) -> None:
    """Write a figure as a PNG image; see `png_bytes` and `write_output`."""
    write_output(path, png_bytes(figure), PICTURE)
