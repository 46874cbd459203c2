"""What a user's function does to its process, prints or never returns: the search goes on, and says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nas.api.study import open_study
from nas.cli.shared.options import json_option
from nas.cli.shared.printing import print_json
from nas.cli.shared.verbs import Verb
from tests.cli.conftest import ROOT, Nas, Ran

SEARCH = ("search", "--target", "flops=2M", "--band", "0.1", "--space", "tiny.yaml", "--study", "demo")
OWN = """
import ctypes, os, sys, time
print("imported")
os.write(1, b"imported below Python\\n")
ctypes.CDLL(None).puts(b"imported in C")

def prints(arch):
    print("printed")
    os.write(1, b"written\\n")
    os.system("echo by a program")
    ctypes.CDLL(None).puts(b"put in C")
    return 0.5

def leaves(arch):
    sys.exit(3)

def some(arch):
    if arch.stages[0].channels == 8:
        os._exit(0)
    return 1 / (1 + len(arch.stages))

def endless(arch):
    if arch.stages[0].channels == 8:
        time.sleep(600)
    return 1 / (1 + len(arch.stages))

def wanders(arch):
    os.chdir("/")
    return 0.5
"""


@pytest.fixture(autouse=True)
def _module(nas: Nas) -> None:
    (nas.folder / "own.py").write_text(OWN)


def search(nas: Nas, function: str, *arguments: str) -> Ran:
    return nas(*SEARCH, "--evaluator", f"python:own:{function}", *arguments)


def states(nas: Nas) -> dict[str, list[str]]:
    """Return the reasons of the trials by state."""
    found: dict[str, list[str]] = {}
    for trial in open_study("demo", storage=f"sqlite:///{nas.folder / 'nas.db'}").trials:
        found.setdefault(trial.state, []).append(trial.reason)
    return found


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_json_is_alone_on_standard_output(nas: Nas, workers: str) -> None:
    ran = search(nas, "prints", "--json", "--workers", workers, "--trials", "2")
    assert ran.code == 0, ran.err
    assert ran.json["trials"] == 2
    for words in ("imported", "imported below Python", "printed", "written", "by a program"):
        assert f"{words}\n" in ran.err


def test_json_of_a_check_is_alone_too(nas: Nas) -> None:
    ran = nas(
        *("check", "--json", "--space", "tiny.yaml", "--networks", "5"),
        *("--truth", "python:own:prints", "--evaluator", "zero-cost:params"),
    )
    assert ran.code == 0, ran.err
    assert ran.json["truth"]
    assert "by a program\n" in ran.err


def test_without_json_a_function_prints_to_standard_output(nas: Nas) -> None:
    ran = search(nas, "prints", "--trials", "1")
    assert ran.code == 0, ran.err
    assert {"printed", "written", "by a program"} <= {*ran.out.splitlines()}


@click.command(cls=Verb)
@json_option
def printing(as_json: bool) -> None:
    click.echo("a note")
    os.write(1, b"a note below Python\n")
    print_json({"as_json": as_json})
    click.echo("another note")


def test_json_is_alone_inside_a_runner_of_click(capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        pass
    ran = CliRunner().invoke(printing, ["--json"])
    assert json.loads(ran.stdout) == {"as_json": True}
    assert ran.stderr == "a note\nanother note\n"
    assert capfd.readouterr() == ("", "a note below Python\n")
    os.write(1, b"restored")
    assert capfd.readouterr().out == "restored"
    assert CliRunner().invoke(printing).stdout.startswith("a note\n{")


def test_json_is_nowhere_where_standard_output_is_closed(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m nas spaces --json >&-"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        ["sh", "-c", command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert json.loads(ran.stderr)["error"]["problem"] == "the standard output is closed"


def test_a_search_whose_trials_all_fail_is_an_error_and_tries_again(nas: Nas) -> None:
    reason = "own:leaves ended the process (SystemExit: 3)"
    for _ in range(2):
        ran = search(nas, "leaves", "--trials", "2")
        assert ran.code == 1
        assert f"nas: all 2 trials of study demo failed with: {reason}\n  correct the cause" in ran.err
        assert "no trial was completed" not in ran.out
        assert states(nas)["failed"] == [reason] * 2
    assert len(states(nas)["killed"]) == 2
    (nas.folder / "own.py").write_text(OWN.replace("sys.exit(3)", "return 0.5"))
    ran = search(nas, "leaves", "--trials", "3", "--json")
    assert ran.code == 0, ran.err
    assert "all 2 trials failed and are started again" in ran.err
    assert ran.json["trials"] == 3
    assert {state: len(reasons) for state, reasons in states(nas).items()} == {"killed": 4, "complete": 3}
    # The journal says the same.
    (nas.folder / "nas.db").unlink()
    assert nas("studies", "restore", "--into", "nas.db").code == 0
    assert {state: len(reasons) for state, reasons in states(nas).items()} == {"killed": 4, "complete": 3}


def test_trials_that_failed_beside_others_are_not_started_again(nas: Nas) -> None:
    assert search(nas, "some", "--trials", "4", "--sampler", "random").code == 0
    before = states(nas)
    assert {*before} == {"complete", "failed"}
    assert {*before["failed"]} == {"own:some ended the process (exit status 0)"}
    assert search(nas, "some", "--trials", "4", "--sampler", "random").code == 0
    assert states(nas) == before


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_function_that_never_returns_is_stopped(nas: Nas, workers: str) -> None:
    ran = search(
        nas, "endless", *("--trials", "4", "--sampler", "random", "--trial-timeout", "1s", "--workers", workers)
    )
    assert ran.code == 0, ran.err
    found = states(nas)
    assert {*found} == {"complete", "failed"}
    assert {*found["failed"]} == {"the evaluation took longer than 1 s"}


@pytest.mark.parametrize("value", ["0s", "-1s", "inf", "nan", "90"])
def test_a_time_limit_that_is_no_duration_is_refused(nas: Nas, value: str) -> None:
    search(nas, "some", "--trial-timeout", value).refused("not a duration above zero", code=2)


def test_a_function_that_changes_its_folder_moves_nothing(nas: Nas) -> None:
    assert search(nas, "wanders", "--trials", "2").code == 0
    assert len(states(nas)["complete"]) == 2
    assert (nas.folder / "nas-trials" / "demo.jsonl").exists()
