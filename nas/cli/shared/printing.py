"""Tables and JSON on standard output."""

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from nas.cli.shared.completion import PROGRAM
from nas.studies.defaults import DEFAULT_STORAGE


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, title: str = "") -> None:
    """Print a table that is as wide as its content.

    Args:
        headers: Title of each column.
        rows: Cells of each row.
        left: Number of columns, from the first, that are aligned left; the others are aligned right.
        title: Line above the table.
    """
    lines = [tuple(map(plain, line)) for line in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    if title:
        click.echo(title)
    for line in lines:
        cells = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        click.echo("  ".join(cells).rstrip())


def plain(text: str) -> str:
    """Return a text in one line and without control characters: files and databases may come from strangers."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def print_json(data: Any) -> None:
    """Print one JSON document, with figures in their plain units; one that is not finite is null, as JSON has none."""
    click.echo(json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(data: Any) -> Any:
    """Return JSON values with None instead of numbers that are infinite or not a number."""
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def say(message: str) -> None:
    """Print a sentence on standard error."""
    click.echo(message, err=True)


def program() -> tuple[str, ...]:
    """Return the words by which this command line was started: `nas`, or `python -m nas`."""
    context = click.get_current_context(silent=True)
    root = None if context is None else context.find_root()
    # A test or a user's program may run a command without the group around it, under any name.
    return tuple(root.info_name.split()) if root and root.info_name and root.command.name == PROGRAM else (PROGRAM,)


def next_command(*words: str, storage: str = DEFAULT_STORAGE) -> str:
    """Return a command of `nas` that can be pasted into a shell.

    Args:
        words: Verb and arguments, not yet quoted for a shell.
        storage: URL of the study's storage. Its passwords are left out, for the user to fill in.
    """
    from nas.studies.urls import without_password

    at = () if storage == DEFAULT_STORAGE else ("--storage", without_password(storage))
    return shlex.join((*program(), *words, *at))


def percent(share: float | None) -> str:
    """Return a share as a percentage, "-" if it is unknown."""
    return "-" if share is None else f"{100 * share:.2f}%"


def number(value: float | None, digits: int = 4) -> str:
    """Return a figure, "-" if it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}"


def millions(value: float | None) -> str:
    """Return a count in millions, "-" if it is unknown."""
    return "-" if value is None else f"{value / 1e6:,.2f}M"
