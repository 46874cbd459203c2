"""The help pages of all commands; run as a module it writes the golden files."""

from collections.abc import Iterator, Mapping

import click

from nas.cli.main import nas
from tests.cli.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "help"
COLUMNS = 80
MARGIN = 2  # columns that click leaves free at the right edge of a terminal


def contexts(columns: int = COLUMNS) -> dict[str, click.Context]:
    """Return a context for each command and group by its words, such as "nas latency table"."""
    return dict(
        _below(nas.context_class(nas, info_name="nas", terminal_width=columns - MARGIN, **nas.context_settings))
    )


def _below(context: click.Context) -> Iterator[tuple[str, click.Context]]:
    yield context.command_path, context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            yield from _below(command.context_class(command, parent=context, info_name=name))


def pages(columns: int = COLUMNS) -> dict[str, str]:
    """Return the help pages by the names of their golden files."""
    return {file_name(words): f"{context.get_help()}\n" for words, context in contexts(columns).items()}


def file_name(words: str) -> str:
    """Return the name of the golden file of a command."""
    return f"{words.replace(' ', '-')}.txt"


def write(found: Mapping[str, str]) -> None:
    """Write the golden files, and remove those of commands that no longer exist."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for path in GOLDEN.glob("*.txt"):
        path.unlink()
    for name, page in found.items():
        (GOLDEN / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write(pages())
