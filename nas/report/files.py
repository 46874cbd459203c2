"""Files of tables and figures: CSV, HTML pages that work without a network, PNG images and SVG drawings."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from nas.errors import MissingPackageError, NasError
from nas.output_kinds import DRAWING, PAGE, PICTURE, TRIALS, write_output
from nas.report.pages import figure_block, render
from nas.report.theme import HEIGHT_PX, WIDTH_PX

if TYPE_CHECKING:
    import pandas as pd

PIXEL_RATIO = 2
TIMEOUT_SECONDS = 90


def csv_bytes(frame: "pd.DataFrame") -> bytes:
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


def html_bytes(figure: go.Figure, title: str, alt_text: str = "") -> bytes:
    """Return an HTML page with the figure and the script that draws it.

    Args:
        figure: Figure to show.
        title: Title of the page.
        alt_text: What the figure shows, for readers who cannot see it; "" takes the title.

    Example:
        >>> page = html_bytes(go.Figure(), "demo")
        >>> b"<title>demo</title>" in page
        True
    """
    return render("figure_page.html.jinja", title=title, body=figure_block(figure, "figure", alt_text or title))


def png_bytes(figure: go.Figure) -> bytes:
    """Return the figure as a PNG image, which Chrome or Chromium draws without loading anything from a network.

    Raises:
        MissingPackageError: The package kaleido is not installed.
        NasError: No browser was found, or the browser failed.
    """
    return _draw(figure, "png", "a PNG image")


def svg_bytes(figure: go.Figure) -> bytes:
    """Return the figure as an SVG drawing; see `png_bytes`."""
    return _draw(figure, "svg", "an SVG drawing")


def _draw(figure: go.Figure, form: str, what: str) -> bytes:
    kaleido, errors = _import_kaleido(what)
    options = {"format": form, "width": WIDTH_PX, "height": HEIGHT_PX, "scale": PIXEL_RATIO if form == "png" else 1}
    try:
        # MathJax would be loaded from the network, and no text of the figures needs it.
        return bytes(kaleido.calc_fig_sync(figure, options, kopts={"mathjax": False, "timeout": TIMEOUT_SECONDS}))
    except errors.ChromeNotFoundError:
        raise NasError(
            f"neither Chrome nor Chromium was found; Chrome or Chromium is needed to draw {what}",
            "install one (`apt install chromium`, or `kaleido_get_chrome`), or set BROWSER_PATH to its path",
        ) from None
    except (RuntimeError, TimeoutError, OSError, errors.KaleidoError) as error:
        raise NasError(
            f"the browser did not draw {what}: {type(error).__name__}: {error.args[0] if error.args else ''}",
            "set BROWSER_PATH to another browser, or use --html and save the image from the page",
        ) from None


def _import_kaleido(what: str) -> tuple[Any, Any]:
    """Return the modules `kaleido` and `kaleido.errors`."""
    try:
        return import_module("kaleido"), import_module("kaleido.errors")
    except ImportError:
        raise MissingPackageError(
            f"the package kaleido is not installed; it is needed to draw {what}", "pip install 'hwnas[png]'"
        ) from None


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write a table as CSV; see `csv_bytes` and `write_output`."""
    write_output(path, csv_bytes(frame), TRIALS)


def write_html(path: Path, figure: go.Figure, title: str, alt_text: str = "") -> None:
    """Write a figure as an HTML page; see `html_bytes` and `write_output`."""
    write_output(path, html_bytes(figure, title, alt_text), PAGE)


def write_png(path: Path, figure: go.Figure) -> None:
    """Write a figure as a PNG image; see `png_bytes` and `write_output`."""
    write_output(path, png_bytes(figure), PICTURE)


def write_svg(path: Path, figure: go.Figure) -> None:
    """Write a figure as an SVG drawing; see `svg_bytes` and `write_output`."""
    write_output(path, svg_bytes(figure), DRAWING)
