"""Running out of memory: told from other errors, and cleaned up after."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nas.errors import EvaluationError

_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class OutOfMemoryError(Exception):
    """Memory ran out in a training; another one with smaller batches may do."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


def is_lack(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)


@contextmanager
def noticed(epoch: int) -> Iterator[None]:
    """Turn all the ways of running out of memory into one."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack(error):
            raise
        raise OutOfMemoryError(epoch) from None


@contextmanager
def explained(when: str, remedy: str) -> Iterator[None]:
    """Running out of memory is this architecture's failure, not the search's.

    Raises:
        EvaluationError: memory ran out.
    """
    try:
        with noticed(0):
            yield
    except OutOfMemoryError:
        raise EvaluationError(f"out of memory {when}", remedy) from None


def let_go(device: str) -> None:
    """Give back what a training that has ended still holds of the device."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
