"""The device that trains, and how long work takes there."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from types import MappingProxyType

import torch

from nas.errors import NasError

DEVICES: Mapping[str, Callable[[], bool]] = MappingProxyType(
    {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
)


def find_device(word: str | None = None) -> str:
    """The device of that name, or the fastest kind there is.

    Args:
        word: "cpu", "cuda", "cuda:1", "mps", or None to choose.

    Raises:
        NasError: there is no such device here.
    """
    present = [name for name, is_available in DEVICES.items() if is_available()]
    if word is None:
        return present[0]
    if word.split(":")[0] not in present:
        raise NasError(f"device {word!r} is not here", f"use {' or '.join(present)}, or leave it out")
    return word


def median_seconds(work: Callable[[], object], times: int) -> float:
    """The median of a few runs, the first one left out."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])
