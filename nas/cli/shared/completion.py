"""Completion of presets and search spaces in shells, beside the names of commands, options and files."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "nas"
VARIABLE = "_NAS_COMPLETE"  # of the environment: a shell's request for completions


def complete_architecture(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> "list[CompletionItem[str]]":
    """Return the presets that begin so, else the shell's own completion of files."""
    from nas.arch.presets import preset_names

    return _names_or_files(preset_names(), begun)


def complete_space(_context: click.Context, _parameter: click.Parameter, begun: str) -> "list[CompletionItem[str]]":
    """Return the search spaces that begin so, else the shell's own completion of files."""
    from nas.space.files import space_names

    return _names_or_files(space_names(), begun)


def _names_or_files(names: Iterable[str], begun: str) -> "list[CompletionItem[str]]":
    from click.shell_completion import CompletionItem

    found = [CompletionItem(name) for name in names if name.startswith(begun)]
    return found or [CompletionItem(begun, type="file")]
