"""What a user may type for data, and how it is opened: digits, Parquet, an image folder, a hub name."""

import contextlib
import glob
import io
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs

from nas.data.columns import label_column
from nas.data.packages import require
from nas.data.parts import PARTS
from nas.errors import DataError

_PART_OF_WORD = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_FILE_SUFFIXES = (".parquet", ".csv", ".json", ".npz", ".zip", ".tar", ".gz", ".png", ".jpg", ".jpeg")
_ROWS = 1024
_KINDS = "give 'digits', a Parquet file, a folder of Parquet files or of one folder a class, or a Hugging Face name"


T = TypeVar("T")


@attrs.frozen(eq=False)
class Source:
    """An opened source.

    Args:
        parts: tables of the `datasets` library by part, with `train` among them; `test` may hold the labels alone.
        root: the folder that relative image paths start from.
        flip: whether a mirrored image keeps its label.
        notes: said to the user.
    """

    parts: Mapping[str, Any]
    root: Path = Path()
    flip: bool = True
    notes: tuple[str, ...] = ()


def open_source(source: str, cache: str, *, test: bool) -> Source:
    """Open what the user typed.

    Args:
        source: `digits`, a path, or a hub name as `owner/name` or `owner/name:config`.
        cache: a folder for converted tables; it must outlive the reading of a local source.
        test: whether the images of the test part are wanted, or its labels alone.

    Raises:
        DataError: it does not exist, or is none of these.
        MissingPackageError: a package it needs is absent.
    """
    if source == "digits":
        return _digits()
    path = Path(source).expanduser()
    if source and path.exists():
        return _folder(path.resolve(), cache, test) if path.is_dir() else _file(path.resolve(), cache)
    if _looks_like_path(source):
        raise DataError(f"no such file or folder: {source!r}", _KINDS)
    return _hub(source)


def _looks_like_path(source: str) -> bool:
    """Whether this can be no hub name, or names a place in a folder that is here."""
    name = re.fullmatch(r"(\w[\w-]*|\w[\w.-]*/[\w.-]+)(:[^/\\]+)?", source, re.ASCII)
    in_folder = "/" in source and Path(source.split("/")[0]).is_dir()
    return name is None or in_folder or name[1].endswith(_FILE_SUFFIXES)


def _digits() -> Source:
    """Scikit-learn's 1,797 handwritten digits, 8 x 8, 16 grey levels; a mirrored digit is another sign."""
    require("sklearn")
    from datasets import ClassLabel, Dataset, Features, Image
    from sklearn.datasets import load_digits

    held = load_digits()
    cells = [{"bytes": _png(pixels), "path": None} for pixels in held.images]
    features = Features({"image": Image(decode=False), "label": ClassLabel(names=[str(k) for k in range(10)])})
    table = Dataset.from_dict({"image": cells, "label": held.target.tolist()}, features=features)
    return Source({"train": table}, flip=False)


def _png(pixels: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray((pixels * (255 / 16)).round().astype("uint8")).save(stream, "PNG")
    return stream.getvalue()


def _file(path: Path, cache: str) -> Source:
    if path.suffix.lower() != ".parquet":
        raise DataError(f"a data file must be Parquet, this is {path.name!r}", _KINDS)
    return _parquet(path.parent, {"train": [path]}, cache, test=True)


def _folder(root: Path, cache: str, test: bool) -> Source:
    """Open a folder by what lies in it; hidden files and folders are passed over."""
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    paths = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    files = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    tables = [path for path in files if path.suffix.lower() == ".parquet"]
    pictures = [path for path in files if path.suffix.lower() in ImageFolder.EXTENSIONS]
    if tables and pictures:
        raise DataError(
            f"a folder holds Parquet files or images, not both: {tables[0]} and {pictures[0]} in {root.name!r}",
            "name the Parquet file, or move one kind away",
        )
    if not tables and not pictures:
        raise DataError(f"the folder {str(root)!r} holds neither images nor Parquet files", _KINDS)
    if tables:
        return _parquet(root, _by_part(tables, _part_of_table, root), cache, test)
    return _image_folder(root, pictures)


def _parquet(root: Path, files: Mapping[str, list[Path]], cache: str, test: bool) -> Source:
    # The library reads names as patterns.
    patterns = {part: [glob.escape(str(root / path)) for path in paths] for part, paths in files.items()}
    try:
        _check_filled(root, files)
        with _quiet():
            return Source(_tables(patterns, cache, test), root)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"the Parquet files in {str(root)!r} cannot be read: {_first_line(error)}",
            "check that each is whole and that all have the same columns",
        ) from error


def _tables(patterns: dict[str, list[str]], cache: str, test: bool) -> dict[str, Any]:
    """Convert every part; of the test part the label column alone, unless `test`."""
    from datasets import Features, load_dataset

    # Without a size, the library takes the first file's, which an empty one does not have.
    read = partial(load_dataset, "parquet", cache_dir=cache, batch_size=_ROWS)
    seen = {part: names for part, names in patterns.items() if test or part != "test"}
    held = dict(read(data_files=seen))
    if len(seen) < len(patterns):
        features = held["train"].features
        label = label_column(features)
        alone = Features({label: features[label]})
        held |= read(data_files={"test": patterns["test"]}, columns=[label], features=alone)
    return held


def _check_filled(root: Path, files: Mapping[str, list[Path]]) -> None:
    from pyarrow.parquet import read_metadata

    for part, paths in files.items():
        if not any(read_metadata(root / path).num_rows for path in paths):
            raise DataError(f"the {part} part in {str(root)!r} has no images", "add images, or leave the part out")


def _part_of_table(path: Path) -> str | None:
    """The part that a file's name begins with, or else that its folder is called after."""
    found = next((part for part in PARTS if path.name.lower().startswith(part)), None)
    return found or _PART_OF_WORD.get(path.parent.name.lower())


def _image_folder(root: Path, pictures: list[Path]) -> Source:
    """Images as `class/file`, or as `part/class/file` where every top folder is called after a part."""
    from datasets import ClassLabel, Dataset, Features, Image

    in_parts = all(path.parts[0].lower() in _PART_OF_WORD and len(path.parts) > 1 for path in pictures)
    _check_depth(pictures, 3 if in_parts else 2)
    files = _by_part(pictures, _part_of_folder, root) if in_parts else {"train": pictures}
    classes = sorted({path.parent.name for path in pictures})
    features = Features({"image": Image(decode=False), "label": ClassLabel(names=classes)})
    return Source({part: Dataset.from_dict(_columns(root, held), features) for part, held in files.items()}, root)


def _columns(root: Path, files: list[Path]) -> dict[str, list[Any]]:
    return {"image": [str(root / path) for path in files], "label": [path.parent.name for path in files]}


def _part_of_folder(path: Path) -> str | None:
    return _PART_OF_WORD.get(path.parts[0].lower())


def _check_depth(pictures: list[Path], depth: int) -> None:
    stray = next((path for path in pictures if len(path.parts) != depth), None)
    if stray:
        form = "class/image" if depth == 2 else "part/class/image"
        raise DataError(
            f"images must lie as {form}, this one does not: {stray}",
            "keep one folder a class, or train, val and test with one folder a class in each",
        )


def _by_part(files: list[Path], part_of: Callable[[Path], str | None], root: Path) -> dict[str, list[Path]]:
    """Files grouped by part; all are train where none says another."""
    groups: dict[str | None, list[Path]] = {}
    for path in files:
        groups.setdefault(part_of(path), []).append(path)
    if None in groups and len(groups) > 1:
        raise DataError(
            f"some files in {root.name!r} say which part they are, {groups[None][0]} does not",
            "begin every file's name with train, val or test, or none",
        )
    return _with_train({part or "train": paths for part, paths in groups.items()}, root.name)


def _hub(source: str) -> Source:
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        held = load_dataset(name, config or None)
    except Exception as error:
        raise DataError(
            f"{source!r} is no file or folder here, and cannot be had from the Hugging Face hub: {_first_line(error)}",
            f"check the name, its configuration after a colon, and the connection; or {_KINDS}",
        ) from error
    split_of: dict[str, str] = {}
    for split in held:
        split_of.setdefault(_PART_OF_WORD.get(split.lower(), split), split)
    parts = _with_train({part: held[split] for part, split in split_of.items()}, source)
    unused = [split for split in held if not any(held[split] is table for table in parts.values())]
    notes = (f"parts left out: {', '.join(unused)}",) if unused else ()
    return Source(parts, notes=notes)


def _with_train(groups: Mapping[str, T], name: str) -> dict[str, T]:
    """The known parts; a part that is alone is the one to train on, whatever it is called."""
    if len(groups) == 1:
        return {"train": next(iter(groups.values()))}
    if "train" not in groups:
        raise DataError(
            f"one part must be called train: {name!r} has {', '.join(groups)}", "rename one of them to train"
        )
    return {part: groups[part] for part in PARTS if part in groups}


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars and log lines from the `datasets` library: a local table is read in a moment."""
    import datasets

    shown, verbosity = not datasets.are_progress_bars_disabled(), datasets.utils.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.utils.logging.set_verbosity(verbosity)
        if shown:
            datasets.enable_progress_bars()
