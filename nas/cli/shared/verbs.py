"""Commands and groups of commands as all of `nas` has them: help pages by group of options, `--quiet`, `--verbose`."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import click

from nas.cli.shared.groups import write_groups
from nas.cli.shared.printing import json_alone
from nas.cli.shared.verbosity import verbosity, verbosity_options

_UNBROKEN = "\u2011"  # the non-breaking hyphen, in place of the usual one while lines are broken


class PageFormatter(click.HelpFormatter):
    """Format help pages and break no line inside a word with a hyphen, such as the name of an option."""

    def write_text(self, text: str) -> None:
        """Write a text; see `click.HelpFormatter`."""
        super().write_text(text.replace("-", _UNBROKEN))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a list of names with their texts; see `click.HelpFormatter`."""
        super().write_dl([(name, text.replace("-", _UNBROKEN)) for name, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """Return the page."""
        return super().getvalue().replace(_UNBROKEN, "-")


class PageContext(click.Context):
    """Represent a context whose help page is written by a `PageFormatter`."""

    formatter_class = PageFormatter

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        # Stated here and not only at the outermost group: click keeps the help option with a command, and so a command
        # that is called alone for the first time, as by a test, would be without -h for the rest of the process.
        super().__init__(*arguments, **{"help_option_names": ["-h", "--help"], **settings})


class Verb(click.Command):
    """Represent a command whose help page lists its options by group, with `--quiet` and `--verbose` among them."""

    context_class = PageContext

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.extend(verbosity_options())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; write as much to standard error as was asked for, and JSON alone to standard output."""
        with verbosity(ctx), json_alone(ctx):
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group of options."""
        write_groups(self, ctx, formatter)


class Verbs(click.Group):
    """Represent a group of commands, each of them the `command` of a module that is imported only when it is needed.

    Args:
        verbs: Name of the module by verb, in the order of the help page.
        settings: Settings of `click.Group`.
    """

    context_class = PageContext

    def __init__(self, *, verbs: Mapping[str, str], **settings: Any) -> None:
        super().__init__(**settings)
        self.verbs = verbs
        self.params.extend(verbosity_options())

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return all verbs in the order of the help page."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of a verb, None where there is no such verb."""
        if cmd_name not in self.verbs:
            return None
        command: click.Command = import_module(self.verbs[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the group and its command; options before the verb decide what is printed, as those behind it do."""
        with verbosity(ctx), json_alone(ctx):
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group of options, then the commands."""
        write_groups(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their whole summaries; click would cut those that are longer than a line."""
        commands = ((verb, self.get_command(ctx, verb)) for verb in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary(command)) for verb, command in commands if command is not None])


def summary(command: click.Command) -> str:
    """Return the first paragraph of a command's help."""
    return " ".join((command.help or "").strip().partition("\n\n")[0].split())
