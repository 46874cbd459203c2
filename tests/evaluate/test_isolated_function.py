"""A function in a process of its own: whatever it does fails one evaluation, and the next one succeeds."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from nas.errors import NasError
from nas.evaluate.base import Evaluator
from nas.evaluate.function_process import FunctionProcess
from nas.evaluate.isolated_function import IsolatedEvaluator, load_function
from nas.workers.base import Call, Outcome, Single, outcomes
from tests.api.interpreter import bare_environment
from tests.contracts.evaluator import SMALL, EvaluatorContract
from tests.device.processes import eventually, is_gone

HARMFUL = """
import ctypes, os, signal, subprocess, sys, threading, time

class Unreadable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Own(BaseException):
    pass

def throw(error):
    raise error

def fork_and_end():
    if os.fork() == 0:
        time.sleep(2)
        os._exit(0)
    os._exit(5)

HARMS = {
    "": lambda: None,
    "exit": lambda: sys.exit(3),
    "end": lambda: os._exit(0),
    "crash": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "interrupt": lambda: throw(KeyboardInterrupt()),
    "own": lambda: throw(Own("mine")),
    "unreadable": lambda: throw(Unreadable()),
    "surrogate": lambda: throw(ValueError("\\udc80")),
    "fork_and_end": fork_and_end,
    "close": lambda: os.closerange(3, 64),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "fork": os.fork,
    "thread": lambda: threading.Thread(target=time.sleep, args=(600,)).start(),
    "wander": lambda: os.chdir("/"),
    "signal": lambda: os.kill(os.getpid(), signal.SIGINT),
}

def accuracy(arch):
    folder = os.getcwd()
    with open("harm.txt") as file:
        HARMS[file.read()]()
    return 0.5, {"folder": folder}

def endless(arch):
    child = subprocess.Popen(["sleep", "600"])
    with open("new.txt", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename("new.txt", "begun.txt")
    child.wait()

def leaving(arch):
    return 0.5, {"left": subprocess.Popen(["sleep", "600"]).pid}

def variable(arch):
    return float(os.environ.get("HARMFUL_ACCURACY", "0"))
"""
FAILED = {
    "exit": "harmful:accuracy ended the process (SystemExit: 3)",
    "end": "harmful:accuracy ended the process (exit status 0)",
    "crash": "harmful:accuracy ended the process (SIGSEGV)",
    "abort": "harmful:accuracy ended the process (SIGABRT)",
    "interrupt": "harmful:accuracy ended the process (KeyboardInterrupt)",
    "own": "harmful:accuracy ended the process (Own: mine)",
    "unreadable": "Unreadable: its text cannot be read",
    "surrogate": "ValueError: \\udc80",
    "fork_and_end": "harmful:accuracy ended the process (exit status 5)",
    "close": "harmful:accuracy ended the process (",
}
LOST = {
    "kill": "the process of harmful:accuracy was ended by SIGKILL; it may have been out of memory",
    "terminate": "the process of harmful:accuracy was ended by SIGTERM",
}
HARMLESS = ("fork", "thread", "wander", "signal")


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the module of the functions."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "harmful.py").write_text(HARMFUL)
    return folder


@pytest.fixture(name="harmful", scope="module")
def _harmful(folder: Path) -> Evaluator:
    return function(folder, "harmful:accuracy")


def function(folder: Path, name: str) -> Evaluator:
    return IsolatedEvaluator(FunctionProcess(name, str(folder)), "")


def last(evaluator: Evaluator) -> Outcome:
    *_, outcome = outcomes(Call(Single(evaluator), SMALL, 32, 0, 1))
    return outcome


class TestIsolatedFunction(EvaluatorContract):
    epochs = 1

    @pytest.fixture(autouse=True)
    def _module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "plain.py").write_text("def accuracy(arch):\n    return 0.25, {'stages': len(arch.stages)}\n")
        monkeypatch.chdir(tmp_path)

    def evaluator(self) -> Evaluator:
        return load_function("plain:accuracy")


@pytest.mark.parametrize("harm", [*FAILED, *LOST])
def test_what_ends_the_process_fails_one_evaluation(folder: Path, harmful: Evaluator, harm: str) -> None:
    (folder / "harm.txt").write_text(harm)
    outcome = last(harmful)
    assert outcome.reason.startswith((FAILED | LOST)[harm])
    assert (outcome.accuracies, outcome.lost) == ((), harm in LOST)
    (folder / "harm.txt").write_text("")
    outcome = last(harmful)
    assert (outcome.accuracies, outcome.reason, outcome.metadata) == ((0.5,), "", {"folder": str(folder)})


@pytest.mark.parametrize("harm", HARMLESS)
def test_what_the_function_changes_in_its_process_fails_nothing(folder: Path, harmful: Evaluator, harm: str) -> None:
    (folder / "harm.txt").write_text(harm)
    for _ in range(2):
        outcome = last(harmful)
        assert (outcome.accuracies, outcome.metadata) == ((0.5,), {"folder": str(folder)})


@pytest.mark.parametrize(
    ("text", "how"), [("import os; os._exit(0)", "exit status 0"), ("import ctypes; ctypes.string_at(0)", "SIGSEGV")]
)
def test_a_module_that_ends_the_process_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, how: str
) -> None:
    (tmp_path / "ending.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NasError) as caught:
        load_function("ending:accuracy")
    assert caught.value.problem == f"module ending ended the process while it was imported ({how})"
    assert caught.value.remedy


def test_files_beside_the_module_take_no_place_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nas", "attrs", "shutil"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong file')\n")
    (tmp_path / "beside.py").write_text("half = 0.5\n")
    (tmp_path / "own_one.py").write_text("import nas, beside\ndef accuracy(arch):\n    return beside.half\n")
    monkeypatch.chdir(tmp_path)
    assert last(load_function("own_one:accuracy")).accuracies == (0.5,)


def test_an_interrupt_ends_what_the_function_does_and_has_started(folder: Path) -> None:
    (folder / "begun.txt").unlink(missing_ok=True)

    def interrupt() -> None:
        eventually((folder / "begun.txt").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            last(function(folder, "harmful:endless"))
        thread.join()
    finally:
        signal.signal(signal.SIGINT, usual)
    pids = map(int, (folder / "begun.txt").read_text().split())
    eventually(lambda: not any(map(psutil.pid_exists, pids)))


def test_the_process_ends_with_a_search_that_is_killed(folder: Path) -> None:
    (folder / "begun.txt").unlink(missing_ok=True)
    search = multiprocessing.get_context("spawn").Process(target=evaluate_endlessly, args=(folder,))
    search.start()
    eventually((folder / "begun.txt").exists)
    pid, child = map(psutil.Process, map(int, (folder / "begun.txt").read_text().split()))
    try:
        search.kill()
        search.join()
        eventually(lambda: is_gone(pid))
    finally:
        for process in (pid, child):
            with contextlib.suppress(psutil.Error):
                process.kill()


def evaluate_endlessly(folder: Path) -> None:
    last(function(folder, "harmful:endless"))


def test_the_process_starts_again_where_the_environment_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = function(folder, "harmful:variable")
    assert last(evaluator).accuracies == (0.0,)
    monkeypatch.setenv("HARMFUL_ACCURACY", "0.75")
    assert last(evaluator).accuracies == (0.75,)


def test_the_process_ends_when_its_evaluator_is_no_longer_used(folder: Path) -> None:
    before = set(psutil.Process().children())
    evaluator = function(folder, "harmful:variable")
    last(evaluator)
    (own,) = set(psutil.Process().children()) - before
    del evaluator
    assert is_gone(own)


def test_what_the_function_leaves_running_ends_with_its_process(folder: Path) -> None:
    evaluator = function(folder, "harmful:leaving")
    left = psutil.Process(last(evaluator).metadata["left"])
    assert left.is_running()
    del evaluator
    eventually(lambda: is_gone(left))


SCRIPT = """
import nas
study = nas.search("tiny.yaml", "flops=2M", evaluator="python:harmful:variable", trials=2, band=0.1)
print(len(study.trials), study.best.accuracy)
"""


def test_a_script_needs_no_guard_for_a_function_of_a_module(folder: Path) -> None:
    from tests.search.fakes import TINY

    (folder / "tiny.yaml").write_text(TINY)
    (folder / "script.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=bare_environment() | {"HARMFUL_ACCURACY": "0.25"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "2 0.25\n", "")
