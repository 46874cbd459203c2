"""Which process is which, and whether it is still at work."""

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil


def runner() -> str:
    """This process, told apart from all others: place, process number, its start."""
    return f"{place()} {os.getpid()} {_start(os.getpid())}"


@cache
def place() -> str:
    """Where process numbers mean the same: a host since it was booted, and in it a container that has its own."""
    told = [platform.node()]
    with suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        told.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return "/".join(told)


def _start(pid: int) -> str:
    """When a process began: in ticks since the boot, where that is told, since clocks are set now and then.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return f"{psutil.Process(pid).create_time():.0f}"


def shown(token: str) -> str:
    """A runner for people."""
    where, pid, _ = token.rsplit(" ", 2)
    return f"process {pid} on {where.split('/')[0]}"


def is_alive(token: str) -> bool | None:
    """Whether a runner is still at work; None where it is elsewhere and cannot be seen."""
    try:
        where, pid, start = token.rsplit(" ", 2)
        if where != place():
            return None
        # A killed process that its parent has not asked about is still listed.
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE and _start(int(pid)) == start
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True
