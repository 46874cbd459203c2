"""How all tests run."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

import pytest
from hypothesis import settings

# Tests run beside each other, one for each core; it is read when numpy and torch are loaded, by commands too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Machines are shared, so no example has a deadline; the same examples are tried each time.
settings.register_profile("nas", deadline=None, derandomize=True)
settings.load_profile("nas")


@pytest.fixture(name="elsewhere", scope="session")
def _elsewhere() -> Iterator[Executor]:
    """Another process, begun anew and not forked off."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield process
