"""Processes that tests look at and end."""

import time
from collections.abc import Callable

import psutil
import pytest


def eventually(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"it does not hold after {seconds:g} s")
        time.sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; nobody may have asked for its code yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def agents() -> list[psutil.Process]:
    """Agents that this process has begun and that are under way, on whatever path."""
    return [each for each in psutil.Process().children(recursive=True) if _is_agent(each)]


def _is_agent(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[1:] == ["-m", "nas.device"]
    except psutil.Error:
        return False


def workers(agent: psutil.Process) -> list[psutil.Process]:
    """Measurements under way: children of the process that they are forked from."""
    try:
        children = agent.children()
        return [worker for child in children for worker in child.children()]
    except psutil.NoSuchProcess:
        return []


def busy(agent: psutil.Process) -> bool:
    """Whether a measurement runs that has come as far as to use the processor for a while."""
    return any(sum(worker.cpu_times()[:2]) > 0.1 for worker in workers(agent))


def family(agent: psutil.Process) -> list[psutil.Process]:
    """An agent and all that came from it."""
    return [agent, *agent.children(recursive=True)]
