"""Work of several processes at a time, as many as the CPU cores and the memory of this machine allow."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from nas.device.machine import usable_cores


@contextmanager
def several_at_once(count: int) -> Iterator[ThreadPoolExecutor]:
    """Provide threads that each wait for a process; after an error, work that has not begun is dropped.

    Args:
        count: Number of processes at a time.
    """
    threads = ThreadPoolExecutor(count)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def most_at_once(process_bytes: int) -> int:
    """Return how many processes this machine can run at a time: one for each core, in at most half of its free memory.

    Args:
        process_bytes: Largest memory that one of them takes.
    """
    room = psutil.virtual_memory().available // 2
    return max(1, min(len(usable_cores()), room // max(1, process_bytes)))
