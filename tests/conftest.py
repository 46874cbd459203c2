"""How all tests run."""

import gc
import multiprocessing
import os
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

import pytest
from hypothesis import settings

from tests import postgresql

# Tests run beside each other, one for each core; it is read when numpy and torch are loaded, by commands too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Machines are shared, so no example has a deadline; the same examples are tried each time.
settings.register_profile("nas", deadline=None, derandomize=True)
settings.load_profile("nas")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is loaded with the tests out of all later collections of garbage.

    It stays until the end, and searching it took half a second each time: of a training run that is out of memory, too.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A table of the faults that were made, and what became of them."""
    told = [
        (report.outcome, text)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, text in getattr(report, "user_properties", ())
        if name == "fault" and report.when == "call"
    ]
    if told:
        terminalreporter.section("faults that were made")
        for result, text in told:
            terminalreporter.write_line(f"{result:7} {text}")


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks of this machine in a folder of the tests, so that no test waits for a search of the user, or holds it up.

    Test processes beside each other share the folder: they share the machine, too.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield


@pytest.fixture(name="server", scope="session")
def _server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server; who ends it begins it again."""
    with postgresql.running() as server:
        yield server


@pytest.fixture(name="elsewhere", scope="session")
def _elsewhere() -> Iterator[Executor]:
    """Another process, begun anew and not forked off."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield process


@pytest.fixture(name="in_time_zone", params=["America/New_York", "Asia/Kolkata"])
def _in_time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a test where the local time is not UTC."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()
