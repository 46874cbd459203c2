"""One thread for small matrices: more of them wait for each other longer than they compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock

from threadpoolctl import ThreadpoolController

# The number of threads is the whole process's: who sets it back must have been the only one to set it.
_LOCK = RLock()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside it BLAS computes in the thread that calls it; one caller at a time."""
    with _LOCK, _controller().limit(limits=1, user_api="blas"):
        yield
