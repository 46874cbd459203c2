"""Decoding of image files to tensors; images that cannot be decoded are skipped and named."""

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
from statistics import median
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.names import printable, text_to_path
from nas.data.room import MEMORY, Room
from nas.data.wording import listed
from nas.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_BATCH = 1024
# For images with fewer pixels, threads wait longer for the interpreter's lock than they decode.
_THREADED_PIXELS = 256 * 256
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
# Modes that every image is converted to, by their numbers of channels.
_MODES: Mapping[int, str] = MappingProxyType({1: "L", 3: "RGB"})
_16_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")

# A broken file makes a decoder raise nearly any error. MemoryError is not among them: it says nothing about the file.
_DECODER_ERRORS = (
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

T = TypeVar("T")
_Cell = Mapping[str, Any] | None


@attrs.frozen(eq=False)
class Picture:
    """Hold one decoded image.

    Args:
        pixels: uint8 pixels `(H, W, C)`.
        size: Width and height of the stored image, in pixels.
        gray: Whether the stored image was grayscale.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    gray: bool


@attrs.frozen(eq=False)
class Decoded:
    """Hold the decoded images of one split, and figures to report about them.

    Args:
        images: Images that could be decoded, in order, uint8 `(M, C, R, R)`.
        readable: Whether each requested image could be decoded, bool `(N,)`.
        corrupt: Names of the images that could not be decoded.
        sizes: Number of images of each stored `(width, height)`.
        gray: Number of grayscale images.
        names: Names of the decoded images: paths within the source, or splits and row numbers.
    """

    images: Tensor
    readable: Tensor
    corrupt: tuple[str, ...]
    sizes: Counter[tuple[int, int]]
    gray: int
    names: tuple[str, ...] = ()


def decode(cell: _Cell, *, root: Path, resolution: int, channels: int = 3) -> Picture | None:
    """Decode one image, apply its EXIF orientation, crop its center to a square, and resize it to `resolution`.

    The square has the length of the shorter side and whole pixels as offsets; the filter is bilinear, and wider where
    it shrinks an image.

    Transparent pixels become white, and 16-bit gray values are scaled to 8 bits. With 3 channels, a single channel is
    repeated three times; with 1 channel, colors become gray. For any other number of channels, an image must have as
    many. Images with floating-point pixels are not supported.

    Args:
        cell: Cell of a table: `bytes`, or else a `path`; a relative path starts at `root`.
        root: Folder of the source.
        resolution: Height and width of the result, in pixels.
        channels: Number of channels of the result.

    Returns:
        The decoded image, or None if the cell does not hold an image that can be decoded.

    Raises:
        DataError: The file is missing, its permissions forbid reading it, the disk fails, or the image has another
            number of channels.
    """
    return _decoded(cell, root, lambda image: _to_picture(image, resolution, channels))


def decode_stored(cell: _Cell, *, root: Path, channels: int = 3) -> NDArray[np.uint8] | None:
    """Decode one image as `decode` does, but leave its size; return uint8 pixels `(H, W, C)`.

    Raises:
        DataError: As `decode` raises it.
    """

    def pixels(image: "Image.Image") -> NDArray[np.uint8]:
        upright = np.array(_upright(image, channels))
        return upright.reshape(*upright.shape[:2], channels)

    return _decoded(cell, root, pixels)


def _decoded(cell: _Cell, root: Path, convert: "Callable[[Image.Image], T]") -> T | None:
    """Return what a function makes of the image of a cell, or None if the cell holds no image that can be decoded."""
    from PIL import Image

    encoded = read_cell(cell or {}, root)
    try:
        # The bytes are already in memory, so an OSError here comes from the decoder and not from the disk.
        with Image.open(io.BytesIO(encoded)) as image:
            return convert(image)
    except (*_DECODER_ERRORS, Image.DecompressionBombError):
        return None


def decode_all(
    table: Any,
    indices: Tensor,
    *,
    part: str,
    root: Path,
    resolution: int,
    channels: int = 3,
    room: Room = MEMORY,
) -> Decoded:
    """Decode rows of a table, on all CPU cores.

    Args:
        table: Table of the `datasets` library that has only the image column, with its images still encoded.
        indices: Indices `(N,)` of the rows to decode.
        part: Name of the table's split; an image without a file name is named by split and row.
        root: Folder of the source.
        resolution: Height and width of the results, in pixels.
        channels: Number of channels of the results.
        room: Place that the images are stored in: memory or a file.

    Raises:
        DataError: A file cannot be read, or the images do not fit on the disk.
    """
    (column,) = table.column_names
    images = room.make((len(indices), channels, resolution, resolution))
    readable = torch.zeros(len(indices), dtype=torch.bool)
    corrupt: list[str] = []
    names: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    gray = 0
    decode_cell = partial(decode, root=root, resolution=resolution, channels=channels)
    with ThreadPoolExecutor(os.cpu_count()) as pool, warnings.catch_warnings():
        # A decoder's warning is about an image that it can still decode; images that it cannot decode are reported.
        warnings.simplefilter("ignore")
        for start in range(0, len(indices), _BATCH):
            rows = indices[start : start + _BATCH].tolist()
            cells = table[rows][column]
            pictures = _decode_batch(decode_cell, cells, pool)
            for position, (row, cell, picture) in enumerate(zip(rows, cells, pictures, strict=True), start):
                name = _name(cell, part, row, root)
                (corrupt if picture is None else names).append(name)
                if picture is None:
                    continue
                images[position - len(corrupt)] = torch.from_numpy(picture.pixels).permute(2, 0, 1)
                readable[position] = True
                sizes[picture.size] += 1
                gray += picture.gray
    return Decoded(images[: len(indices) - len(corrupt)], readable, tuple(corrupt), sizes, gray, tuple(names))


def _decode_batch(
    decode_cell: Callable[[_Cell], Picture | None], cells: list[_Cell], pool: ThreadPoolExecutor
) -> Iterable[Picture | None]:
    """Decode a batch, in threads if its first image is large."""
    first = decode_cell(cells[0])
    large = first is not None and first.size[0] * first.size[1] >= _THREADED_PIXELS
    return itertools.chain([first], (pool.map if large else map)(decode_cell, cells[1:]))


def check_corrupt(corrupt: tuple[str, ...], tried: int, max_share: float) -> None:
    """Check that no more than the allowed share of the images is unreadable.

    Args:
        corrupt: Names of the unreadable images.
        tried: Number of images that were decoded or could not be decoded.
        max_share: Largest share of unreadable images, from 0 to 1.

    Raises:
        DataError: Too many images are unreadable; the error states their number and the first names.
    """
    if len(corrupt) > max_share * tried:
        raise DataError(
            f"{len(corrupt):,} of {tried:,} images are unreadable: {listed(corrupt)}; "
            f"at most {max_share:.2%} of the images may be unreadable",
            "replace or remove these images",
        )


def describe_broken(links: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note for the user about links to images that lead to nothing."""
    return (f"broken links were skipped, {len(links):,} in all: {listed(links)}",) if links else ()


def describe_images(splits: list[Decoded], resolution: int) -> tuple[str, ...]:
    """Return notes for the user about what was done to the images of all splits."""
    corrupt = tuple(name for split in splits for name in split.corrupt)
    sizes = set().union(*(split.sizes for split in splits))
    channels = splits[0].images.shape[1]
    gray = sum(split.gray for split in splits)
    colored = sum(len(split.images) for split in splits) - gray
    notes = (
        f"unreadable images were skipped, {len(corrupt):,} in all: {listed(corrupt)}" if corrupt else "",
        _describe_sizes(sizes, resolution),
        f"grayscale images were repeated to 3 channels, {gray:,} in all" if gray and channels == 3 else "",
        f"color images were converted to grayscale, {colored:,} in all" if colored and channels == 1 else "",
    )
    return tuple(filter(None, notes))


def median_side(splits: list[Decoded]) -> int:
    """Return the median of the shorter sides of all stored images, in pixels."""
    sizes = sum((split.sizes for split in splits), Counter[tuple[int, int]]())
    return round(median(side for size, count in sizes.items() for side in itertools.repeat(min(size), count)))


def _describe_sizes(sizes: set[tuple[int, int]], resolution: int) -> str:
    change = f"they were center-cropped and resized to {resolution} x {resolution}"
    smallest, largest = ("{} x {}".format(*pick(sizes, key=lambda size: size[0] * size[1])) for pick in (min, max))
    if len(sizes) > 1:
        return f"the images have {len(sizes):,} sizes, from {smallest} to {largest} pixels; {change}"
    return "" if sizes == {(resolution, resolution)} else f"the images have {smallest} pixels; {change}"


def _name(cell: _Cell, part: str, row: int, root: Path) -> str:
    """Return a file's path within the source, or else the split and the row number, counted from 0."""
    if cell and cell.get("bytes") is None and cell.get("path"):
        path = text_to_path(cell["path"])
        return printable(path.relative_to(root) if path.is_relative_to(root) else path)
    return f"{part} row {row}"


def read_cell(cell: Mapping[str, Any], root: Path) -> bytes:
    """Return the bytes of the encoded image of a cell; they are empty if the cell is empty.

    Raises:
        DataError: The file is missing, its permissions forbid reading it, or the disk fails.
    """
    if cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    if not cell.get("path"):
        return b""
    try:
        return _read_file(cell["path"], root)
    # A path that no file can have, such as one with a null byte, raises a ValueError.
    except (OSError, ValueError, BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        path = cell["path"] if "::" in cell["path"] else printable(root / text_to_path(cell["path"]))
        raise DataError(
            f"the image file {path!r} cannot be read: {reason}; every image file must be readable",
            "restore the file or its read permission, or remove it from the data",
        ) from error


def _read_file(path: str, root: Path) -> bytes:
    if "::" not in path:
        return (root / text_to_path(path)).read_bytes()
    # The `datasets` library writes the path of a file inside an archive with "::".
    from datasets.utils.file_utils import xopen

    with xopen(path, "rb") as archived:
        return bytes(archived.read())


def _to_picture(image: "Image.Image", resolution: int, channels: int) -> Picture:
    size, gray = image.size, image.mode in _GRAY_MODES
    # A JPEG decoder halves an image far faster than a resize does. It stops at twice the resolution, so that the resize
    # that follows still averages pixels.
    image.draft(image.mode, (2 * resolution, 2 * resolution))
    resized = _fit(_upright(image, channels), resolution)
    return Picture(np.array(resized).reshape(resolution, resolution, channels), size, gray)


def _upright(image: "Image.Image", channels: int) -> "Image.Image":
    from PIL import ImageOps

    ImageOps.exif_transpose(image, in_place=True)
    return _with_channels(image, channels)


def _fit(image: "Image.Image", resolution: int) -> "Image.Image":
    """Return the center of an image as a square of a size; `nas.graph.preprocessing` has the same operators."""
    from PIL import Image

    if image.size == (resolution, resolution):
        return image
    # Whole pixels, which every program can cut out, and no pixel outside of the square has any influence.
    # `ImageOps.fit` has neither property.
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    return square.resize((resolution, resolution), Image.Resampling.BILINEAR)


def fit_pixels(pixels: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Return the center of an image `(H, W, C)` as `(R, R, C)`, cropped and resized as `decode` does it."""
    from PIL import Image

    bands = [_fit(Image.fromarray(band), resolution) for band in np.moveaxis(pixels, 2, 0)]
    return np.stack([np.asarray(band) for band in bands], 2)


def _with_channels(image: "Image.Image", channels: int) -> "Image.Image":
    if channels in _MODES:
        return _opaque(image).convert(_MODES[channels])
    bands = image.getbands()
    if len(bands) != channels:
        raise DataError(
            f"an image has {len(bands)} channels ({', '.join(bands)}), and the network takes {channels}; images of "
            "other numbers of channels than 1 and 3 must have exactly that number",
            f"use a space whose net has channels=1, 3 or {len(bands)}, or images of {channels} channels",
        )
    return image


def _opaque(image: "Image.Image") -> "Image.Image":
    """Return an image of 8 bits on a white background."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode in _16_BIT_MODES:
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image.convert("RGBA"))
    return image
