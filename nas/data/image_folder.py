"""Image folders: `class/image`, or `split/class/image`; what cannot be used is named."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from nas.data.formats import NO_IMAGE, Sorted, has_image_name, sort_files
from nas.data.names import path_to_text, printable
from nas.data.source import KINDS, Source
from nas.data.splits import SPLIT_OF_WORD, by_split, split_of_folder
from nas.data.tree import Tree
from nas.data.wording import counted, listed
from nas.errors import DataError

_BROKEN = "broken link"
_KINDS: Mapping[str, str] = MappingProxyType({NO_IMAGE: "not an image", _BROKEN: "a broken link"})


@attrs.frozen
class _Layout:
    """Hold how the images of a folder are arranged.

    Attributes:
        in_splits: Whether every top folder is named after a split.
        pictures: The labeled images.
        unlabeled: Images of a test folder that are in no folder of a training class.
    """

    in_splits: bool
    pictures: tuple[Path, ...]
    unlabeled: tuple[Path, ...] = ()

    @property
    def depth(self) -> int:
        """Return the number of parts of every image's path."""
        return 3 if self.in_splits else 2


def open_image_folder(root: Path, tree: Tree) -> Source:
    """Open images as `class/file`, or as `split/class/file` if every top folder is named after a split.

    Args:
        root: The folder.
        tree: Everything below it.

    Raises:
        DataError: There is no image, an image is at another place, or a class or a split would be lost.
    """
    files = sort_files(root, tree.files)
    files = attrs.evolve(files, others={**files.others, **dict.fromkeys(tree.special, NO_IMAGE)})
    _check_any(root, files)
    layout = _find_layout(files.pictures)
    _check_depth(layout)
    _check_links(root, tree.broken, layout)
    empty = _check_folders(tree, files, layout)
    grouped = by_split(list(layout.pictures), split_of_folder, root) if layout.in_splits else {"train": layout.pictures}
    notes = (
        *_describe_empty(empty),
        *_describe_unlabeled(layout.unlabeled),
        *_describe_others(files.others),
        *_describe_repeated(tree.repeated),
    )
    broken = [f"{printable(path)} ({_BROKEN})" for path in tree.broken if has_image_name(path)]
    return Source(_tables(root, grouped), root, notes=notes, broken=tuple(broken))


def _check_any(root: Path, files: Sorted) -> None:
    if not files.pictures:
        found = "".join(f"; {note}" for note in _describe_others(files.others))
        raise DataError(
            f"the folder {printable(root)!r} has neither images nor Parquet files; a data folder must have one of "
            f"them{found}",
            KINDS,
        )


def _find_layout(pictures: Sequence[Path]) -> _Layout:
    in_splits = all(path.parts[0].lower() in SPLIT_OF_WORD and len(path.parts) > 1 for path in pictures)
    if not in_splits:
        return _Layout(in_splits, tuple(pictures))
    held_out = [path for path in pictures if split_of_folder(path) == "test"]
    others = [path for path in pictures if split_of_folder(path) != "test"]
    classes = {path.parts[1] for path in others if len(path.parts) > 2}
    if not others or any(path.parts[1] in classes for path in held_out):
        return _Layout(in_splits, tuple(pictures))
    return _Layout(in_splits, tuple(others), tuple(held_out))


def _check_depth(layout: _Layout) -> None:
    misplaced = next((path for path in layout.pictures if len(path.parts) != layout.depth), None)
    if misplaced:
        form = "split/class/image" if layout.in_splits else "class/image"
        raise DataError(
            f"the image {printable(misplaced)} is not at a path of the form {form}; every image must be",
            "use one folder for each class, or folders train, val and test with one folder for each class in them",
        )


def _check_links(root: Path, broken: Iterable[Path], layout: _Layout) -> None:
    """Check that no broken link is at the place of a class or a split."""
    lost = [path for path in broken if len(path.parts) < layout.depth]
    if lost:
        target = printable((root / lost[0]).readlink())
        raise DataError(
            f"{counted(len(lost), 'symbolic link leads', 'symbolic links lead')} to nothing: "
            f"{listed(list(map(printable, lost)))} (to {target}); a link at the place of a class must lead to a folder",
            "repair or remove the links",
        )


def _check_folders(tree: Tree, files: Sorted, layout: _Layout) -> list[Path]:
    """Return the empty folders at the place of a class or a split.

    Raises:
        DataError: Such a folder has files, but none of them is an image that can be decoded.
    """
    depths = range(1, layout.depth)
    used = {Path(*path.parts[:depth]) for path in (*layout.pictures, *layout.unlabeled) for depth in depths}
    places = [path for path in tree.folders if len(path.parts) in depths and path not in used]
    if layout.in_splits:
        places = [path for path in places if split_of_folder(path) in ("train", "val")]
    unread = {**files.others, **dict.fromkeys(tree.broken, _BROKEN)}
    for place in places:
        unused = [path for path in unread if path.is_relative_to(place)]
        if unused:
            kind = unread[unused[0]]
            raise DataError(
                f"the folder {printable(place)} has no image that can be decoded, and {len(unused):,} other files: "
                f"{printable(unused[0])} is {_KINDS.get(kind, f'an image in the format {kind}')}; each class must have "
                "images",
                "convert the files to JPEG or PNG, or move the folder elsewhere",
            )
    return places


def _describe_empty(empty: Sequence[Path]) -> tuple[str, ...]:
    names = listed(list(map(printable, empty)))
    return (f"classes without images are ignored, {len(empty)} in all: {names}",) if empty else ()


def _describe_unlabeled(unlabeled: Sequence[Path]) -> tuple[str, ...]:
    if not unlabeled:
        return ()
    return (
        f"the folder {printable(unlabeled[0].parts[0])} has {counted(len(unlabeled), 'image')} in no folder of a "
        "training class: without labels they are ignored",
    )


def _describe_others(others: Mapping[Path, str]) -> tuple[str, ...]:
    """Return a note about each kind of files that are not read."""
    by_kind: dict[str, list[str]] = {}
    for path, kind in others.items():
        by_kind.setdefault(kind, []).append(printable(path))
    plain = by_kind.pop(NO_IMAGE, [])
    notes = [
        f"{kind} images cannot be decoded and were skipped, {len(names):,} in all: {listed(names)}; convert them to "
        "JPEG or PNG"
        for kind, names in by_kind.items()
    ]
    if plain:
        notes.append(f"files that are not images were skipped, {len(plain):,} in all: {listed(plain)}")
    return tuple(notes)


def _describe_repeated(repeated: Sequence[Path]) -> tuple[str, ...]:
    names = listed(list(map(printable, repeated)))
    return (f"links to folders that are read at another place are ignored: {names}",) if repeated else ()


def _tables(root: Path, grouped: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    from datasets import ClassLabel, Dataset, Features, Image

    classes = sorted({path.parent.name for paths in grouped.values() for path in paths})
    numbers = {name: number for number, name in enumerate(classes)}
    labels = ClassLabel(names=[printable(name) for name in classes])
    features = Features({"image": Image(decode=False), "label": labels})

    def columns(paths: Sequence[Path]) -> dict[str, list[Any]]:
        return {
            "image": [path_to_text(root / path) for path in paths],
            "label": [numbers[path.parent.name] for path in paths],
        }

    return {split: Dataset.from_dict(columns(paths), features) for split, paths in grouped.items()}
