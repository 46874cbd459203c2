"""Markdown from texts of the code: what is special in Markdown is escaped, except in code between backticks."""

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`[^`]*`)")
_SPECIAL = re.compile(r"([\\*<\[\]|~$])|(?<!\w)_|_(?!\w)")


def escape(text: str) -> str:
    """Return a text in one line whose characters mean themselves."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if index % 2 else _SPECIAL.sub(r"\\\g<0>", part) for index, part in enumerate(parts))


def code(text: str) -> str:
    """Return a text as code within a line."""
    return f"`{text}`" if "`" not in text else f"`` {text} ``"


def fence(language: str, text: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```"


def bullets(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of names with their texts."""
    return "\n".join(f"- {code(name)}: {text}" for name, text in rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of escaped texts."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(*parts: str) -> str:
    """Return a page of parts with an empty line between them."""
    return "\n\n".join(filter(None, parts)) + "\n"


def link(title: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    return "#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
