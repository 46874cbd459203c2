"""Handling of memory that runs out: recognizing the error, and freeing what a failed training run holds."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nas.errors import EvaluationError

# A run has room for another step if so many times the memory of its largest step is free: for the record of a step,
# and for one of another batch size beside it.
_ROOM = 3

# Parts of the messages of torch, for a GPU and for the CPU. On the CPU the error is a plain RuntimeError.
_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")


class OutOfMemoryError(Exception):
    """Memory ran out during a training run; one with smaller batches may succeed.

    Attributes:
        epoch: Number of the epoch, counted from 1; 0 before the first one.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
        True
    """
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in _PHRASES)


@contextmanager
def unified_memory_errors(epoch: int) -> Iterator[None]:
    """Turn every error that means that memory ran out into an `OutOfMemoryError`.

    Args:
        epoch: Number of the epoch that runs inside the context.

    Raises:
        OutOfMemoryError: Memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(epoch) from None


@contextmanager
def memory_errors_of_network(when: str, remedy: str) -> Iterator[None]:
    """Turn running out of memory into a failure of one architecture, after which a search continues.

    Args:
        when: Situation, as it continues the message "out of memory …".
        remedy: Remedy for the message.

    Raises:
        EvaluationError: Memory ran out.
    """
    try:
        with unified_memory_errors(0):
            yield
    except OutOfMemoryError:
        raise EvaluationError(f"out of memory {when}", remedy) from None


def free_device_memory(device: str) -> None:
    """Free the memory that an ended training run still occupies on the device."""
    # Models and optimizers have reference cycles, which only the collector frees; torch caches freed GPU memory.
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def measure_memory(device: str) -> None:
    """Begin to measure the memory that steps take; see `has_room_for_another_step`."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def has_room_for_another_step(device: str) -> bool:
    """Return whether a GPU has memory for more steps at once like those since `measure_memory`, with a margin."""
    if not device.startswith("cuda"):
        return True
    held = torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - held
    return _ROOM * (torch.cuda.max_memory_allocated(device) - held) <= free
