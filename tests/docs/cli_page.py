"""The page of all commands, made from the commands themselves."""

import inspect
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import click

from nas.arch.presets import preset_names
from nas.cli.shared import exits
from nas.cli.shared.groups import Group, group_of
from nas.cli.shared.verbs import summary
from tests.cli.help_pages import contexts
from tests.docs.markdown import bullets, code, escape, fence, link, page, table

INTRODUCTION = """\
This page is made from the commands; `nas COMMAND --help` prints the same texts. `ARCH` is the name of a
[preset](#presets), a file with its [text or JSON form](formats.md#architecture), a folder of `nas train`, or
`study:NAME` with `:best`, `:trial=17` or `:pareto=2`. Studies are kept in `nas.db` in the working directory, or at the
URL that `--storage` names.

With `--json`, standard output holds one JSON object and nothing else, and an error is one line of JSON on standard
error ([JSON output](formats.md#json-output)). Every command also takes the options of [`nas`](#nas) below, `--quiet`,
`--verbose` and `--help`; they are not repeated."""
STATUSES: Mapping[int, str] = MappingProxyType(
    {
        0: "The command did what it was asked for.",
        exits.FAILED: "An error occurred, which standard error explains.",
        exits.USAGE: "The words of the command line cannot be used.",
        exits.TARGET_MISSED: "`nas search` ended, and none of the networks that it measured on the device meets the "
        "target.",
        exits.INTERRUPTED: "Ctrl-C ended the command.",
    }
)
REPEATED = {"quiet", "verbose", "help"}  # options that every command has


def cli_page() -> str:
    """Return the page."""
    found = contexts()
    summaries = ((f"[`{words}`]({link(words)})", escape(summary(one.command))) for words, one in found.items())
    return page(
        "# Command line",
        INTRODUCTION,
        table(("Command", "What it does"), summaries),
        "## Exit status",
        "An error is explained on standard error; [Error messages](errors.md) lists the messages.",
        table(("Status", "Meaning"), ((str(status), meaning) for status, meaning in STATUSES.items())),
        "## Presets",
        f"{', '.join(map(code, preset_names()))}. `nas show NAME` shows one of them.",
        *(part for words, one in found.items() for part in _command(words, one)),
    )


def _command(words: str, context: click.Context) -> Iterator[str]:
    yield f"## {words}"
    command = context.command
    pieces = command.collect_usage_pieces(context)
    yield fence("text", " ".join((words, *pieces)))
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield _paragraph(paragraph)
    if isinstance(command, click.Group) and context.parent is not None:
        below = [f"{words} {name}" for name in command.list_commands(context)]
        yield "Commands: " + ", ".join(f"[`{name}`]({link(name)})" for name in below) + "."
    for group, rows in _groups(context).items():
        yield f"**{group}**"
        yield bullets(rows)
    yield _paragraph(inspect.cleandoc(command.epilog or ""))


def _paragraph(text: str) -> str:
    """Return a paragraph of a help text; click keeps the lines of one that begins with a backspace character."""
    if not text.startswith("\b"):
        return escape(text)
    title, *lines = text.removeprefix("\b").strip().splitlines()
    return f"{escape(title)}\n\n{fence('console', inspect.cleandoc(chr(10).join(lines)))}" if lines else escape(title)


def _groups(context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Return names and texts of the options by group, in the order of the help pages."""
    found: dict[Group, list[tuple[str, str]]] = {}
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        is_repeated = parameter.name in REPEATED and context.parent is not None
        if record is not None and isinstance(parameter, click.Option) and not is_repeated:
            text, _, extra = record[1].partition("  [")
            noted = f"{escape(text)} *({escape(extra.removesuffix(']'))})*" if extra else escape(text)
            found.setdefault(group_of(parameter) or Group.GENERAL, []).append((record[0], noted))
    return {str(group): found[group] for group in Group if group in found}
