"""Images without labels: a folder of them, or files that a user names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from nas.data.decode import Decoded, check_corrupt, decode_all, describe_broken, describe_images
from nas.data.formats import has_image_name, sort_files
from nas.data.names import path_to_text, printable
from nas.data.packages import require
from nas.data.room import MEMORY_SHARE, find_room
from nas.data.tree import read_tree
from nas.data.wording import counted
from nas.errors import DataError


@frozen(eq=False)
class Unlabeled:
    """Hold images without labels.

    Attributes:
        images: uint8 images `(N, C, R, R)`.
        names: Path of each image, relative to the folder.
        notes: Sentences for the user about what was done to the images.
    """

    images: Tensor
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@frozen
class _Files:
    """Give the paths of images as a table with one column, as `decode_all` reads it."""

    paths: Sequence[Path]
    column_names: tuple[str, ...] = ("image",)

    def __getitem__(self, rows: Sequence[int]) -> Mapping[str, list[Any]]:
        return {"image": [{"bytes": None, "path": path_to_text(self.paths[row])} for row in rows]}


def load_unlabeled(folder: Path, resolution: int, channels: int = 3, max_corrupt_share: float = 0.01) -> Unlabeled:
    """Load all images below a folder, whatever the names of its subfolders are.

    Args:
        folder: The folder.
        resolution: Height and width in pixels to which every image is resized.
        channels: Number of channels of every image.
        max_corrupt_share: Largest share of the images that may be undecodable, from 0 to 1; they are skipped.

    Raises:
        DataError: There is no such folder, it has no images, or too many of them are unreadable.
        MissingPackageError: Pillow is not installed.
    """
    pictures, broken = find_images(folder)
    decoded = read_images(pictures, folder.absolute(), resolution, channels)
    check_corrupt(decoded.corrupt, len(pictures), max_corrupt_share)
    readable = decoded.readable.nonzero().flatten().tolist()
    names = tuple(printable(pictures[position]) for position in readable)
    return Unlabeled(decoded.images, names, (*describe_broken(broken), *describe_images([decoded], resolution)))


def find_images(folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the images below a folder, relative to it, and the names of links to images that lead to nothing.

    Nothing is decoded, so that a folder without images is an error before any work is done for it.

    Raises:
        DataError: There is no such folder, or it has no images.
        MissingPackageError: Pillow is not installed.
    """
    require("PIL")
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {printable(folder)!r} of unlabeled images", "give the path of a folder with images"
        )
    root = folder.absolute()
    tree = read_tree(root)
    files = sort_files(root, tree.files)
    if not files.pictures:
        raise DataError(
            f"the folder {printable(folder)!r} of unlabeled images has no image that can be decoded, and "
            f"{counted(len(files.others), 'other file')}; it must have at least one image",
            "put JPEG or PNG files into it, or into folders below it",
        )
    return files.pictures, tuple(printable(path) for path in tree.broken if has_image_name(path))


def read_images(paths: Sequence[Path], root: Path, resolution: int, channels: int) -> Decoded:
    """Decode image files; those that cannot be decoded are named in the result.

    Args:
        paths: Paths of the files, absolute or relative to the root.
        root: Folder that relative paths start from.
        resolution: Height and width in pixels to which every image is resized.
        channels: Number of channels of every image.

    Raises:
        DataError: A file cannot be read.
    """
    room = find_room(channels * resolution**2 * len(paths), MEMORY_SHARE)
    return decode_all(
        # A name that is no UTF-8 text is stored as a URI, which only an absolute path has.
        _Files([root.absolute() / path for path in paths]),
        torch.arange(len(paths)),
        part="the images",
        root=root,
        resolution=resolution,
        channels=channels,
        room=room,
    )
