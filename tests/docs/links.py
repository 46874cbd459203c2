"""Links of Markdown pages, and the anchors of their headings as code hosts make them."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from attrs import frozen
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.cli.conftest import ROOT

EXTERNAL = re.compile(r"(https://[a-z0-9.-]+\.[a-z]{2,}(/[^\s]*)?|mailto:\S+@\S+)")
_PARSER = MarkdownIt("commonmark").enable("table")


@frozen
class Link:
    """Hold a link or a picture of a page.

    Attributes:
        page: Path of the page.
        line: Number of a line near it.
        target: Where it leads to.
    """

    page: Path
    line: int
    target: str


def pages() -> list[Path]:
    """Return all pages of the repository."""
    return [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "experiments").rglob("*.md")), *ROOT.glob("*.md")]


def links(page: Path) -> Iterator[Link]:
    """Yield the links and pictures of a page."""
    for token in _PARSER.parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            target = child.attrs.get("href", child.attrs.get("src"))
            if target is not None:
                yield Link(page, (token.map or [0])[0] + 1, str(target))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    tokens = _PARSER.parse(page.read_text(encoding="utf-8"))
    titles = [_plain(text) for token, text in pairwise(tokens) if token.type == "heading_open"]
    found, seen = set(), Counter[str]()
    for title in titles:
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def _plain(token: Token) -> str:
    return "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))


def problem(link: Link) -> str:
    """Return what is wrong with a link, "" if nothing is."""
    if re.match(r"[a-z]+:", link.target):
        return "" if EXTERNAL.fullmatch(link.target) else "it is no address that begins with https://"
    path, _, anchor = link.target.partition("#")
    file = (link.page.parent / path).resolve() if path else link.page
    if not file.is_relative_to(ROOT) or not file.exists():
        return "there is no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file)):
        return f"{file.name} has no heading {anchor}"
    return "" if file.is_file() or "docs" not in link.page.parts else "the site cannot show a folder"
