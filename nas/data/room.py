"""Storage of decoded images: in memory, or in a memory-mapped file that is read on demand."""

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

# torch's only strategy of sharing memory between processes that can also share a file.
BY_DESCRIPTOR = "file_descriptor"
# Share of the free memory that images may take; the other half is for networks and for other processes.
MEMORY_SHARE = 0.5
# Memory limit and memory use of a container, in control groups of version 2 and version 1.
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: "free disk space, set TMPDIR to a folder on a larger disk, or use fewer images or a lower resolution",
}


@attrs.frozen
class Room:
    """Allocate tensors for images, in memory or in a file.

    Attributes:
        mapped: Whether tensors are allocated in an unnamed file of the temporary folder. The system deletes the file
            when the last process that uses it ends, even if that process is killed.
    """

    mapped: bool = False

    def make(self, shape: tuple[int, ...]) -> Tensor:
        """Return a uint8 tensor of the given shape, to be filled.

        Raises:
            DataError: The temporary folder has no space for the file, or cannot be written to.

        Example:
            >>> Room().make((2, 3, 8, 8)).shape
            torch.Size([2, 3, 8, 8])
        """
        return _mapped(shape) if self.mapped and all(shape) else torch.empty(shape, dtype=torch.uint8)


MEMORY = Room()


def find_room(needed: int, share: float) -> Room:
    """Choose memory if `needed` bytes are at most the given share of the free memory, or else a file."""
    return Room(mapped=needed > share * free_memory())


def free_memory() -> int:
    """Return the number of bytes that this process can still allocate, within the limit of its container."""
    # A container without a limit has the text "max" in place of a number.
    left = [int(limit) - int(used) for limit, used in map(_read, _LIMITS) if limit.isdecimal() and used.isdecimal()]
    return max(0, min([psutil.virtual_memory().available, *left]))


def _read(paths: tuple[str, str]) -> tuple[str, str]:
    limit, used = (Path(path).read_text(encoding="ascii").strip() if Path(path).is_file() else "" for path in paths)
    return limit, used


def _mapped(shape: tuple[int, ...]) -> Tensor:
    size = int(np.prod(shape, dtype=np.int64))
    with tempfile.TemporaryFile(prefix="nas-images-") as file:
        try:
            _RESERVE(file, size)
        except OSError as error:
            raise DataError(
                f"the decoded images take {size / 1e9:,.1f} GB; they must fit into the free memory, or else into the "
                f"temporary folder {tempfile.gettempdir()}, which cannot store them: {error.strerror}",
                _REMEDIES.get(error.errno or 0, "make that folder writable, or set TMPDIR to another folder"),
            ) from None
        return _mapping(file, size).view(shape)


def _mapping(file: IO[bytes], size: int) -> Tensor:
    """Map the bytes of a file to a tensor `(size,)`, which stays valid after the file is unlinked and closed."""
    if BY_DESCRIPTOR not in get_all_sharing_strategies():  # type: ignore[no-untyped-call]
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(size,)))
    # This storage keeps the file descriptor, so that torch can send it to another process. torch's type stubs lack it.
    storage = torch.UntypedStorage._new_shared_fd_cpu(file.fileno(), size)  # type: ignore[attr-defined]
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _reserve(file: IO[bytes], size: int) -> None:
    # If the disk filled up later, a write to the mapping would end the process with SIGBUS.
    os.posix_fallocate(file.fileno(), 0, size)


def _fill(file: IO[bytes], size: int) -> None:
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        file.write(block[: size - start])
    file.flush()


_RESERVE: Callable[[IO[bytes], int], None] = _reserve if hasattr(os, "posix_fallocate") else _fill
