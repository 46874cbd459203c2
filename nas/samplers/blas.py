"""A single BLAS thread for small matrices: several threads wait for each other longer than they compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock

from threadpoolctl import ThreadpoolController

# The limit applies to the whole process, so only one caller at a time may set and restore it.
_LOCK = RLock()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread inside the context; a second caller waits until the first has left it."""
    with _LOCK, _controller().limit(limits=1, user_api="blas"):
        yield
