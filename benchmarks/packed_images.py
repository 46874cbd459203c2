"""Labeled images in one `.npz` file of encoded images, for machines without the packages that read tables.

A file holds arrays of numbers and of text alone: the JPEG or PNG bytes of all images, one after another, their offsets,
their labels, and the names of the classes and splits. numpy reads it without pickle, and Pillow decodes the images.
"""

import io
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from plain_training import Encoded
from torch import Tensor

from nas.data.base import ImageData, Images, fingerprint, mean_and_std
from nas.data.columns import image_column, label_column, read_labels
from nas.data.decode import Decoded, check_corrupt, decode_all, describe_images, read_cell
from nas.data.names import printable
from nas.data.parts import Slice, plan
from nas.data.source import Source
from nas.data.sources import open_source
from nas.errors import DataError
from nas.files import read_bytes, write_atomically

MOST_BYTES = 2_000_000_000
MOST_CORRUPT = 0.01  # the share that `load_images` allows
JPEG_QUALITY = 95
# Type and number of dimensions of every array.
_ARRAYS: Mapping[str, tuple[type[np.generic], int]] = MappingProxyType(
    {
        "name": (np.str_, 0),
        "flip": (np.bool_, 0),
        "classes": (np.str_, 1),
        "splits": (np.str_, 1),
        "counts": (np.int64, 1),
        "labels": (np.int64, 1),
        "offsets": (np.int64, 1),
        "encoded": (np.uint8, 1),
    }
)
_Arrays = Mapping[str, NDArray[Any]]


@attrs.frozen(eq=False)
class Packed:
    """Hold the encoded images of a source, with its own splits.

    Attributes:
        name: Name of the source.
        classes: Class names; a label is an index into them.
        flip: Whether a mirrored image keeps its label.
        labels: Labels int64 `(N,)` by split of the source.
        files: Encoded images by split of the source.
    """

    name: str
    classes: tuple[str, ...]
    flip: bool
    labels: Mapping[str, Tensor]
    files: Mapping[str, Sequence[bytes]]

    def data(self, resolution: int, images: int | None = None) -> ImageData:
        """Return the decoded images as `nas.data.load.load_images` returns those of the source.

        Args:
            resolution: Height and width in pixels to which every image is resized.
            images: Number of training images to keep, as a stratified subset; None keeps all.

        Raises:
            DataError: Too many images cannot be decoded, or fewer images than classes are requested.
        """
        slices = self._slices(images)
        decoded = {part: self._decode(chosen, resolution) for part, chosen in slices.items()}
        corrupt = tuple(name for part in decoded.values() for name in part.corrupt)
        check_corrupt(corrupt, sum(len(part.readable) for part in decoded.values()), MOST_CORRUPT)
        parts = {part: Images(held.images, self._labels(slices[part])[held.readable]) for part, held in decoded.items()}
        mean, std = mean_and_std(parts["train"].images)
        digest = fingerprint(self.classes, (parts["train"], parts["val"]))
        notes = describe_images(list(decoded.values()), resolution)
        return ImageData(
            self.name,
            self.classes,
            train=parts["train"],
            val=parts["val"],
            test=None,
            mean=mean,
            std=std,
            fingerprint=digest,
            flip=self.flip,
            notes=notes,
        )

    def encoded(self, images: int | None = None) -> dict[str, Encoded]:
        """Return the encoded training and validation images for the plain training loop.

        Args:
            images: Number of training images to keep, as `data` keeps them.
        """
        return {
            part: Encoded(
                [self.files[chosen.origin][k] for k in chosen.indices.tolist()], self._labels(chosen).tolist()
            )
            for part, chosen in self._slices(images).items()
        }

    def _slices(self, images: int | None) -> dict[str, Slice]:
        planned = plan(self.labels, self.classes, images)
        return {part: planned[part] for part in ("train", "val")}

    def _labels(self, chosen: Slice) -> Tensor:
        return self.labels[chosen.origin][chosen.indices]

    def _decode(self, chosen: Slice, resolution: int) -> Decoded:
        table = _Column(self.files[chosen.origin])
        return decode_all(table, chosen.indices, part=chosen.origin, root=Path(), resolution=resolution)


@attrs.frozen(eq=False)
class _Column:
    """A column of encoded images, read as `decode_all` reads a table of the `datasets` library."""

    files: Sequence[bytes]
    column_names: tuple[str, ...] = ("image",)

    def __getitem__(self, rows: Sequence[int]) -> dict[str, list[dict[str, bytes]]]:
        return {"image": [{"bytes": self.files[row]} for row in rows]}


def pack(source: str, path: Path, *, side: int | None = None, name: str | None = None) -> None:
    """Write the images of a source to one file, in their encoded form.

    Args:
        source: Source as `nas.data.load.load_images` takes it.
        path: Path of the file, which is replaced.
        side: Largest shorter side of an image, in pixels. A larger image of gray or RGB pixels becomes a JPEG of this
            size, after its EXIF orientation is applied; all others keep their bytes. None keeps the bytes of all.
        name: Name of the data; None takes the source as it is given.

    Raises:
        DataError: The source cannot be read.
        NasError: The file cannot be written.
        MissingPackageError: A package that the source needs is not installed.
    """
    with tempfile.TemporaryDirectory() as cache:
        opened = open_source(source, cache, test=True)
        labels = read_labels(opened.parts, label_column(opened.parts["train"].features))
        files = {split: _read_files(opened, split, side) for split in labels.codes}
    joined = [encoded for split in files.values() for encoded in split]
    stream = io.BytesIO()
    np.savez_compressed(  # small JPEG files consist mostly of the same tables
        stream,
        name=np.array(name or printable(source)),
        flip=np.array(opened.flip),
        classes=np.array(labels.classes),
        splits=np.array(list(files)),
        counts=np.array([len(split) for split in files.values()]),
        labels=torch.cat([labels.codes[split] for split in files]).numpy(),
        offsets=np.cumsum([0, *map(len, joined)]),
        encoded=np.frombuffer(b"".join(joined), dtype=np.uint8),
    )
    write_atomically(path, stream.getbuffer())


def _read_files(opened: Source, split: str, side: int | None) -> list[bytes]:
    from datasets import Image as Undecoded

    column = image_column(opened.parts["train"].features)
    table = opened.parts[split].select_columns([column]).cast_column(column, Undecoded(decode=False))
    files = (read_cell(row[column] or {}, opened.root) for row in table)
    return [encoded if side is None else _shrink(encoded, side) for encoded in files]


def _shrink(encoded: bytes, side: int) -> bytes:
    """Return an image whose shorter side has at most so many pixels."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if min(image.size) <= side or image.mode not in ("L", "RGB"):
                return encoded
            upright, stream = ImageOps.exif_transpose(image), io.BytesIO()
            scale = side / min(upright.size)
            size = (round(upright.width * scale), round(upright.height * scale))
            upright.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=JPEG_QUALITY, exif=b"")
            return stream.getvalue()
    # An image that cannot be decoded stays as it is, and `Packed.data` names it.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return encoded


def read(path: Path) -> Packed:
    """Return the images of a file that `pack` wrote.

    Raises:
        DataError: The file cannot be read, is damaged, or is no such file.
    """
    arrays = _read_arrays(path)
    everything, ends = arrays["encoded"].tobytes(), [0, *np.cumsum(arrays["counts"]).tolist()]
    files = [everything[start:end] for start, end in pairwise(arrays["offsets"].tolist())]
    labels = torch.from_numpy(arrays["labels"])
    spans = dict(zip(arrays["splits"].tolist(), pairwise(ends), strict=True))
    return Packed(
        name=str(arrays["name"]),
        classes=tuple(arrays["classes"].tolist()),
        flip=bool(arrays["flip"]),
        labels={split: labels[start:end] for split, (start, end) in spans.items()},
        files={split: files[start:end] for split, (start, end) in spans.items()},
    )


def _read_arrays(path: Path) -> _Arrays:
    try:
        with np.load(io.BytesIO(read_bytes(path, MOST_BYTES)), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS}
    # The readers of zip files and of arrays raise errors of many kinds on a damaged file.
    except Exception as error:
        raise _unreadable(path, textwrap.shorten(str(error) or type(error).__name__, 200)) from None
    if not _fit(arrays):
        raise _unreadable(path, "its arrays do not fit together")
    return arrays


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(
        f"{printable(path)!r} cannot be read as packed images: {reason}; the file must be one that `pack` of "
        "benchmarks/packed_images.py wrote",
        "make it again with scripts/gpu-bundle",
    )


def _fit(arrays: _Arrays) -> bool:
    """Return whether the arrays have their types, and belong to the same images."""
    if any(
        array.dtype.type is not _ARRAYS[name][0] or array.ndim != _ARRAYS[name][1] for name, array in arrays.items()
    ):
        return False
    splits, counts, labels, offsets = (arrays[name] for name in ("splits", "counts", "labels", "offsets"))
    return (
        "train" in splits.tolist()
        and len(set(splits.tolist())) == len(splits) == len(counts)
        and bool((counts >= 0).all())
        and counts.sum() == len(labels) == len(offsets) - 1
        and bool(((labels >= 0) & (labels < len(arrays["classes"]))).all())
        and offsets[0] == 0
        and bool((np.diff(offsets) >= 0).all())
        and offsets[-1] == arrays["encoded"].size
    )
