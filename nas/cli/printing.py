"""Tables and JSON on standard output."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, title: str = "") -> None:
    """A table as wide as its content; the first `left` columns are aligned left, the others right."""
    lines = [tuple(headers), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    if title:
        click.echo(title)
    for line in lines:
        cells = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        click.echo("  ".join(cells).rstrip())


def print_json(data: Any) -> None:
    """One JSON document, with figures in their plain units."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def percent(share: float | None) -> str:
    """A share as a percentage, "-" where it is unknown."""
    return "-" if share is None else f"{100 * share:.2f}%"


def number(value: float | None, digits: int = 4) -> str:
    """A figure, "-" where it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}"


def millions(value: float | None) -> str:
    """A count in millions, "-" where it is unknown."""
    return "-" if value is None else f"{value / 1e6:,.2f}M"
