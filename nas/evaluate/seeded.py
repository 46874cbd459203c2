"""What is run on a device by a seed: torch's generators put back afterwards, and lack of memory told as what it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator

from nas.errors import EvaluationError

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def seeded(seed: int, device: str) -> Iterator[Generator]:
    """A generator of its own, and torch's global ones at that seed until the end; cuDNN is made deterministic.

    The global ones are used meanwhile: not for two threads at once.
    """
    place = torch.device(device)
    own = place.type != "cpu"
    with (
        torch.random.fork_rng([place.index or 0] if own else [], device_type=place.type),
        torch.backends.cudnn.flags(enabled=True, deterministic=True),
    ):
        torch.default_generator.manual_seed(seed)
        if own:
            torch.get_device_module(place).manual_seed(seed)
        yield Generator().manual_seed(seed)


@contextmanager
def explained(when: str, remedy: str) -> Iterator[None]:
    """Running out of memory is this architecture's failure, not the search's.

    Raises:
        EvaluationError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        # Without its cause: that would keep the model and its tensors alive for as long as the error is.
        raise EvaluationError(f"out of memory {when}", remedy) from None
