"""Loading of a data set: a source that the user names becomes images in memory."""

import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from nas.data.base import ImageData, Images, fingerprint, mean_and_std
from nas.data.columns import Labels, describe_balance, image_column, label_column, read_labels
from nas.data.decode import (
    Decoded,
    check_corrupt,
    decode_all,
    decode_stored,
    describe_broken,
    describe_images,
    median_side,
)
from nas.data.names import printable
from nas.data.packages import require
from nas.data.parts import Slice, describe_validation, plan
from nas.data.room import MEMORY_SHARE, Room, find_room
from nas.data.source import Source
from nas.data.sources import open_source
from nas.data.wording import listed
from nas.errors import DataError


def load_images(
    source: str,
    *,
    resolution: int,
    channels: int = 3,
    images: int | None = None,
    validation_share: float | None = None,
    max_corrupt_share: float = 0.01,
    test: bool = False,
    memory_share: float = MEMORY_SHARE,
) -> ImageData:
    """Load labeled images as a training, a validation and a test split.

    Splits that the source has are kept. A missing split is taken from the training split, a fifth of each class, or
    more for validation where that is few images (see `nas.data.parts.usual_share`). The random assignment of images to
    splits is always the same: it depends neither on the seed of a search nor on whether the test split is loaded. A
    Parquet file is converted in a temporary folder; nothing is written next to the user's files.

    Args:
        source: One of: `digits`, which scikit-learn contains; a Parquet file; a folder of Parquet files, whose names
            begin with train, val or test if there are several splits; a folder with one subfolder for each class; a
            folder with subfolders train, val and test that have one subfolder for each class; a name on the Hugging
            Face hub, `owner/name` or `owner/name:config`.
        resolution: Height and width in pixels to which every image is resized.
        channels: Number of channels of every image, as the network takes them. With 3, gray images are repeated to 3
            channels; with 1, color images become gray; any other number must be that of the images.
        images: Number of training images to keep, as a stratified subset. The subset is always the same, and a smaller
            subset is contained in a larger one. The other splits are kept whole. With None, or a number above the
            number of training images, all are kept.
        validation_share: Share of the source's training split that validates, above 0 and at most 0.5; the test split
            is the same whatever the share is. None takes a fifth, or more of a small set.
        max_corrupt_share: Largest share of the images that may be undecodable, from 0 to 1; they are skipped.
        test: Whether the test split is loaded too, for the final architecture. Otherwise only the labels of that split
            are checked; its images are neither read nor decoded, except that files of the hub are downloaded whole,
            and that a table from which the test split is taken is converted whole.
        memory_share: Share of the free memory that the decoded images may take. Larger data is kept in a file of the
            temporary folder and read on demand; the file is deleted when the images are no longer used.

    Returns:
        The splits, with the class names, the statistics of the training images and notes for the user.

    Raises:
        DataError: The source or one of its files is missing or unreadable, or it breaks a rule about labels, classes or
            the number of images.
        MissingPackageError: A package that reading images needs is not installed.

    Example:
        >>> data = load_images("digits", resolution=8, images=100, test=True)
        >>> len(data.train), len(data.val), len(data.test)
        (100, 359, 359)
        >>> data.train.images.shape, data.num_classes
        (torch.Size([100, 3, 8, 8]), 10)
        >>> data.notes
        ('grayscale images were repeated to 3 channels, 818 in all',)
    """
    _check_numbers(resolution, max_corrupt_share)
    require("PIL", "datasets")
    with tempfile.TemporaryDirectory(prefix="nas-data-", ignore_cleanup_errors=True) as cache:
        opened = open_source(source, cache, test=test)
        _check_rows(opened, source)
        check_corrupt(opened.broken, len(opened.broken) + sum(map(len, opened.parts.values())), max_corrupt_share)
        labels = read_labels(opened.parts, label_column(opened.parts["train"].features))
        planned = plan(labels.codes, labels.classes, images, validation_share)
        slices = {part: chosen for part, chosen in planned.items() if test or part != "test"}
        count = sum(len(chosen.indices) for chosen in slices.values())
        room = find_room(channels * resolution**2 * count, memory_share)
        decoded = _decode(opened, slices, resolution, channels, room)
    _check_readable(list(decoded.values()), max_corrupt_share)
    parts = {part: _images(labels, slices[part], decoded[part], room) for part in slices}
    _check_classes(parts, slices, labels.classes)
    mean, std = mean_and_std(parts["train"].images)
    notes = (
        *describe_broken(opened.broken),
        *describe_images(list(decoded.values()), resolution),
        *describe_validation(labels.codes, planned, validation_share),
        *_describe_count(images, len(slices["train"].indices)),
        *describe_balance(parts["train"].labels, labels.classes),
        *_describe_storage(room, parts),
    )
    return ImageData(
        name=printable(source),
        classes=labels.classes,
        train=parts["train"],
        val=parts["val"],
        test=parts.get("test"),
        mean=mean,
        std=std,
        fingerprint=fingerprint(labels.classes, (parts["train"], parts["val"])),
        flip=opened.flip,
        notes=opened.notes + labels.notes + notes,
        stored_side=median_side(list(decoded.values())),
    )


@attrs.frozen(eq=False)
class Split:
    """Hold one split of a data set.

    Args:
        name: The source as the user typed it.
        classes: Class names; a label is an index into them.
        images: Images of the split, or of a part of it.
        total: Number of images of the whole split.
        names: Name of each image: its path within the source, or its split and row.
        stored_side: Shorter side of a stored image in pixels, the median of all.
        notes: Sentences for the user about what was done to the images.
    """

    name: str
    classes: tuple[str, ...]
    images: Images
    total: int
    names: tuple[str, ...]
    stored_side: int
    notes: tuple[str, ...] = ()


def load_split(
    source: str,
    split: str,
    *,
    resolution: int,
    channels: int = 3,
    images: int | None = None,
    validation_share: float | None = None,
    max_corrupt_share: float = 0.01,
    memory_share: float = MEMORY_SHARE,
) -> Split:
    """Load one split of labeled images, the same images as `load_images` loads for it, and decode no others.

    Args:
        source: Source as `load_images` takes it.
        split: "train", "val" or "test".
        resolution: Height and width in pixels to which every image is resized.
        channels: Number of channels of every image.
        images: Number of images, which are spread evenly over the split; None takes all of them.
        validation_share: Share of the source's training split that validates, as `load_images` takes it.
        max_corrupt_share: Largest share of the images that may be undecodable, from 0 to 1; they are skipped.
        memory_share: Share of the free memory that the decoded images may take.

    Raises:
        DataError: The source cannot be read, or breaks a rule about labels, classes or the number of images.
        MissingPackageError: A package that reading images needs is not installed.

    Example:
        >>> digits = load_split("digits", "test", resolution=8, images=10)
        >>> len(digits.images), digits.total, digits.stored_side
        (10, 359, 8)
    """
    _check_numbers(resolution, max_corrupt_share)
    require("PIL", "datasets")
    with tempfile.TemporaryDirectory(prefix="nas-data-", ignore_cleanup_errors=True) as cache:
        opened, labels = _open(source, split, cache)
        whole = plan(labels.codes, labels.classes, None, validation_share)[split]
        chosen, total = _spread(whole, images), len(whole.indices)
        room = find_room(channels * resolution**2 * len(chosen.indices), memory_share)
        decoded = _decode(opened, {split: chosen}, resolution, channels, room)[split]
    _check_readable([decoded], max_corrupt_share)
    return Split(
        name=printable(source),
        classes=labels.classes,
        images=_images(labels, chosen, decoded, room),
        total=total,
        names=decoded.names,
        stored_side=median_side([decoded]),
        notes=(*opened.notes, *labels.notes, *describe_images([decoded], resolution)),
    )


def load_stored(
    source: str, split: str, *, channels: int = 3, images: int | None = None, validation_share: float | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield images of one split as they are stored: upright, of the given number of channels, and of any size.

    Images that cannot be decoded are left out.

    Args:
        source: Source as `load_images` takes it.
        split: "train", "val" or "test".
        channels: Number of channels of every image.
        images: Number of images, which are spread evenly over the split; None takes all of them.
        validation_share: Share of the source's training split that validates, as `load_images` takes it.

    Yields:
        uint8 pixels `(H, W, C)`.

    Raises:
        DataError: As `load_split` raises it.

    Example:
        >>> [image.shape for image in load_stored("digits", "val", images=2)]
        [(8, 8, 3), (8, 8, 3)]
    """
    require("PIL", "datasets")
    with tempfile.TemporaryDirectory(prefix="nas-data-", ignore_cleanup_errors=True) as cache:
        opened, labels = _open(source, split, cache)
        chosen = _spread(plan(labels.codes, labels.classes, None, validation_share)[split], images)
        column, tables = _encoded(opened, [chosen])
        for row in chosen.indices.tolist():
            pixels = decode_stored(tables[chosen.origin][row][column], root=opened.root, channels=channels)
            if pixels is not None:
                yield pixels


def _open(source: str, split: str, cache: str) -> tuple[Source, Labels]:
    opened = open_source(source, cache, test=split == "test")
    _check_rows(opened, source)
    return opened, read_labels(opened.parts, label_column(opened.parts["train"].features))


def _spread(whole: Slice, images: int | None) -> Slice:
    """Return so many images, spread evenly over a split."""
    total = len(whole.indices)
    kept = torch.linspace(0, total - 1, min(total, images or total), dtype=torch.float64).round().long()
    return attrs.evolve(whole, indices=whole.indices[kept])


def count_classes(source: str) -> int:
    """Return the number of classes of a source; see `class_names`.

    Example:
        >>> count_classes("digits")
        10
    """
    return len(class_names(source))


def class_names(source: str) -> tuple[str, ...]:
    """Return the names of the classes of a source, without decoding its images.

    Args:
        source: Source as `load_images` takes it.

    Raises:
        DataError: The source cannot be read, or breaks a rule about labels.
        MissingPackageError: A package that reading images needs is not installed.

    Example:
        >>> class_names("digits")[:3]
        ('0', '1', '2')
    """
    require("PIL", "datasets")
    with tempfile.TemporaryDirectory(prefix="nas-data-", ignore_cleanup_errors=True) as cache:
        opened = open_source(source, cache, test=False, images=False)
        _check_rows(opened, source)
        return read_labels(opened.parts, label_column(opened.parts["train"].features)).classes


def _decode(opened: Source, slices: dict[str, Slice], resolution: int, channels: int, room: Room) -> dict[str, Decoded]:
    _, tables = _encoded(opened, slices.values())
    return {
        part: decode_all(
            tables[chosen.origin],
            chosen.indices,
            part=chosen.origin,
            root=opened.root,
            resolution=resolution,
            channels=channels,
            room=room,
        )
        for part, chosen in slices.items()
    }


def _encoded(opened: Source, slices: Iterable[Slice]) -> tuple[str, dict[str, Any]]:
    """Return the name of the column of images, and tables of this column alone, with encoded images, by split."""
    from datasets import Image

    column = image_column(opened.parts["train"].features)
    return column, {
        origin: opened.parts[origin].select_columns([column]).cast_column(column, Image(decode=False))
        for origin in {chosen.origin for chosen in slices}
    }


def _images(labels: Labels, chosen: Slice, decoded: Decoded, room: Room) -> Images:
    codes = labels.codes[chosen.origin][chosen.indices[decoded.readable]]
    return Images(decoded.images, codes, mapped=room.mapped)


def _check_numbers(resolution: int, max_corrupt_share: float) -> None:
    if resolution < 1:
        raise DataError(
            f"the resolution is {resolution} pixels; it must be at least 1 pixel", "use a usual one, from 32 to 224"
        )
    if not 0 <= max_corrupt_share <= 1:
        raise DataError(
            f"the allowed share of unreadable images is {max_corrupt_share}; it must be from 0 to 1",
            "use 0.01 to allow 1%",
        )


def _check_rows(opened: Source, source: str) -> None:
    for part, table in opened.parts.items():
        if not len(table):
            raise DataError(
                f"the split {part} of {source!r} has no images; every split must have images",
                "add images, or remove the split",
            )


def _check_readable(decoded: list[Decoded], max_corrupt_share: float) -> None:
    corrupt = tuple(name for part in decoded for name in part.corrupt)
    check_corrupt(corrupt, sum(len(part.readable) for part in decoded), max_corrupt_share)


def _check_classes(parts: dict[str, Images], slices: dict[str, Slice], classes: tuple[str, ...]) -> None:
    """Check that every split still has every class.

    Unreadable images are found only after images are assigned to splits, so a split can have lost a class.
    """
    for split, part in parts.items():
        counts = torch.bincount(part.labels, minlength=len(classes))
        missing = [classes[k] for k in (counts == 0).nonzero().flatten().tolist()]
        if (missing and slices[split].origin == "train") or not len(part):
            raise DataError(
                f"the split {split} has no readable image of class {listed(missing)}; each class needs at least one "
                "readable image in each split",
                "add images of this class, or replace the unreadable images",
            )


def _describe_count(images: int | None, kept: int) -> tuple[str, ...]:
    if images is None or images <= kept:
        return ()
    return (f"{images:,} training images were requested, but only {kept:,} exist: all of them are used",)


def _describe_storage(room: Room, parts: dict[str, Images]) -> tuple[str, ...]:
    if not room.mapped:
        return ()
    size = sum(part.images.nbytes for part in parts.values())
    return (
        f"the decoded images take {size / 1e9:,.1f} GB, which is too much for the free memory: they are kept in the "
        "temporary folder",
    )
