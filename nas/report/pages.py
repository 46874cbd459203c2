"""Pages that work without a network: the shell of every HTML page, and figures that it draws.

A page loads nothing. Its content security policy allows the scripts that it was written with, by their hashes, and no
others. Figures are stored as JSON and drawn by plotly's basic bundle, which is in the page once.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.errors import NasError
from nas.report.theme import DARK, css_variables
from nas.version import __version__

BUNDLE_VERSION = "4.1.1"  # of plotly.js, which is the one of plotly.py 7.1.0
BUNDLE_SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
BASIC_TRACES = ("scatter", "bar", "pie")  # what the basic bundle can draw
# Digits of the numbers in a figure: more cannot be seen, and would make pages of many trials larger.
_DIGITS = 7
_IDENTIFIER = re.compile(r"[A-Za-z][\w-]*\Z", re.ASCII)


def figure_block(figure: go.Figure, id: str, alt_text: str, *, height_px: int = 480) -> Markup:  # noqa: A002
    """Return a figure as HTML for a page of `render`: its title as text, the drawing, and a text alternative.

    The drawing has the width of its place and changes with it.

    Args:
        figure: Figure with a layout of `nas.report.theme.layout`, whose traces are all of `BASIC_TRACES`.
        id: Identifier of the figure in the page: a letter, then letters, digits, hyphens and underscores.
        alt_text: What the figure shows, in sentences, for readers who cannot see it.
        height_px: Height of the drawing in pixels on a wide screen.

    Raises:
        NasError: The figure has a trace that the bundle cannot draw, or the identifier has another form.

    Example:
        >>> block = figure_block(go.Figure(go.Scatter(x=[1], y=[2])), "front", "One point & no more.")
        >>> "One point &amp; no more." in block
        True
    """
    if not _IDENTIFIER.match(id):
        raise NasError(f"{id!r} cannot be the identifier of a figure", "begin it with a letter and use no spaces")
    if unknown := sorted({trace.type for trace in figure.data} - {*BASIC_TRACES}):
        raise NasError(f"a page cannot draw {', '.join(unknown)}", f"use {', '.join(BASIC_TRACES)}")
    drawn = figure.to_plotly_json()
    meta = drawn["layout"].get("meta") or {}
    return Markup(  # noqa: S704 - the template escapes what it is given
        _environment()
        .get_template("figure.html.jinja")
        .render(
            id=id,
            title=meta.get("title", ""),
            subtitle=meta.get("subtitle", ""),
            alt_text=alt_text,
            height_px=height_px,
            data=script_json({"data": drawn["data"], "layout": drawn["layout"]}),
        )
    )


def render(
    template: str = "base.html.jinja",
    *,
    title: str,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    has_figures: bool = True,
    **values: Any,
) -> bytes:
    """Return a page.

    Args:
        template: Name of a template in `nas/report/templates`; others than the base extend it.
        title: Title of the page, as plain text.
        scripts: Scripts of the page's own, which run after the bundle and before figures are drawn.
        styles: Style sheets of the page's own.
        has_figures: Whether the page has figures, so that it needs the bundle.
        **values: Values that the template uses. Texts are escaped; `Markup` is not.

    Example:
        >>> page = render(title="a <b>", body="text", has_figures=False)
        >>> b"<title>a &lt;b&gt;</title>" in page
        True
    """
    used = (*((bundle(),) if has_figures else ()), *scripts, *((asset("figures.js"),) if has_figures else ()))
    page = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            version=__version__,
            policy=Markup(_policy(used)),  # noqa: S704 - it holds hashes and no text of a user
            scripts=[Markup(script) for script in used],  # noqa: S704 - they are files of this package
            styles=[Markup(style) for style in (css_variables(), asset("page.css"), *styles)],  # noqa: S704
            theme=script_json({"dark": {light.lower(): dark for light, dark in DARK.items()}}),
            **values,
        )
    )
    return page.encode("utf-8", "replace")


def asset(name: str) -> str:
    """Return the text of a style sheet or script of this package."""
    return (files("nas.report") / "assets" / name).read_text(encoding="utf-8")


def plain(text: str) -> str:
    r"""Return a text without control characters, as names from databases may hold them; line breaks and spaces stay.

    >>> plain("a\x07b\n")
    'a\\x07b\n'
    """
    if text.isprintable():
        return text
    return "".join(
        # A space that does not break a line is not "printable" in the sense of Python.
        one if one.isprintable() or one in "\n\N{NO-BREAK SPACE}" else one.encode("unicode_escape", "replace").decode()
        for one in text
    )


@cache
def bundle() -> str:
    """Return plotly's basic bundle."""
    return asset("plotly/plotly-basic.min.js")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("nas.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _policy(scripts: Sequence[str]) -> str:
    """Return the content security policy of a page; plotly sets styles of its own."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{each}'" for each in hashes) or "'none'"
    rules = ("default-src 'none'", f"script-src {allowed}", "style-src 'unsafe-inline'", "img-src data: blob:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def script_json(value: Any) -> Markup:
    """Return JSON that may stand in a script element: nothing in it can end the element."""
    text = json.dumps(_rounded(value), ensure_ascii=False, separators=(",", ":"), default=_plain)
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Markup(text)  # noqa: S704 - see above


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        # JSON has neither infinity nor NaN; plotly leaves a point without a value out.
        return float(f"{value:.{_DIGITS}g}") if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value


def _plain(value: Any) -> Any:
    """Return an array, or a number of numpy, as lists and numbers of Python."""
    return _rounded(value.tolist())
