"""The split that a file or a folder belongs to by its name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from nas.data.names import printable
from nas.data.parts import PARTS
from nas.errors import DataError

T = TypeVar("T")
SPLIT_OF_WORD: Mapping[str, str] = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "val": "val",
        "valid": "val",
        "validation": "val",
        "dev": "val",
        "test": "test",
        "testing": "test",
    }
)


def split_of_table(path: Path) -> str | None:
    """Return the split that the file name begins with, or else the split that the folder is named after."""
    found = next((split for split in PARTS if path.name.lower().startswith(split)), None)
    return found or SPLIT_OF_WORD.get(path.parent.name.lower())


def split_of_folder(path: Path) -> str | None:
    """Return the split that the top folder of a path is named after."""
    return SPLIT_OF_WORD.get(path.parts[0].lower())


def by_split(files: list[Path], split_of: Callable[[Path], str | None], root: Path) -> dict[str, list[Path]]:
    """Group files by split; if no file name or folder names a split, all files are training data."""
    groups: dict[str | None, list[Path]] = {}
    for path in files:
        groups.setdefault(split_of(path), []).append(path)
    if None in groups and len(groups) > 1:
        raise DataError(
            f"some file names in {printable(root.name)!r} begin with a split, but {printable(groups[None][0])} does "
            "not; either all or none must",
            "begin every file name with train, val or test, or none of them",
        )
    return with_train({split or "train": paths for split, paths in groups.items()}, printable(root.name))


def with_train(groups: Mapping[str, T], name: str) -> dict[str, T]:
    """Return the train, val and test splits; a single split is the training split, whatever its name."""
    if len(groups) == 1:
        return {"train": next(iter(groups.values()))}
    if "train" not in groups:
        raise DataError(
            f"the splits of {name!r} are {', '.join(groups)}; one split must be called train",
            "rename the split to train on to train",
        )
    return {split: groups[split] for split in PARTS if split in groups}
