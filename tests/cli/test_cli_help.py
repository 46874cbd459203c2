"""Every command helps, with an example, and in no time."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from nas.cli.main import VERBS, nas
from nas.version import __version__
from tests.cli.conftest import ROOT, Nas

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
    text = command(verb).get_help(click.Context(command(verb), info_name=f"nas {verb}"))
    assert "Example:" in text
    assert f"  nas {verb}" in text
    first = (command(verb).help or "").splitlines()[0]
    assert first.endswith(".")


@pytest.mark.parametrize("verb", commands())
def test_every_option_says_what_it_does(verb: str) -> None:
    silent = [p.name for p in command(verb).params if isinstance(p, click.Option) and not p.help and p.name != "seed"]
    assert silent == []


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
