"""Faults that are really made while the real command searches: what was finished stays, and all trials come.

Each test tells its fault and what became of it; they are printed as a table when all tests are over.
"""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from nas.studies.opening import open_storage
from nas.studies.study import read_study
from tests import postgresql
from tests.cli.conftest import FAKE, ROOT, Nas, hear, surroundings
from tests.cli.gate import Gate
from tests.device.processes import eventually, is_gone

SEARCH = ("search", "--target", "flops=1.2M", "--band", "0.5", "--space", "tiny.yaml", "--study", "demo")
FAST = (*SEARCH, "--sampler", "random", "--epochs", "2", "--trials", "12")
# One architecture ends whoever evaluates it.
POISON = """
import os
import signal

from nas.arch.code import format_text


def accuracy(arch):
    if arch.stages[0].kernel == 5 and arch.stages[0].channels == 8 and arch.stages[1].channels == 16:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(format_text(arch)) / 1000
"""
Record = Callable[[str, Any], None]
pytestmark = pytest.mark.slow


def counted(url: str) -> Counter[str]:
    view = read_study(open_storage(url), "demo")
    lasting = [record for record in view.records if record.state not in ("killed", "running")]
    assert len({record.arch for record in lasting}) == len(lasting)
    return Counter(record.state for record in view.records)


def workers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def ended(process: "subprocess.Popen[str]") -> str:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return err


def test_a_worker_that_is_killed(nas: Nas, gate: Gate, record_property: Record) -> None:
    gate.let(2)
    process = nas.start(*FAST, "--workers", "2", module=FAKE, **gate.environment)
    url = f"sqlite:///{nas.folder / 'nas.db'}"
    gate.wait_for(4)  # each worker evaluates one
    workers_of(process)[0].kill()
    gate.let()
    err = ended(process)
    assert "was lost: its worker was ended by SIGKILL; it may have been out of memory; it is tried again" in err
    states = counted(url)
    assert states == {"complete": 12, "killed": 1}
    record_property("fault", f"kill -9 of one of two workers: {dict(states)}, the search went on with another worker")


def test_an_architecture_that_ends_every_worker_fails(nas: Nas, record_property: Record) -> None:
    (nas.folder / "own.py").write_text(POISON)
    arguments = (*SEARCH, "--sampler", "random", "--trials", "40", "--evaluator", "python:own:accuracy")
    ran = nas(*arguments, "--workers", "2", "--retries", "1", "--json")
    assert ran.code == 0, ran.err
    view = read_study(open_storage(f"sqlite:///{nas.folder / 'nas.db'}"), "demo")
    failed = [record for record in view.records if record.state == "failed"]
    assert failed
    assert all("2 times it was begun and did not end" in record.reason for record in failed)
    assert view.counted == 40
    record_property("fault", f"architectures that kill their worker: {len(failed)} failed after 2 attempts, 40 in all")


def test_one_of_two_searches_is_killed(nas: Nas, gate: Gate, record_property: Record) -> None:
    url = f"sqlite:///{nas.folder / 'nas.db'}"
    gate.let(1)
    first = nas.start(*FAST, module=FAKE, **gate.environment)
    gate.wait_for(2)  # one is complete, and one runs
    second = nas.start(*FAST, module=FAKE, **gate.environment)
    gate.wait_for(3)
    first.kill()
    first.communicate()
    gate.let()
    ended(second)
    states = counted(url)
    assert states == {"complete": 12, "killed": 1}
    record_property("fault", f"kill -9 of one of two searches: {dict(states)}, the other one took its trial over")


def test_the_database_is_killed(nas: Nas, gate: Gate, server: postgresql.Server, record_property: Record) -> None:
    arguments = (*FAST, "--storage", server.url, "--workers", "2")
    gate.let(2)
    process = nas.start(*arguments, module=FAKE, **gate.environment)
    gate.wait_for(4)
    server.kill()
    gate.let()
    err = hear(process, "the database does not answer")
    server.start()
    err += ended(process)
    assert "secret-word" not in err
    states = counted(server.url)
    assert (states["complete"], states["running"]) == (12, 0)
    record_property("fault", f"kill -9 of PostgreSQL for some seconds: {dict(states)}, no search ended")


@pytest.mark.parametrize("storage", ["postgresql", "sqlite"])
def test_many_random_kills(storage: str, request: pytest.FixtureRequest, record_property: Record) -> None:
    several = storage == "postgresql"
    where = ("--storage", request.getfixturevalue("server").url) if several else ()
    how = ("--processes", "2", "--workers", "2", "--trials", "60", "--kills", "8", "--every", "2.5")
    alone = ("--processes", "1", "--trials", "30", "--kills", "4", "--every", "2.5")
    ran = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "faults.py"),
            *(how if several else alone),
            *where,
            "--seconds",
            "1",
        ],
        capture_output=True,
        text=True,
        env=surroundings({}),
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = " ".join(ran.stdout.split())
    record_property("fault", f"random kills, {storage}: {told}")


def test_a_search_whose_workers_outlive_it_by_nothing(nas: Nas, gate: Gate, record_property: Record) -> None:
    process = nas.start(*FAST, "--workers", "2", module=FAKE, **gate.environment)
    gate.wait_for(2)
    workers = workers_of(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    eventually(lambda: all(map(is_gone, workers)))
    record_property("fault", "kill -9 of a search: its workers ended with it")
