"""Completion in shells: bash runs the script for real."""

import subprocess
import sys
from pathlib import Path

import pytest

from nas.arch.presets import preset_names
from nas.space.files import space_names
from tests.cli.conftest import ROOT, Nas, surroundings

# What a shell does when its user presses the tab key behind these words.
TAB = """
source nas.bash
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_nas_completion nas
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(name="shell")
def _shell(nas: Nas) -> Path:
    """A folder with the script for bash and a program `nas`."""
    (nas.folder / "nas.bash").write_text(nas("completion", "bash").out)
    program = nas.folder / "bin" / "nas"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nas.cli.main "$@"\n')
    program.chmod(0o755)
    return nas.folder


def completed(folder: Path, *words: str) -> list[str]:
    """What bash proposes for the last of these words."""
    environment = surroundings({})
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
    ran = subprocess.run(
        ["bash", "--norc", "-c", TAB, "bash", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Traceback" not in ran.stderr
    return ran.stdout.split()


def test_the_script_for_bash_is_valid(shell: Path) -> None:
    checked = subprocess.run(["bash", "-n", "nas.bash"], cwd=shell, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_asks_this_program(nas: Nas, name: str) -> None:
    ran = nas("completion", name)
    assert (ran.code, ran.err) == (0, "")
    assert f"_NAS_COMPLETE={name}_complete" in ran.out
    assert nas("completion", name, "--json").json == {"shell": name, "script": ran.out.removesuffix("\n")}
    assert nas("completion", name, module="nas").out == ran.out


def test_bash_completes_commands(shell: Path) -> None:
    assert completed(shell, "nas", "sea") == ["search"]
    assert completed(shell, "nas", "latency", "") == ["measure", "table", "check"]


def test_bash_completes_options_and_their_values(shell: Path) -> None:
    assert completed(shell, "nas", "search", "--ta") == ["--target", "--table"]
    assert completed(shell, "nas", "search", "--objective", "") == ["soft", "hard", "absolute", "pareto"]
    assert completed(shell, "nas", "-q", "search", "-q", "--pru") == ["--pruner"]


def test_bash_completes_presets_and_spaces(shell: Path) -> None:
    begun = [name for name in preset_names() if name.startswith("mobilenet")]
    assert begun
    for words in (("show",), ("latency", "measure", "efficientnet-b0"), ("scale",)):
        assert completed(shell, "nas", *words, "mobilenet") == begun
    for command in ("spaces", "search --space"):
        assert completed(shell, "nas", *command.split(), "") == list(space_names())


def test_another_shell_is_wrong_usage(nas: Nas) -> None:
    nas("completion", "tcsh").refused("'tcsh' is not one of 'bash', 'zsh', 'fish'", code=2)


def test_completion_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import atexit, sys; from nas.cli.main import main; atexit.register(lambda: print(*sys.modules)); main()"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "_NAS_COMPLETE": "bash_complete", "COMP_WORDS": "nas show mo", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "plain,mobilenetv2" in ran.stdout
    assert {"torch", "optuna", "numpy", "sqlalchemy"}.isdisjoint(ran.stdout.splitlines()[-1].split())
