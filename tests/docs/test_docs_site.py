"""The site is built without warnings, works without a network, and its search finds the page that answers first."""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import ROOT
from tests.report.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["chromium"]
# What a user types, and the page that should be the first result.
SEARCHES = {
    "int8": "docs/int8",
    "resume": "docs/after_a_crash",
    "crash": "docs/after_a_crash",
    "own data": "docs/own_data",
    "photographs": "docs/tutorial",
    "few images": "docs/few_images",
    "ssh": "docs/own_device",
    "jupyter": "docs/jupyter",
    "ray": "docs/cluster",
    "nas export": "docs/cli",
    "nas.search": "docs/api",
    "DataError": "docs/errors",
    "journal": "docs/formats",
}
# Parts of a page that a browser fetches; links are not among them.
FETCHED = re.compile(r"""<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"' >]+""")


@pytest.mark.slow
def test_the_site_is_built_works_offline_and_answers_searches(chromium: "Browser", tmp_path: Path) -> None:
    if find_spec("sphinx") is None:
        end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        end("the packages of the extra docs are not installed")
    site = tmp_path / "site"
    built = subprocess.run([ROOT / "scripts" / "docs", site], capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    assert re.search(r"^\d+ pages, [\d.]+M$", built.stdout, re.MULTILINE)
    for file in site.rglob("*.html"):
        assert FETCHED.findall(file.read_text(encoding="utf-8")) == []
    page = chromium.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert {words: first_result(page, site, words) for words in SEARCHES} == SEARCHES
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/docs/index.html")
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
    page.close()


def first_result(page: "Page", site: Path, words: str) -> str:
    """Return the page that the search of the site lists first, without its anchor and ending."""
    page.goto(f"{(site / 'search.html').as_uri()}?q={words.replace(' ', '+')}")
    result = page.locator("#search-results li a").first
    result.wait_for()
    address = result.get_attribute("href") or ""
    return address.partition("#")[0].removesuffix(".html")
