"""Helpers to observe and end the processes of agents and workers."""

import time
from collections.abc import Callable

import psutil
import pytest

SECONDS = 60.0  # only a machine that stands still for so long fails a test


def eventually(holds: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until a condition holds, and fail after a time limit."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"the condition does not hold after {seconds:g} s")
        time.sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    """Return whether a process has ended; its exit code may not have been collected yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def agents() -> list[psutil.Process]:
    """Return the running agents that this process started, directly or through `ssh`."""
    return [each for each in psutil.Process().children(recursive=True) if _is_agent(each)]


def _is_agent(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[1:] == ["-m", "nas.device"]
    except psutil.Error:
        return False


def workers(agent: psutil.Process) -> list[psutil.Process]:
    """Return the worker processes of an agent: they are children of its fork server."""
    try:
        children = agent.children()
        return [worker for child in children for worker in child.children()]
    except psutil.NoSuchProcess:
        return []


def busy(agent: psutil.Process) -> bool:
    """Return whether a worker of the agent has used more than 0.1 seconds of CPU time."""
    return any(sum(worker.cpu_times()[:2]) > 0.1 for worker in workers(agent))


def family(agent: psutil.Process) -> list[psutil.Process]:
    """Return an agent and all its descendants."""
    return [agent, *agent.children(recursive=True)]
