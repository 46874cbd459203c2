"""Faults that are really made while the real command searches: what was finished stays, and all trials come.

Each test tells its fault and what became of it; they are printed as a table when all tests are over.
"""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import optuna
import psutil
import pytest

from nas.studies.opening import open_storage
from nas.studies.study import read_study
from tests import postgresql
from tests.cli.conftest import FAKE, ROOT, Nas, surroundings
from tests.device.processes import eventually

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


def finished(url: str) -> int:
    if "demo" not in optuna.get_all_study_names(url):
        return 0
    return sum(trial.state.is_finished() for trial in optuna.load_study(storage=url, study_name="demo").trials)


def workers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def ended(process: "subprocess.Popen[str]") -> str:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return err


def test_a_worker_that_is_killed(nas: Nas, record_property: Record) -> None:
    process = nas.start(*FAST, "--workers", "2", module=FAKE, NAS_FAKE_SECONDS="0.5")
    url = f"sqlite:///{nas.folder / 'nas.db'}"
    eventually(lambda: finished(url) > 0, 60)
    workers_of(process)[0].kill()
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


def test_one_of_two_searches_is_killed(nas: Nas, record_property: Record) -> None:
    url = f"sqlite:///{nas.folder / 'nas.db'}"
    first = nas.start(*FAST, module=FAKE, NAS_FAKE_SECONDS="0.5")
    eventually(lambda: finished(url) > 0, 60)
    second = nas.start(*FAST, module=FAKE, NAS_FAKE_SECONDS="0.5")
    eventually(lambda: finished(url) > 3, 60)
    first.kill()
    first.communicate()
    ended(second)
    states = counted(url)
    assert (states["complete"], states["running"]) == (12, 0)
    record_property("fault", f"kill -9 of one of two searches: {dict(states)}, the other one took its trial over")


def test_the_database_is_killed(nas: Nas, server: postgresql.Server, record_property: Record) -> None:
    arguments = (*FAST, "--storage", server.url, "--workers", "2")
    process = nas.start(*arguments, module=FAKE, NAS_FAKE_SECONDS="0.4")
    eventually(lambda: finished(server.url) > 1, 60)
    server.kill()
    time.sleep(3)
    server.start()
    err = ended(process)
    assert "the database does not answer" in err
    assert "secret-word" not in err
    states = counted(server.url)
    assert (states["complete"], states["running"]) == (12, 0)
    record_property("fault", f"kill -9 of PostgreSQL for some seconds: {dict(states)}, no search ended")


@pytest.mark.parametrize("storage", ["postgresql", "sqlite"])
def test_many_random_kills(storage: str, request: pytest.FixtureRequest, record_property: Record) -> None:
    several = storage == "postgresql"
    where = ("--storage", request.getfixturevalue("server").url) if several else ()
    how = ("--processes", "2", "--workers", "2", "--trials", "120", "--kills", "15", "--every", "2.5")
    alone = ("--processes", "1", "--trials", "60", "--kills", "5", "--every", "3")
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


def test_a_search_whose_workers_outlive_it_by_nothing(nas: Nas, record_property: Record) -> None:
    process = nas.start(*FAST, "--workers", "2", module=FAKE, NAS_FAKE_SECONDS="60")
    eventually(lambda: len(workers_of(process)) == 2, 60)
    workers = workers_of(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    eventually(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers), 20)
    record_property("fault", "kill -9 of a search: its workers ended with it")
