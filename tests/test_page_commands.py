"""Every command that a page shows is one that `nas` has: its options exist, and their values are of the right kind."""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from nas.cli.main import nas

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "experiments").glob("*/README.md")),
]
# What ends a command: a pipe, a redirection, another command, or the end of the line.
ENDS = set("|&;<>")
# Options of other programs that pages name.
OTHER_PROGRAMS = {
    "--int8",  # predict.py of an exported network
    "--num-cpus",  # ray start
    *("--compile", "--arch"),  # benchmarks
}


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of the code blocks of a page with their numbers, without prompts; continued lines are joined."""
    fence, started, pending = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r" *(```|~~~)", line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif pending or fence or line.startswith("    "):
            started = started if pending else number
            pending += line.strip().removeprefix("$ ").removeprefix("> ")
            if pending.endswith("\\"):
                pending = pending[:-1]
                continue
            yield started, pending
            pending = ""


def commands(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each command `nas` in a line of a shell, also behind others and in batch files."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    words.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in words:
        if set(word) <= ENDS:
            found.append([])
        else:
            found[-1].append(word)
    for command in found:
        start = next((k for k, word in enumerate(command) if not re.match(r"\w+=|exec$|time$", word)), 0)
        if command[start : start + 1] == ["nas"]:
            yield command[start + 1 :]


def shown(page: Path) -> list[tuple[int, list[str]]]:
    """Return the commands in the code blocks of a page, with the numbers of their lines."""
    lines = code_lines(page.read_text(encoding="utf-8"))
    # Lines of usage, such as `nas pareto [OPTIONS] STUDY...`, have placeholders.
    own = ((number, line) for number, line in lines if re.search(r"\bnas ", line) and "[OPTIONS]" not in line)
    return [(number, command) for number, line in own for command in commands(line)]


def resolve(arguments: list[str]) -> tuple[click.Command, list[str], click.Context]:
    """Return the command that arguments name, its own arguments, and the context of the group it is in.

    Raises:
        click.UsageError: There is no such command.
    """
    command: click.Command = nas
    context: click.Context = nas.context_class(nas, info_name="nas")
    while isinstance(command, click.Group) and arguments and _is_verb(arguments[0], command):
        _, found, arguments = command.resolve_command(context, list(arguments))
        assert found is not None
        command, context = found, found.context_class(found, parent=context, info_name=found.name)
    return command, arguments, context


def _is_verb(word: str, group: click.Group) -> bool:
    """Return whether the first word behind a group is a verb; it may be an option, or an argument of the group."""
    takes_arguments = any(isinstance(parameter, click.Argument) for parameter in group.params)
    return not word.startswith("-") and (not takes_arguments or word in group.list_commands(click.Context(group)))


def parse(arguments: list[str]) -> None:
    """Parse a command line as `nas` does, and run nothing.

    Raises:
        click.UsageError: There is no such command or option, or a value is not of its kind.
    """
    command, rest, context = resolve(arguments)
    with suppress(click.exceptions.Exit):  # of --help
        command.make_context(command.name, list(rest), parent=context.parent)


def options(command: click.Command) -> set[str]:
    """Return the names of the options of a command, and of the commands in a group."""
    own = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    inner = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []
    return own.union({"--help"}, *(options(resolve_in(command, name)) for name in inner))


def resolve_in(group: click.Command, name: str) -> click.Command:
    """Return the command of a group by its name."""
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (ROOT / "experiments").iterdir():  # which commands of experiments write to
        (tmp_path / "experiments" / folder.name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    wrong = []
    for number, arguments in shown(page):
        try:
            parse(arguments)
        except click.ClickException as error:
            wrong.append(f"line {number}: nas {shlex.join(arguments)}: {error.format_message()}")
    assert wrong == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "experiments" not in page.parts], ids=lambda page: page.name
)
def test_the_options_that_a_page_names_exist(page: Path) -> None:
    known = options(nas) | OTHER_PROGRAMS
    wrong = []
    for span in re.findall(r"(?<!`)`((?:nas |--)[^`\n]+)`(?!`)", page.read_text(encoding="utf-8")):
        named = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", span)
        is_command = span.startswith("nas ") and not span.startswith("nas COMMAND")
        allowed = options(resolve(span.split()[1:])[0]) if is_command else known
        wrong += [f"`{span}`: {name}" for name in named if name not in allowed]
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "nas serch --target flops=1M",
        "nas search --target flops=1M --no-such-option",
        "nas search --target flops=1M --trials many",
        "nas search",
        "nas studies remove demo",
        "true && NAS_X=1 nas train a b c # a note",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    (arguments,) = commands(line)
    with pytest.raises(click.UsageError):
        parse(arguments)


def test_the_commands_of_made_up_blocks_are_found() -> None:
    page = "`nas a`\n\n```console\n$ nas b --x \\\n    1  # why\n```\n\n    exec nas c | head -1 && nas d > e\n"
    found = [(number, command) for number, line in code_lines(page) for command in commands(line)]
    assert found == [(4, ["b", "--x", "1"]), (8, ["c"]), (8, ["d"])]
