"""What the user typed ► images in memory."""

import tempfile

import torch

from nas.data.base import ImageData, Images, fingerprint, mean_and_std
from nas.data.columns import Labels, image_column, label_column, read_labels, say_balance
from nas.data.decode import Decoded, check_corrupt, decode_all, notes
from nas.data.packages import require
from nas.data.parts import Slice, plan
from nas.data.room import MEMORY_SHARE, Room, find_room
from nas.data.sources import Source, open_source
from nas.data.wording import listed
from nas.errors import DataError


def load_images(
    source: str,
    *,
    resolution: int,
    images: int | None = None,
    max_corrupt_share: float = 0.01,
    test: bool = False,
    memory_share: float = MEMORY_SHARE,
) -> ImageData:
    """Load labelled images and share them out into train, val and test.

    Parts that a source brings are kept. A missing one is carved from the train part, a fifth of each class; the draw is
    always the same, whatever the seed of a search, and whether or not the test part is asked for. A Parquet file is
    converted in a temporary folder; nothing is written beside the user's files.

    Args:
        source: `digits` (embedded); a Parquet file; a folder of Parquet files, whose names begin with train, val or
            test where there are several parts; a folder of one folder a class, or of train, val and test with these
            below; or a Hugging Face hub name, `owner/name` or `owner/name:config`.
        resolution: height and width in pixels that every image is brought to.
        images: how many images of the train part to keep: a stratified subset, always the same one, and a smaller one
            lies inside a larger. val and test are kept whole. None, or more than there are, keeps all.
        max_corrupt_share: the largest share of undecodable images that is passed over, 0…1, of those tried.
        test: also read the test part, for the winner. Without it, only the labels of that part are looked at; its
            images are neither read nor decoded, though a hub's files are fetched whole, and a table that test is
            carved from is converted whole.
        memory_share: images that take more than this share of the free memory once decoded lie in a file of the
            temporary folder, which is gone when they are, and are read as they are needed.

    Raises:
        DataError: the source or a file of it cannot be found or read, or it breaks a rule on labels, classes or counts.
        MissingPackageError: a package it needs is absent.
    """
    _check_numbers(resolution, max_corrupt_share)
    require("PIL", "datasets")
    with tempfile.TemporaryDirectory(prefix="nas-data-", ignore_cleanup_errors=True) as cache:
        opened = open_source(source, cache, test=test)
        _check_rows(opened, source)
        labels = read_labels(opened.parts, label_column(opened.parts["train"].features))
        planned = plan(labels.codes, labels.classes, images)
        slices = {part: chosen for part, chosen in planned.items() if test or part != "test"}
        room = find_room(3 * resolution**2 * sum(len(held.indices) for held in slices.values()), memory_share)
        decoded = _decode(opened, slices, resolution, room)
    _check_decoded(list(decoded.values()), max_corrupt_share)
    parts = {part: _images(labels, slices[part], decoded[part], room) for part in slices}
    _check_classes(parts, slices, labels.classes)
    mean, std = mean_and_std(parts["train"].images)
    said = (
        *notes(list(decoded.values()), resolution),
        *_say_count(images, len(slices["train"].indices)),
        *say_balance(parts["train"].labels, labels.classes),
        *_say_room(room, parts),
    )
    return ImageData(
        name=source,
        classes=labels.classes,
        train=parts["train"],
        val=parts["val"],
        test=parts.get("test"),
        mean=mean,
        std=std,
        fingerprint=fingerprint(labels.classes, (parts["train"], parts["val"])),
        flip=opened.flip,
        notes=opened.notes + labels.notes + said,
    )


def _decode(opened: Source, slices: dict[str, Slice], resolution: int, room: Room) -> dict[str, Decoded]:
    from datasets import Image

    column = image_column(opened.parts["train"].features)
    tables = {
        origin: opened.parts[origin].select_columns([column]).cast_column(column, Image(decode=False))
        for origin in {chosen.origin for chosen in slices.values()}
    }
    return {
        part: decode_all(
            tables[chosen.origin],
            chosen.indices,
            part=chosen.origin,
            root=opened.root,
            resolution=resolution,
            room=room,
        )
        for part, chosen in slices.items()
    }


def _images(labels: Labels, chosen: Slice, decoded: Decoded, room: Room) -> Images:
    codes = labels.codes[chosen.origin][chosen.indices[decoded.readable]]
    return Images(decoded.images, codes, mapped=room.mapped)


def _check_numbers(resolution: int, max_corrupt_share: float) -> None:
    if resolution < 1:
        raise DataError(f"the resolution must be at least 1 pixel, it is {resolution}", "the usual ones are 32 to 224")
    if not 0 <= max_corrupt_share <= 1:
        raise DataError(f"a share of unreadable images lies in 0…1, this is {max_corrupt_share}", "1% is 0.01")


def _check_rows(opened: Source, source: str) -> None:
    for part, table in opened.parts.items():
        if not len(table):
            raise DataError(f"the {part} part of {source!r} has no images", "add images, or leave the part out")


def _check_decoded(decoded: list[Decoded], max_corrupt_share: float) -> None:
    corrupt = tuple(name for part in decoded for name in part.corrupt)
    check_corrupt(corrupt, sum(len(part.readable) for part in decoded), max_corrupt_share)


def _check_classes(parts: dict[str, Images], slices: dict[str, Slice], classes: tuple[str, ...]) -> None:
    """Unreadable images are found after the parts are drawn, so a class can be gone from one."""
    for part, held in parts.items():
        counts = torch.bincount(held.labels, minlength=len(classes))
        gone = [classes[k] for k in (counts == 0).nonzero().flatten().tolist()]
        if (gone and slices[part].origin == "train") or not len(held):
            raise DataError(
                f"each class needs an image in the {part} part; without those that cannot be read there is none "
                f"of {listed(gone)}",
                "add images of it, or replace the unreadable ones",
            )


def _say_count(images: int | None, kept: int) -> tuple[str, ...]:
    if images is None or images <= kept:
        return ()
    return (f"{images:,} images to train on asked for, {kept:,} are there: all are used",)


def _say_room(room: Room, parts: dict[str, Images]) -> tuple[str, ...]:
    if not room.mapped:
        return ()
    size = sum(held.images.nbytes for held in parts.values())
    return (f"{size / 1e9:,.1f} GB decoded: kept in the temporary folder, as the free memory is too small",)
