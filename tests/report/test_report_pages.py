"""Tests of the page shell and of the figures in it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

import numpy as np
import plotly
import plotly.graph_objects as go
import pytest
from markupsafe import Markup

from nas.errors import NasError
from nas.report import pages, theme

ASSETS = Path(pages.__file__).parent / "assets"
HOSTILE = "</script><script>alert(1)</script><!-- \"'&\u2028"


class Elements(HTMLParser):
    """Collect the elements of a page with their attributes and texts."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        self.open = True

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[-1][2].append(data)

    def scripts(self, *, run: bool) -> list[str]:
        """Return the scripts that a browser runs, or those that hold data."""
        return ["".join(text) for tag, attrs, text in self.found if tag == "script" and ("type" not in attrs) == run]


def figure(title: str = "demo") -> go.Figure:
    made = go.Figure(go.Scatter(x=[1.0, 2.0], y=[1 / 3, float("nan")], name=title, marker={"color": theme.BLUE}))
    return made.update_layout(theme.layout(title, "subtitle"), xaxis=theme.axis(title))


def page(title: str = "demo") -> bytes:
    return pages.render(title=title, body=pages.figure_block(figure(title), "one", f"text of {title}"))


def policy(made: bytes) -> str:
    return next(
        attrs["content"] or ""
        for tag, attrs, _ in Elements(made).found
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )


def test_the_bundle_is_the_published_one_of_the_version_that_plotly_has() -> None:
    data = (ASSETS / "plotly" / "plotly-basic.min.js").read_bytes()
    assert hashlib.sha256(data).hexdigest() == pages.BUNDLE_SHA256
    assert f"plotly.js (basic - minified) v{pages.BUNDLE_VERSION}".encode() in data[:200]
    assert (ASSETS / "plotly" / "LICENSE").read_text().startswith("MIT License")
    if version("plotly") == "7.1.0":
        whole = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
        assert f"plotly.js v{pages.BUNDLE_VERSION}\n" in whole[:200]


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else() -> None:
    made = pages.render(title="demo", body=Markup("<p>x</p>"), scripts=["let own = 'é';"])
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in Elements(made).scripts(run=True)
    ]
    assert len(digests) == 3  # the bundle, the script of this page, and the one that draws
    rules = dict(rule.split(" ", 1) for rule in policy(made).split("; "))
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_a_page_without_figures_has_no_bundle() -> None:
    made = pages.render(title="demo", body="text", has_figures=False)
    assert len(made) < 10_000
    assert "script-src 'none'" in policy(made)


def test_pages_are_the_same_each_time() -> None:
    assert page() == page()


def test_hostile_texts_stay_texts() -> None:
    made = page(HOSTILE)
    assert Elements(made).scripts(run=True) == Elements(page()).scripts(run=True)
    assert len(Elements(made).found) == len(Elements(page()).found)
    data, _ = Elements(made).scripts(run=False)
    assert json.loads(data)["data"][0]["name"] == HOSTILE
    assert b"alert(1)" in made
    assert b"<script>alert" not in made


def test_numbers_are_rounded_and_those_without_a_value_are_null() -> None:
    stored = json.loads(Elements(page()).scripts(run=False)[0])
    assert stored["data"][0]["y"] == [0.3333333, None]
    arrays = go.Figure(go.Scatter(x=np.arange(3), y=[1, 2, 3]))
    assert b'"bdata"' in pages.render(title="x", body=pages.figure_block(arrays, "one", "text"))


def test_a_trace_that_the_bundle_lacks_is_refused() -> None:
    with pytest.raises(NasError, match="cannot draw heatmap") as raised:
        pages.figure_block(go.Figure(go.Heatmap(z=[[1]])), "one", "text")
    assert "scatter" in raised.value.remedy


@pytest.mark.parametrize("id", ["", "1", "a b", 'a"', "a\n", "é"])
def test_an_identifier_of_another_form_is_refused(id: str) -> None:  # noqa: A002
    with pytest.raises(NasError, match="identifier"):
        pages.figure_block(figure(), id, "text")


def test_a_figure_has_its_title_and_its_text_beside_it() -> None:
    made = page("a <b>").decode()
    assert re.search(r"<figcaption>.*a &lt;b&gt;.*subtitle", made, re.DOTALL)
    assert re.search(r'aria-describedby="one-alt".*id="one-alt">text of a &lt;b&gt;<', made, re.DOTALL)
