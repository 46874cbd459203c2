"""Sharing of images between processes through shared memory or a shared file."""

import shutil
from pathlib import Path

from torch import Tensor
from torch.multiprocessing import get_sharing_strategy

from nas.data.base import ImageData
from nas.data.room import BY_DESCRIPTOR, MEMORY_SHARE, Room, free_memory
from nas.errors import DataError

# Linux keeps shared memory in this folder; containers often give it little space.
_FOLDER = Path("/dev/shm")  # noqa: S108 -- nothing is named in it


def share(data: ImageData) -> None:
    """Move images, in place, to shared memory, or to a shared file if they do not fit into shared memory.

    When the images are pickled afterwards, as `multiprocessing` does, only a reference is sent. The file is the one
    that `Room` describes; images that are already in such a file stay there.

    Args:
        data: Data set whose images are moved.

    Raises:
        DataError: The images need a file, but this system cannot share files between processes; or the disk has no
            space for the file.
    """
    for part in (data.train, data.val, data.test):
        if part is not None and part.images.numel():
            _share(part.images, mapped=part.mapped)


def _share(images: Tensor, *, mapped: bool) -> None:
    in_file = mapped or not (images.is_shared() or _fit(images.nbytes))  # type: ignore[no-untyped-call]
    if in_file and get_sharing_strategy() != BY_DESCRIPTOR:  # type: ignore[no-untyped-call]
        raise DataError(
            f"the images take {images.nbytes / 1e9:,.1f} GB; images for several processes must fit into shared memory "
            "on this system, where a file of images cannot be sent",
            "take fewer images or pixels, or work with a single process",
        )
    if images.is_shared():  # type: ignore[no-untyped-call]
        return
    if not in_file:
        images.share_memory_()  # type: ignore[no-untyped-call]
        return
    moved = Room(mapped=True).make(tuple(images.shape)).copy_(images)
    images.set_(moved.untyped_storage(), 0, moved.shape, moved.stride())


def _fit(size: int) -> bool:
    """Return whether shared memory has space for `size` bytes; during the move they exist twice."""
    free = shutil.disk_usage(_FOLDER).free if _FOLDER.is_dir() else free_memory()
    return size <= MEMORY_SHARE * min(free, free_memory())
