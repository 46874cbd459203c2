"""Processes that this process starts: how they end together with it, and what ended them."""

import ctypes
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def is_killed_with_parent() -> bool:
    """Have the kernel kill this process when its parent ends; return whether it can, which only Linux does."""
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL) == 0)
    return False


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block interrupts while a process starts, so that it never receives one that is meant for its parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)


def cause_of_end(code: int | None) -> str:
    """Return how a process ended, in words, from its exit code; a negative one is the number of a signal."""
    if code is None or code >= 0:
        return f"ended with {code}"
    name = signal_name(code)
    hint = "; it may have been out of memory" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def signal_name(code: int) -> str:
    """Return the name of the signal that ended a process, from its negative exit code."""
    names = {number.value: number.name for number in signal.Signals}
    return names.get(-code, f"signal {-code}")


def kill_tree(pid: int) -> None:
    """Kill a process and all processes that it has started."""
    _on_tree(pid, psutil.Process.kill)


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes that a process has started and that still run; none where it has ended."""
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill those of some processes that still run."""
    for each in processes:
        with suppress(psutil.Error):
            each.kill()


def suspend_tree(pid: int) -> None:
    """Stop a process and all processes that it has started, until `resume_tree`."""
    if hasattr(signal, "SIGSTOP"):
        _on_tree(pid, psutil.Process.suspend)


def resume_tree(pid: int) -> None:
    """Let a process and all processes that it has started go on."""
    if hasattr(signal, "SIGCONT"):
        _on_tree(pid, psutil.Process.resume)


def _on_tree(pid: int, act: Callable[[psutil.Process], object]) -> None:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        # The process first: afterwards it starts no more.
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                act(each)
