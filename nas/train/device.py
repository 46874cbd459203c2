"""The device that trains, and the duration of work on it."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from types import MappingProxyType

import torch

from nas.errors import NasError

# Kinds of devices, the fastest first, each with a function that returns whether this machine has one.
DEVICES: Mapping[str, Callable[[], bool]] = MappingProxyType(
    {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
)


def find_device(name: str | None = None) -> str:
    """Return the named device, or the fastest kind that this machine has.

    Args:
        name: "cpu", "cuda", "cuda:1" or "mps"; None chooses the fastest.

    Raises:
        NasError: This machine has no such device.

    Example:
        >>> find_device("cpu")
        'cpu'
    """
    available = [kind for kind, is_available in DEVICES.items() if is_available()]
    if name is None:
        return available[0]
    if name.split(":")[0] not in available:
        raise NasError(
            f"device {name!r} is not available on this machine", f"use {' or '.join(available)}, or leave it out"
        )
    return name


def median_seconds(work: Callable[[], object], times: int) -> float:
    """Return the median duration of several runs in seconds, after one run that is not counted.

    Args:
        work: Function to time; it has to wait for the device before it returns.
        times: Number of runs that are counted.
    """
    seconds = []
    # The first run allocates memory and chooses kernels, which later runs do not repeat.
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])
