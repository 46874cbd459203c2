"""Encoded images ► tensors, with those that cannot be read named."""

import io
import itertools
import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.room import MEMORY, Room
from nas.data.wording import listed
from nas.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_BATCH = 1024
# Below this, threads wait for the interpreter's lock longer than they decode.
_THREADED_PIXELS = 256 * 256
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")

# A broken file makes a decoder raise nearly anything; but never MemoryError, which says nothing about the file.
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_Cell = Mapping[str, Any] | None


@attrs.frozen(eq=False)
class Picture:
    """One decoded image: `pixels` uint8 `(H, W, 3)`, its stored `(width, height)`, and whether it was grey."""

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    grey: bool


@attrs.frozen(eq=False)
class Decoded:
    """Images that could be read, uint8 `(M, 3, R, R)`, with what to say about them.

    Args:
        images: those that could be read, in order.
        readable: bool `(N,)`, over all that were tried.
        corrupt: names of the others.
        sizes: how often each stored `(width, height)` occurs.
        grey: how many had one channel.
    """

    images: Tensor
    readable: Tensor
    corrupt: tuple[str, ...]
    sizes: Counter[tuple[int, int]]
    grey: int


def decode(cell: _Cell, *, root: Path, resolution: int) -> Picture | None:
    """Decode, turn upright, and bring to `resolution`: the shorter side is resized and the centre kept.

    Transparent pixels lie on white; 16-bit greys are scaled to 8 bits; one channel is repeated to three;
    fractional pixels are not read.

    Args:
        cell: `bytes`, or without them a `path`, which is taken from `root` if it is relative.
        root: the folder of the source.
        resolution: height and width of the result, in pixels.

    Returns:
        None for what is not an image.

    Raises:
        DataError: a file cannot be read at all: it is gone, it may not be opened, or the disk fails.
    """
    from PIL import Image

    encoded = _encoded(cell or {}, root)
    try:
        # The bytes are in memory, so an OSError here is the decoder's.
        with Image.open(io.BytesIO(encoded)) as image:
            return _picture(image, resolution)
    except (*_BROKEN, Image.DecompressionBombError):
        return None


def decode_all(table: Any, indices: Tensor, *, part: str, root: Path, resolution: int, room: Room = MEMORY) -> Decoded:
    """Decode rows of a table of one column, on all cores.

    Args:
        table: a table of the `datasets` library with the image column alone, undecoded.
        indices: which rows, `(N,)`.
        part: its name, for naming rows.
        root: the folder of the source.
        resolution: height and width, in pixels.
        room: where the images are put.

    Raises:
        DataError: a file cannot be read at all, or there is no room.
    """
    (column,) = table.column_names
    images = room.make((len(indices), 3, resolution, resolution))
    readable = torch.zeros(len(indices), dtype=torch.bool)
    corrupt: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    grey = 0
    one = partial(decode, root=root, resolution=resolution)
    with ThreadPoolExecutor(os.cpu_count()) as pool, warnings.catch_warnings():
        # What a decoder grumbles about and still reads is no news; what it cannot read is named.
        warnings.simplefilter("ignore")
        for start in range(0, len(indices), _BATCH):
            rows = indices[start : start + _BATCH].tolist()
            cells = table[rows][column]
            pictures = _each(one, cells, pool)
            for at, (row, cell, picture) in enumerate(zip(rows, cells, pictures, strict=True), start):
                if picture is None:
                    corrupt.append(_name(cell, part, row, root))
                    continue
                images[at - len(corrupt)] = torch.from_numpy(picture.pixels).permute(2, 0, 1)
                readable[at] = True
                sizes[picture.size] += 1
                grey += picture.grey
    return Decoded(images[: len(indices) - len(corrupt)], readable, tuple(corrupt), sizes, grey)


def _each(
    one: Callable[[_Cell], Picture | None], cells: list[_Cell], pool: ThreadPoolExecutor
) -> Iterable[Picture | None]:
    """Decode a batch, in threads if its first image is large."""
    first = one(cells[0])
    large = first is not None and first.size[0] * first.size[1] >= _THREADED_PIXELS
    return itertools.chain([first], (pool.map if large else map)(one, cells[1:]))


def check_corrupt(corrupt: tuple[str, ...], tried: int, max_share: float) -> None:
    """Refuse too many unreadable images.

    Raises:
        DataError: with their count and names.
    """
    if len(corrupt) > max_share * tried:
        raise DataError(
            f"at most {max_share:.2%} of the images may be unreadable: "
            f"{len(corrupt):,} of {tried:,} are: {listed(corrupt)}",
            "replace or remove these images",
        )


def notes(parts: list[Decoded], resolution: int) -> tuple[str, ...]:
    """What was done to the images, for the user."""
    corrupt = tuple(name for part in parts for name in part.corrupt)
    sizes = set().union(*(part.sizes for part in parts))
    grey = sum(part.grey for part in parts)
    told = (
        f"{len(corrupt):,} unreadable and left out: {listed(corrupt)}" if corrupt else "",
        _say_sizes(sizes, resolution),
        f"{grey:,} greyscale, replicated to 3 channels" if grey else "",
    )
    return tuple(filter(None, told))


def _say_sizes(sizes: set[tuple[int, int]], resolution: int) -> str:
    to = f"resized to {resolution} x {resolution}, the centre kept"
    smallest, largest = ("{} x {}".format(*pick(sizes, key=lambda size: size[0] * size[1])) for pick in (min, max))
    if len(sizes) > 1:
        return f"{len(sizes):,} sizes, from {smallest} to {largest} pixels, {to}"
    return "" if sizes == {(resolution, resolution)} else f"{smallest} pixels, {to}"


def _name(cell: _Cell, part: str, row: int, root: Path) -> str:
    """A file by its path in the source, a row by its number from 0."""
    if cell and cell.get("bytes") is None and cell.get("path"):
        path = Path(cell["path"])
        return str(path.relative_to(root) if path.is_relative_to(root) else path)
    return f"{part} row {row}"


def _encoded(cell: Mapping[str, Any], root: Path) -> bytes:
    """The image as it is stored; empty where the cell is."""
    if cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    if not cell.get("path"):
        return b""
    try:
        return _stored(cell["path"], root)
    # A path that no file can have is a ValueError.
    except (OSError, ValueError, BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        path = cell["path"] if "::" in cell["path"] else str(Path(root, cell["path"]))
        raise DataError(
            f"every image file must be readable, {path!r} is not: {reason}",
            "put the file back, let yourself read it, or leave it out",
        ) from error


def _stored(path: str, root: Path) -> bytes:
    if "::" not in path:
        return Path(root, path).read_bytes()
    # A file inside an archive, in the notation of the `datasets` library.
    from datasets.utils.file_utils import xopen

    with xopen(path, "rb") as archived:
        return bytes(archived.read())


def _picture(image: "Image.Image", resolution: int) -> Picture:
    from PIL import Image, ImageOps

    size, grey = image.size, image.mode in _GREY_MODES
    # A JPEG decoder halves an image far faster than a resize does; twice the resolution leaves the resize its work.
    image.draft(image.mode, (2 * resolution, 2 * resolution))
    ImageOps.exif_transpose(image, in_place=True)
    upright = _to_rgb(image)
    if upright.size != (resolution, resolution):
        upright = ImageOps.fit(upright, (resolution, resolution), method=Image.Resampling.BILINEAR)
    return Picture(np.array(upright), size, grey)


def _to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode == "F":
        raise ValueError("fractional pixels have no agreed range")
    if image.mode in _DEEP_MODES:
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert("RGB")
