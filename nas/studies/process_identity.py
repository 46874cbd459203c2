"""Tokens that identify processes across hosts and reboots, and whether the process of a token is still alive."""

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil


def this_process() -> str:
    """Return the token of this process: where its number is valid, the number, and when the process started.

    A process number alone does not identify a process, since numbers are used again.
    """
    return f"{number_space()} {os.getpid()} {_start_time(os.getpid())}"


@cache
def number_space() -> str:
    """Return a name for the place in which a process number means one process.

    That is a host since its last boot and, inside it, a container that has its own process numbers. Containers often
    share a host name, so the boot and the namespace of process numbers are part of the name where Linux shows them.
    """
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return "/".join(parts)


def _start_time(pid: int) -> str:
    """Return when a process started, in a form that never changes while it lives.

    Linux counts ticks since the boot. Elsewhere it is a time of the clock, which may be set while the process lives.

    Raises:
        psutil.NoSuchProcess: There is no process of that number.
    """
    try:
        # The name in parentheses is the second field and may hold spaces and parentheses itself; see proc(5).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    # The file of a process that ends between the opening and the reading raises the second error.
    except (FileNotFoundError, ProcessLookupError):
        return f"{psutil.Process(pid).create_time():.0f}"


def describe_process(token: str) -> str:
    """Return a token in words for messages."""
    where, pid, _ = token.rsplit(" ", 2)
    return f"process {pid} on {where.split('/')[0]}"


def is_alive(token: str) -> bool | None:
    """Return whether the process of a token is alive, or None if it runs where this process cannot see it."""
    try:
        where, pid, start = token.rsplit(" ", 2)
        if where != number_space():
            return None
        # A killed process whose parent has not yet asked for its exit code is still listed, as a zombie.
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE and _start_time(int(pid)) == start
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:  # another user's process: it exists
        return True
