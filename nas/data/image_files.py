"""Single image files: finding them, and decoding them as a data set decodes its images."""

import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from nas.data.decode import decode
from nas.data.formats import sort_files
from nas.data.names import printable
from nas.data.packages import require
from nas.data.tree import read_tree
from nas.errors import DataError
from nas.files import read_bytes

MOST_BYTES = 1 << 30


def find_image_files(paths: Iterable[Path]) -> list[Path]:
    """Return files as they are given, and the image files below each folder in the order of their names.

    Raises:
        DataError: A folder cannot be read, or has no images.
        MissingPackageError: The package pillow is not installed.
    """
    require("PIL")
    found: list[Path] = []
    for path in paths:
        below = (
            [path] if not path.is_dir() else [path / each for each in sort_files(path, read_tree(path).files).pictures]
        )
        if not below:
            raise DataError(
                f"the folder {printable(path)!r} has no images; a folder must have at least one image file",
                "give another folder, or image files",
            )
        found.extend(below)
    return found


def read_image(path: Path, resolution: int, channels: int) -> Tensor:
    """Return the image of a file, uint8 `(C, resolution, resolution)`; see `nas.data.decode.decode`.

    Raises:
        DataError: The file cannot be read, or is not an image that can be decoded.
    """
    try:
        encoded = read_bytes(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{printable(path)} cannot be read: {reason}", "give a readable image file") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an image that can still be decoded
        picture = decode({"bytes": encoded}, root=path.parent, resolution=resolution, channels=channels)
    if picture is None:
        raise DataError(
            f"{printable(path)} is not an image that can be decoded, or is damaged", "give a file that Pillow can read"
        )
    return torch.from_numpy(picture.pixels).permute(2, 0, 1)
