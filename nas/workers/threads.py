"""Threads of numerical libraries: limits for a while or for good, and a probe that finds how many are fastest.

More threads are not always faster: on a machine of two cores that other programs keep busy, a training run of small
images took 3.7 s with one thread and 46 s with two, because each operation waits for its slowest thread.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import frozen
from threadpoolctl import threadpool_limits

# Variables that libraries read once, while they are imported.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ROUNDS = 2
# More threads are used only where they save at least this share: fewer disturb other programs less.
LEAST_SAVING = 0.1


@frozen
class ThreadChoice:
    """Hold the number of threads that a probe found fastest.

    Attributes:
        threads: Number of threads for each training run.
        seconds: Shortest measured duration of the probed work by number of threads, in seconds.
    """

    threads: int
    seconds: Mapping[int, float]

    def __str__(self) -> str:
        used = f"each training run uses {_counted(self.threads)}"
        shown = ", ".join(f"{each:.3g} s with {_counted(count)}" for count, each in self.seconds.items())
        return f"{used}; a training step takes {shown} (--threads sets another number)" if shown else used


def _counted(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"


def thread_counts(cores: int) -> tuple[int, ...]:
    """Return the numbers of threads that are worth trying on so many CPU cores: powers of two, and all cores.

    Example:
        >>> thread_counts(6)
        (1, 2, 4, 6)
    """
    powers = (2**exponent for exponent in range(cores.bit_length()))
    return tuple(sorted({*(power for power in powers if power < cores), max(1, cores)}))


def choose_threads(measure: Callable[[], float], cores: int) -> ThreadChoice:
    """Measure some work with different numbers of threads and return the fewest that are about as fast as any.

    Args:
        measure: Returns how long the work takes, in seconds, with the threads that are allowed at that moment.
        cores: Number of CPU cores that this process may use.
    """
    counts = thread_counts(cores)
    seconds = dict.fromkeys(counts, float("inf"))
    # In turns, and the shortest of each: another program that is busy for a moment must not decide.
    for _ in range(ROUNDS):
        for count in counts:
            with limited_threads(count):
                seconds[count] = min(seconds[count], measure())
    bound = min(seconds.values()) / (1 - LEAST_SAVING)
    return ThreadChoice(next(count for count in counts if seconds[count] <= bound), seconds)


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of numerical libraries inside the context, and restore them afterwards.

    Args:
        threads: Number of threads; None changes nothing.
    """
    if threads is None:
        yield
        return
    torch = _torch()
    before = torch.get_num_threads() if torch is not None else None
    variables = {name: os.environ.get(name) for name in VARIABLES}
    # Libraries that are loaded inside the context, by a user's function for example, read the variables.
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    with threadpool_limits(threads):
        if torch is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)
            for name, value in variables.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def set_threads(threads: int) -> None:
    """Set the threads of libraries that are loaded and of those to come, for the rest of this process."""
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    # Without a `with` statement the limit stays.
    threadpool_limits(threads)
    torch = _torch()
    if torch is not None:
        torch.set_num_threads(threads)


def _torch() -> Any:
    """Return torch where it is loaded; it is not imported for this."""
    return sys.modules.get("torch")
