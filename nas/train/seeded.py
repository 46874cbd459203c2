"""What is run on a device by a seed, torch's generators put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator


@contextmanager
def seeded(seed: int, device: str, *, tf32: bool = False) -> Iterator[Generator]:
    """A generator of its own, and torch's global ones at that seed until the end; cuDNN is made deterministic.

    The global ones are used meanwhile: not for two threads at once.

    Args:
        seed: of all of them.
        device: as `find_device` gives it.
        tf32: whether cuDNN's convolutions may round fp32 inputs to 10 bits.
    """
    place = torch.device(device)
    own = place.type != "cpu"
    with (
        torch.random.fork_rng([place.index or 0] if own else [], device_type=place.type),
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=tf32),
    ):
        torch.default_generator.manual_seed(seed)
        if own:
            torch.get_device_module(place).manual_seed(seed)
        yield Generator().manual_seed(seed)
