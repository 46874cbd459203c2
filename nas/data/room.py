"""Where decoded images lie: in memory, or in a file that is read as it is needed."""

import errno
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import attrs
import numpy as np
import psutil
import torch
from torch import Tensor
from torch.multiprocessing import get_all_sharing_strategies

from nas.errors import DataError

# The way of sharing memory between processes that can share a file too.
BY_DESCRIPTOR = "file_descriptor"
# Of the free memory; the rest is for networks and for what else runs.
MEMORY_SHARE = 0.5
# What a container may use, and what it uses.
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: "free some, set TMPDIR to a folder on a larger disk, or take fewer images or pixels",
}


@attrs.frozen
class Room:
    """Makes tensors to put images in.

    Attributes:
        mapped: in an unnamed file of the temporary folder, which is gone with its last user, however that ends.
    """

    mapped: bool = False

    def make(self, shape: tuple[int, ...]) -> Tensor:
        """A uint8 tensor of that shape, to be filled.

        Raises:
            DataError: the disk has no room for it.
        """
        return _mapped(shape) if self.mapped and all(shape) else torch.empty(shape, dtype=torch.uint8)


MEMORY = Room()


def find_room(needed: int, share: float) -> Room:
    """Memory where images of so many bytes take at most that share of what is free, else a file."""
    return Room(mapped=needed > share * free_memory())


def free_memory() -> int:
    """Bytes that this process could still take."""
    left = [int(most) - int(used) for most, used in map(_read, _LIMITS) if most.isdecimal() and used.isdecimal()]
    return max(0, min([psutil.virtual_memory().available, *left]))


def _read(paths: tuple[str, str]) -> tuple[str, str]:
    most, used = (Path(path).read_text(encoding="ascii").strip() if Path(path).is_file() else "" for path in paths)
    return most, used


def _mapped(shape: tuple[int, ...]) -> Tensor:
    size = int(np.prod(shape, dtype=np.int64))
    with tempfile.TemporaryFile(prefix="nas-images-") as file:
        try:
            _RESERVE(file, size)
        except OSError as error:
            raise DataError(
                f"decoded, the images take {size / 1e9:,.1f} GB, more than the memory that is free, and the temporary "
                f"folder {tempfile.gettempdir()} does not take them: {error.strerror}",
                _REMEDIES.get(error.errno or 0, "see that it can be written to, or set TMPDIR to another folder"),
            ) from None
        return _mapping(file, size).view(shape)


def _mapping(file: IO[bytes], size: int) -> Tensor:
    """The bytes of a file `(size,)`; they outlive its name and its handle."""
    if BY_DESCRIPTOR not in get_all_sharing_strategies():  # type: ignore[no-untyped-call]
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(size,)))
    # A storage that keeps a descriptor, so that torch can send it to another process; its type stubs lack this one.
    storage = torch.UntypedStorage._new_shared_fd_cpu(file.fileno(), size)  # type: ignore[attr-defined]
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _reserve(file: IO[bytes], size: int) -> None:
    # A disk that fills up later would end the process while it writes to the mapping.
    os.posix_fallocate(file.fileno(), 0, size)


def _fill(file: IO[bytes], size: int) -> None:
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        file.write(block[: size - start])
    file.flush()


_RESERVE: Callable[[IO[bytes], int], None] = _reserve if hasattr(os, "posix_fallocate") else _fill
