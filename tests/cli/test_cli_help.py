"""Every command has a help page with an example, which is shown at once; see `help_pages` for the golden files."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from nas.cli.main import VERBS, nas
from nas.cli.shared.groups import group_of
from nas.version import __version__
from tests.cli.conftest import ROOT, Nas
from tests.cli.help_pages import GOLDEN, contexts, file_name, pages

HEAVY = ("torch", "optuna", "plotly", "pandas", "numpy", "sqlalchemy", "datasets", "onnx", "onnxruntime", "scipy")


def below(group: click.Group) -> list[str]:
    """All commands of a group, those of its groups as two words."""
    names = []
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        names += [f"{name} {inner}" for inner in below(found)] if isinstance(found, click.Group) else [name]
    return names


def commands() -> list[str]:
    return below(nas)


def command(verb: str) -> click.Command:
    found: click.Command | None = nas
    for word in verb.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def test_every_module_with_a_command_is_a_verb() -> None:
    folder = ROOT / "nas"
    with_command = {
        ".".join(("nas", *path.relative_to(folder).with_suffix("").parts))
        for path in (folder / "cli").rglob("*.py")
        if "def command(" in path.read_text()
    }
    assert with_command == {*VERBS.values(), *(command(verb).callback.__module__ for verb in commands())}


@pytest.mark.parametrize("verb", commands())
def test_every_command_has_help_with_an_example(verb: str) -> None:
    text = contexts()[f"nas {verb}"].get_help()
    assert "Example:" in text
    assert f"  nas {verb}" in text
    first = (command(verb).help or "").splitlines()[0]
    assert first.endswith(".")


@pytest.mark.parametrize("words", contexts())
def test_every_option_has_a_group(words: str) -> None:
    command = contexts()[words].command
    assert [p.name for p in command.params if isinstance(p, click.Option) and group_of(p) is None] == []


@pytest.mark.parametrize("words", contexts())
def test_the_help_of_every_option_is_a_sentence(words: str) -> None:
    texts = {p.name: p.help or "" for p in contexts()[words].command.params if isinstance(p, click.Option)}
    assert {name: text for name, text in texts.items() if not re.fullmatch(r"[A-Z].*[^.]\.", text, re.DOTALL)} == {}


@pytest.mark.parametrize("words", contexts())
def test_every_value_that_may_be_left_out_has_its_default_in_the_help(words: str) -> None:
    context = contexts()[words]
    options = [p for p in context.command.params if isinstance(p, click.Option) and not (p.is_flag or p.required)]
    records = {p.name: p.get_help_record(context) for p in options if not (p.multiple and not p.show_default)}
    assert {name for name, record in records.items() if record is None or "[default: " not in record[1]} == set()


def test_the_help_pages_are_the_golden_files() -> None:
    golden = {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.txt")}
    assert pages() == golden, "write them anew with `python -m tests.cli.help_pages` and look at the difference"


def test_the_command_prints_the_golden_file(nas: Nas) -> None:
    ran = nas("latency", "table", "--help", COLUMNS="80")
    assert (ran.code, ran.out, ran.err) == (0, (GOLDEN / "nas-latency-table.txt").read_text(encoding="utf-8"), "")


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_summaries_of_commands_are_whole(columns: int) -> None:
    shown = pages(columns)
    for words, context in contexts().items():
        parent = words.rpartition(" ")[0]
        if parent:
            first = (context.command.help or "").strip().partition("\n\n")[0]
            assert " ".join(first.split()) in " ".join(shown[file_name(parent)].split())


@pytest.mark.parametrize("columns", [80, 100])
def test_help_pages_fit_a_terminal(columns: int) -> None:
    assert [line for page in pages(columns).values() for line in page.splitlines() if len(line) > columns] == []


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_names_of_options_are_not_broken(columns: int) -> None:
    known = {name for context in contexts().values() for p in context.command.params for name in p.opts}
    for page in pages(columns).values():
        assert {word for word in re.findall(r"--[a-z][a-z-]*", page) if word not in known | {"--help"}} == set()
        assert "\u2011" not in page


def test_a_page_lists_its_groups_in_order() -> None:
    headings = [line for line in pages()["nas-search.txt"].splitlines() if re.fullmatch(r"\w[\w ]*:", line)]
    expected = ["Target:", "Search space:", "Accuracy:", "Search:", "Workers:", "Output:", "General:"]
    assert headings == expected


@pytest.mark.parametrize("verb", commands())
def test_every_command_can_print_json(verb: str) -> None:
    assert "--json" in [name for parameter in command(verb).params for name in parameter.opts]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([*verb.split(), "--help"] for verb in commands())])
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = "import atexit, sys; from nas.cli.main import main; atexit.register(lambda: print(*sys.modules)); main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not set(HEAVY) & set(ran.stdout.splitlines()[-1].split())
    assert ran.stderr == ""


def test_the_version(nas: Nas) -> None:
    ran = nas("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"nas, version {__version__}\n", "")


def test_an_unknown_command_is_wrong_usage(nas: Nas) -> None:
    nas("serach").refused("No such command 'serach'", code=2)


def test_a_command_that_was_called_alone_has_the_same_help_page() -> None:
    """Click keeps the help option with a command, with the names of the first call."""
    program = (
        "import click; from click.testing import CliRunner; from nas.cli.pareto.command import command; "
        "CliRunner().invoke(command, ['--help']); from nas.cli.main import main; main(['pareto', '-h'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert "-h, --help" in ran.stdout
