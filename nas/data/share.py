"""Images for several processes: all of them have the same memory, or the same file."""

import shutil
from pathlib import Path

from torch import Tensor
from torch.multiprocessing import get_sharing_strategy

from nas.data.base import ImageData
from nas.data.room import BY_DESCRIPTOR, MEMORY_SHARE, Room, free_memory
from nas.errors import DataError

# Where a system with such a folder keeps what processes share; containers make it small.
_FOLDER = Path("/dev/shm")  # noqa: S108 -- nothing is named in it


def share(data: ImageData) -> None:
    """Move images, in place, to where a process has them too that they are sent to.

    What then pickles them, in the way that `multiprocessing` does, sends the place and no image. Those that are too
    many for shared memory move to a file as in `Room`; those that lie in one stay there.

    Raises:
        DataError: they lie in a file, and files cannot be shared here; or the disk has no room for them.
    """
    for part in (data.train, data.val, data.test):
        if part is not None and part.images.numel():
            _share(part.images, mapped=part.mapped)


def _share(images: Tensor, *, mapped: bool) -> None:
    in_file = mapped or not (images.is_shared() or _fit(images.nbytes))  # type: ignore[no-untyped-call]
    if in_file and get_sharing_strategy() != BY_DESCRIPTOR:  # type: ignore[no-untyped-call]
        raise DataError(
            f"{images.nbytes / 1e9:,.1f} GB of images are too many for shared memory, and their file cannot be sent",
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
    """Whether shared memory takes so many bytes; for a while they are there twice."""
    room = shutil.disk_usage(_FOLDER).free if _FOLDER.is_dir() else free_memory()
    return size <= MEMORY_SHARE * min(room, free_memory())
