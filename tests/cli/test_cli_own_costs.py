"""`--cost`: a function of a user gives the cost that a target limits, from the search to every view of its study."""

import json
import os
import signal

import psutil
import pytest

from nas.api.study import open_study
from tests.cli.conftest import Nas, Ran, hear
from tests.device.processes import eventually

OWN = """
import os, random, sys, time
from nas.cost.analytic import cost

print("imported")

def energy(arch):
    os.write(1, b"measured\\n")
    return (cost(arch).macs / 1e6 + cost(arch).params / 1e5) * random.gauss(1, 0.01)

def slow(arch):
    time.sleep(0.2)
    return cost(arch).macs / 1e6

def hangs(arch):
    time.sleep(600)
"""
TINY = ("search", "--space", "tiny.yaml", "--evaluator", "zero-cost:depth", "--band", "0.1", "--study", "demo")


@pytest.fixture(autouse=True)
def _module(nas: Nas) -> None:
    (nas.folder / "own.py").write_text(OWN)


def search(nas: Nas, *arguments: str, function: str = "energy") -> Ran:
    return nas(*TINY, "--target", "energy=2mJ", "--cost", f"energy=python:own:{function}", *arguments)


def test_a_cost_is_in_every_view_of_its_study(nas: Nas) -> None:
    ran = search(nas, "--target", "params=1M", "--trials", "6")
    assert ran.code == 0, ran.err
    for sentence in (
        "a rough guide to energy is fitted",
        "candidates are chosen by it, and own:energy is called for each of them before it is trained",
        "repeated calls of own:energy differ by ±",
        "of the best again",
    ):
        assert sentence in ran.err
    assert "measured\n" in ran.out
    assert "target: energy=2mJ and params=1M" in ran.out
    assert " mJ ± " in ran.out
    assert "energy=2mJ params=1M" in nas("studies").out
    shown = nas("pareto", "demo", "--csv", "demo.csv", "--html", "demo.html").out
    assert "energy: as the search used it, ± one standard deviation of a call of the function" in shown
    assert "latency" not in shown
    assert "Energy (mJ)" in (nas.folder / "demo.html").read_text()
    assert ",energy,energy_spread," in (nas.folder / "demo.csv").read_text()
    best = nas("show", "study:demo:best").out.splitlines()[-1]
    assert best.startswith("energy: ")
    assert best.endswith("as the search used it, returned by python:own:energy")
    (cost,) = nas("show", "study:demo:best", "--json").json["costs"]
    assert (cost["name"], cost["unit"], cost["function"]) == ("energy", "mJ", "python:own:energy")
    assert "energy" not in nas("show", "study:demo:best", "--resolution", "64").out


def test_json_is_alone_on_standard_output(nas: Nas) -> None:
    ran = search(nas, "--trials", "4", "--workers", "2", "--json")
    assert ran.code == 0, ran.err
    best = json.loads(ran.out)["best"]
    assert 0 < best["energy"] <= 2
    assert 0 < best["energy_spread"] < 0.1 * best["energy"]
    assert best["measurement"]["cost"] == "energy"
    assert {"imported", "measured"} <= {*ran.err.splitlines()}


def test_a_missed_target_is_said_without_words_about_devices(nas: Nas) -> None:
    (nas.folder / "own.py").write_text(
        "from nas.cost.analytic import cost\ncalls = []\n"
        "def energy(arch):\n    calls.append(arch)\n"
        "    return cost(arch).macs / 1e6 * (1.01 if calls.count(arch) % 2 else 1.02) * (9 if len(calls) > 60 else 1)\n"
    )
    ran = search(nas, "--trials", "60")
    assert ran.code == 3, ran.err
    assert "networks that were measured again meets the target energy=2mJ" in ran.out
    assert "nas latency check" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--cost", "energy"), ("not of the form NAME=FUNCTION", "--cost energy=python:MODULE:FUNCTION")),
        (("--cost", "energy=own:energy"), ("not of the form python:MODULE:FUNCTION", "--cost energy=python-onnx:")),
        (("--cost", "energy=python:own:f", "--cost", "energy=python:own:g"), ("energy is given twice",)),
        (("--cost", "power=python:own:energy"), ("no target limits the cost power", "--target power=")),
        ((), ("unknown target 'energy'", "--cost energy=python:MODULE:FUNCTION")),
        (("--cost-timeout", "2s"), ("time limit for costs",)),
        (("--cost", "energy=python:own:missing"), ("module own has no missing",)),
    ],
)
def test_what_is_no_cost_is_one_message(
    nas: Nas,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets = ("--target", "flops=2M") if "--cost-timeout" in arguments else ("--target", "energy=2mJ")
    ran = nas.here(*TINY, *targets, *arguments, capsys=capsys, monkeypatch=monkeypatch)
    ran.refused(*words)
    assert not (nas.folder / "nas.db").exists()


@pytest.mark.slow
def test_a_function_that_never_returns_ends_the_search_after_five_networks(nas: Nas) -> None:
    ran = search(nas, "--cost-timeout", "0.5s", function="hangs")
    assert ran.code == 1
    assert ran.err.count("a network has no energy and is not evaluated") == 5
    assert "own:hangs failed for 5 networks in a row, the last time with: own:hangs took longer than 0.5 s" in ran.err


def test_other_commands_say_that_only_a_search_takes_costs_of_ones_own(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = nas.here("scale", "efficientnet-b0", "--budget", "energy=2mJ", capsys=capsys, monkeypatch=monkeypatch)
    ran.refused("unknown target 'energy'", "`nas search` alone takes costs of your own")


@pytest.mark.slow
def test_a_search_that_is_killed_leaves_no_process_and_continues(nas: Nas) -> None:
    command = (*TINY, "--target", "energy=2mJ", "--cost", "energy=python:own:slow", "--trials", "12")
    process = nas.start(*command)
    hear(process, "trial 2 ")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    eventually(lambda: not any(map(psutil.Process.is_running, children)))
    url = f"sqlite:///{nas.folder / 'nas.db'}"
    known = [trial for trial in open_study("demo", storage=url).trials if trial.state == "complete"]
    ran = nas(*command)
    assert ran.code == 0, ran.err
    trials = open_study("demo", storage=url).trials
    assert sum(trial.state == "complete" for trial in trials) == 12
    # What is estimated of a network, such as its expected accuracy, depends on the others of the study.
    stored = [(trial.number, trial.text, trial.accuracies, trial.costs) for trial in trials]
    assert known
    assert all((trial.number, trial.text, trial.accuracies, trial.costs) in stored for trial in known)
    assert all(trial.costs["energy"] == pytest.approx(trial.costs["macs"] / 1e6) for trial in trials if trial.costs)
