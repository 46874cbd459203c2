"""Seeds of epochs, and a context in which torch's random numbers follow from a seed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator

# A prime above the number of epochs of any run: no two pairs of seed and epoch then have the same seed of an epoch.
_SEED_DISTANCE = 1_000_003


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch.

    Every epoch has a seed of its own, so that a run can be continued after any epoch without the state of a generator.

    Args:
        seed: Seed of the training run.
        epoch: Number of the epoch, counted from 1; 0 is used for the initial weights.
    """
    return seed * _SEED_DISTANCE + epoch


@contextmanager
def seeded(seed: int, device: str, *, tf32: bool = False) -> Iterator[Generator]:
    """Yield a new generator, and set torch's global generators to the seed until the context ends.

    cuDNN is made deterministic. Afterwards the global generators have their former state. Two threads must not be
    inside such a context at once, because both would use the same global generators.

    Args:
        seed: Seed of the new generator and of the global generators.
        device: Device name as `find_device` returns it.
        tf32: Whether convolutions of cuDNN may round fp32 inputs to TF32, which has 10 bits of mantissa.

    Example:
        >>> with seeded(3, "cpu") as generator:
        ...     first = torch.rand(1), torch.rand(1, generator=generator)
        >>> with seeded(3, "cpu") as generator:
        ...     second = torch.rand(1), torch.rand(1, generator=generator)
        >>> first == second
        True
    """
    place = torch.device(device)
    is_accelerator = place.type != "cpu"
    with (
        # Dropout, drop path and the initialization of layers take no generator; they use the global ones.
        torch.random.fork_rng([place.index or 0] if is_accelerator else [], device_type=place.type),
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=tf32),
    ):
        torch.default_generator.manual_seed(seed)
        if is_accelerator:
            torch.get_device_module(place).manual_seed(seed)
        yield Generator().manual_seed(seed)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Let torch use deterministic algorithms alone while the context lasts, so that work on a GPU can be repeated."""
    before = torch.are_deterministic_algorithms_enabled()
    # cuBLAS reads this when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
