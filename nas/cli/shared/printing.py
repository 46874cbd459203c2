"""Tables and JSON on standard output."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

import click

from nas.cli.shared.completion import PROGRAM
from nas.cli.shared.streams import escape, json_text
from nas.report.commands import shell_word
from nas.studies.defaults import DEFAULT_STORAGE

_OUT = f"{__name__}.out"  # key of `click.Context.meta`
_STDOUT, _STDERR = 1, 2
SMALL_COUNT = 1e5


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
    return escape(text)


def print_json(data: Any) -> None:
    """Print one JSON document, with figures in their plain units; see `json_alone`."""
    context = click.get_current_context(silent=True)
    out = None if context is None else context.meta.get(_OUT)
    click.echo(json_text(data, out or sys.stdout, indent=2), file=out)


@contextmanager
def json_alone(context: click.Context) -> Iterator[None]:
    """Let nothing but `print_json` write to standard output, if the command has `--json`.

    What a user's code, a library or another process prints goes to standard error instead, whether it prints with
    Python or to the file descriptor.
    """
    if not context.params.get("as_json") or _OUT in context.meta:
        yield
        return
    with _kept_output(sys.stdout) as context.meta[_OUT], redirect_stdout(sys.stderr):
        yield


@contextmanager
def _kept_output(usual: TextIO | None) -> Iterator[TextIO]:
    """Return standard output under another descriptor, while its usual descriptor leads to standard error."""
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # it is closed, and must not become the descriptor of the next file that is opened
        kept = os.open(os.devnull, os.O_WRONLY)
    own = usual
    if own is None or _descriptor(own) == _STDOUT:  # otherwise a test has replaced it
        encoding, errors = (None, None) if own is None else (own.encoding, own.errors)
        own = os.fdopen(os.dup(kept), "w", encoding=encoding, errors=errors)
    try:
        with suppress(OSError):  # standard error may be closed too
            os.dup2(_STDERR, _STDOUT)
        yield own
    finally:
        _flush_libraries()
        os.dup2(kept, _STDOUT)
        os.close(kept)
        if own is not usual:
            own.close()


def _descriptor(stream: TextIO) -> int:
    with suppress(OSError, ValueError):
        return stream.fileno()
    return -1


def _flush_libraries() -> None:
    """Write what libraries in C have printed and still hold."""
    import ctypes

    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)


def say(message: str) -> None:
    """Print a sentence on standard error."""
    click.echo(escape(message, kept="\n"), err=True)


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
    return " ".join(map(shell_word, (*program(), *words, *at)))


def percent(share: float | None) -> str:
    """Return a share as a percentage, "-" if it is unknown."""
    return "-" if share is None else f"{100 * share:.2f}%"


def number(value: float | None, digits: int = 4) -> str:
    """Return a figure, "-" if it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}"


def millions(value: float | None) -> str:
    """Return a count in millions, or in thousands if it is below a tenth of a million; "-" if it is unknown."""
    if value is None:
        return "-"
    return f"{value / 1e6:,.2f}M" if value >= SMALL_COUNT else f"{value / 1e3:.2f}k"
