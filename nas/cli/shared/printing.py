"""Tables and JSON on standard output."""

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import click

from nas.studies.defaults import DEFAULT_STORAGE


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, title: str = "") -> None:
    """A table as wide as its content; the first `left` columns are aligned left, the others right."""
    lines = [tuple(map(plain, line)) for line in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    if title:
        click.echo(title)
    for line in lines:
        cells = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        click.echo("  ".join(cells).rstrip())


def plain(text: str) -> str:
    """A text from a file or a database in one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def print_json(data: Any) -> None:
    """One JSON document, with figures in their plain units."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def next_command(*words: str, storage: str) -> str:
    """A command of `nas` that can be pasted into a shell.

    Args:
        words: the verb and its arguments, as they are before a shell reads them.
        storage: where the study is; its passwords are left for the user to fill in.
    """
    from nas.studies.urls import without_password

    at = () if storage == DEFAULT_STORAGE else ("--storage", without_password(storage))
    return shlex.join(("nas", *words, *at))


def percent(share: float | None) -> str:
    """A share as a percentage, "-" where it is unknown."""
    return "-" if share is None else f"{100 * share:.2f}%"


def number(value: float | None, digits: int = 4) -> str:
    """A figure, "-" where it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}"


def millions(value: float | None) -> str:
    """A count in millions, "-" where it is unknown."""
    return "-" if value is None else f"{value / 1e6:,.2f}M"
