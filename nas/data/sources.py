"""Opening of data sources: digits, Parquet files, image folders and names on the Hugging Face hub."""

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

_SPLIT_OF_WORD = {
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
_KINDS = (
    "give 'digits', a Parquet file, a folder of Parquet files, a folder with one subfolder for each class, or a name "
    "on the Hugging Face hub"
)


T = TypeVar("T")


@attrs.frozen(eq=False)
class Source:
    """Hold an opened source.

    Args:
        parts: Tables of the `datasets` library by split, including `train`; `test` may have only the label column.
        root: Folder that relative image paths start from.
        flip: Whether a mirrored image keeps its label.
        notes: Sentences for the user about the source.
    """

    parts: Mapping[str, Any]
    root: Path = Path()
    flip: bool = True
    notes: tuple[str, ...] = ()


def open_source(source: str, cache: str, *, test: bool) -> Source:
    """Open a source by the name that the user typed.

    Args:
        source: `digits`, a path, or a name on the Hugging Face hub, `owner/name` or `owner/name:config`.
        cache: Folder for converted tables; it must exist as long as a local source is read.
        test: Whether the images of the test split are needed, or only its labels.

    Raises:
        DataError: The source does not exist, or is of an unknown kind.
        MissingPackageError: A package that the source needs is not installed.

    Example:
        >>> source = open_source("digits", cache="", test=False)
        >>> len(source.parts["train"]), source.flip
        (1797, False)
    """
    if source == "digits":
        return _digits()
    path = Path(source).expanduser()
    if source and path.exists():
        return _folder(path.resolve(), cache, test) if path.is_dir() else _file(path.resolve(), cache)
    if _looks_like_path(source):
        raise DataError(f"there is no file or folder {source!r}; a data source must exist", _KINDS)
    return _hub(source)


def _looks_like_path(source: str) -> bool:
    """Return whether a source cannot be a name on the hub, or begins with a folder that exists."""
    name = re.fullmatch(r"(\w[\w-]*|\w[\w.-]*/[\w.-]+)(:[^/\\]+)?", source, re.ASCII)
    in_folder = "/" in source and Path(source.split("/")[0]).is_dir()
    return name is None or in_folder or name[1].endswith(_FILE_SUFFIXES)


def _digits() -> Source:
    """Open scikit-learn's 1,797 handwritten digits of 8 x 8 pixels and 17 gray levels; mirroring changes a digit."""
    require("sklearn")
    from datasets import ClassLabel, Dataset, Features, Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    cells = [{"bytes": _png(pixels), "path": None} for pixels in digits.images]
    features = Features({"image": Image(decode=False), "label": ClassLabel(names=[str(k) for k in range(10)])})
    table = Dataset.from_dict({"image": cells, "label": digits.target.tolist()}, features=features)
    return Source({"train": table}, flip=False)


def _png(pixels: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray((pixels * (255 / 16)).round().astype("uint8")).save(stream, "PNG")
    return stream.getvalue()


def _file(path: Path, cache: str) -> Source:
    if path.suffix.lower() != ".parquet":
        raise DataError(f"the data file is {path.name!r}; a data file must be a Parquet file", _KINDS)
    return _parquet(path.parent, {"train": [path]}, cache, test=True)


def _folder(root: Path, cache: str, test: bool) -> Source:
    """Open a folder of Parquet files or of images; hidden files and folders are ignored."""
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    paths = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    files = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    tables = [path for path in files if path.suffix.lower() == ".parquet"]
    pictures = [path for path in files if path.suffix.lower() in ImageFolder.EXTENSIONS]
    if tables and pictures:
        raise DataError(
            f"the folder {root.name!r} has both Parquet files and images: {tables[0]} and {pictures[0]}; a folder must "
            "have Parquet files or images, not both",
            "give the path of the Parquet file, or move the files of one kind to another folder",
        )
    if not tables and not pictures:
        raise DataError(
            f"the folder {str(root)!r} has neither images nor Parquet files; a data folder must have one of them",
            _KINDS,
        )
    if tables:
        return _parquet(root, _by_split(tables, _split_of_table, root), cache, test)
    return _image_folder(root, pictures)


def _parquet(root: Path, files: Mapping[str, list[Path]], cache: str, test: bool) -> Source:
    # The library interprets file names as glob patterns.
    patterns = {split: [glob.escape(str(root / path)) for path in paths] for split, paths in files.items()}
    try:
        _check_not_empty(root, files)
        with _silenced_library():
            return Source(_tables(patterns, cache, test), root)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"the Parquet files in {str(root)!r} cannot be read: {_first_line(error)}; all files must be intact and "
            "have the same columns",
            "repair or remove the file that the message names",
        ) from error


def _tables(patterns: dict[str, list[str]], cache: str, test: bool) -> dict[str, Any]:
    """Convert the tables of every split; of the test split only the label column, unless `test` is true."""
    from datasets import Features, load_dataset

    # Without a batch size the library uses the first file's row group size, which an empty file does not have.
    read = partial(load_dataset, "parquet", cache_dir=cache, batch_size=_ROWS)
    whole = {split: names for split, names in patterns.items() if test or split != "test"}
    tables = dict(read(data_files=whole))
    if len(whole) < len(patterns):
        features = tables["train"].features
        label = label_column(features)
        label_only = Features({label: features[label]})
        tables |= read(data_files={"test": patterns["test"]}, columns=[label], features=label_only)
    return tables


def _check_not_empty(root: Path, files: Mapping[str, list[Path]]) -> None:
    from pyarrow.parquet import read_metadata

    for split, paths in files.items():
        if not any(read_metadata(root / path).num_rows for path in paths):
            raise DataError(
                f"the split {split} in {str(root)!r} has no images; every split must have images",
                "add images, or remove the split",
            )


def _split_of_table(path: Path) -> str | None:
    """Return the split that the file name begins with, or else the split that the folder is named after."""
    found = next((split for split in PARTS if path.name.lower().startswith(split)), None)
    return found or _SPLIT_OF_WORD.get(path.parent.name.lower())


def _image_folder(root: Path, pictures: list[Path]) -> Source:
    """Open images as `class/file`, or as `split/class/file` if every top folder is named after a split."""
    from datasets import ClassLabel, Dataset, Features, Image

    in_splits = all(path.parts[0].lower() in _SPLIT_OF_WORD and len(path.parts) > 1 for path in pictures)
    _check_depth(pictures, 3 if in_splits else 2)
    files = _by_split(pictures, _split_of_folder, root) if in_splits else {"train": pictures}
    classes = sorted({path.parent.name for path in pictures})
    features = Features({"image": Image(decode=False), "label": ClassLabel(names=classes)})
    return Source({split: Dataset.from_dict(_columns(root, paths), features) for split, paths in files.items()}, root)


def _columns(root: Path, files: list[Path]) -> dict[str, list[Any]]:
    return {"image": [str(root / path) for path in files], "label": [path.parent.name for path in files]}


def _split_of_folder(path: Path) -> str | None:
    return _SPLIT_OF_WORD.get(path.parts[0].lower())


def _check_depth(pictures: list[Path], depth: int) -> None:
    misplaced = next((path for path in pictures if len(path.parts) != depth), None)
    if misplaced:
        form = "class/image" if depth == 2 else "split/class/image"
        raise DataError(
            f"the image {misplaced} is not at a path of the form {form}; every image must be",
            "use one folder for each class, or folders train, val and test with one folder for each class in them",
        )


def _by_split(files: list[Path], split_of: Callable[[Path], str | None], root: Path) -> dict[str, list[Path]]:
    """Group files by split; if no file name or folder names a split, all files are training data."""
    groups: dict[str | None, list[Path]] = {}
    for path in files:
        groups.setdefault(split_of(path), []).append(path)
    if None in groups and len(groups) > 1:
        raise DataError(
            f"some file names in {root.name!r} begin with a split, but {groups[None][0]} does not; either all or none "
            "must",
            "begin every file name with train, val or test, or none of them",
        )
    return _with_train({split or "train": paths for split, paths in groups.items()}, root.name)


def _hub(source: str) -> Source:
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        tables = load_dataset(name, config or None)
    except Exception as error:
        raise DataError(
            f"{source!r} is not a local file or folder, and it cannot be loaded from the Hugging Face hub: "
            f"{_first_line(error)}",
            f"check the name, its configuration after a colon, and the network connection; or {_KINDS}",
        ) from error
    original_names: dict[str, str] = {}
    for original in tables:
        original_names.setdefault(_SPLIT_OF_WORD.get(original.lower(), original), original)
    parts = _with_train({split: tables[original] for split, original in original_names.items()}, source)
    unused = [original for original in tables if not any(tables[original] is table for table in parts.values())]
    notes = (f"these splits are ignored: {', '.join(unused)}",) if unused else ()
    return Source(parts, notes=notes)


def _with_train(groups: Mapping[str, T], name: str) -> dict[str, T]:
    """Return the train, val and test splits; a single split is the training split, whatever its name."""
    if len(groups) == 1:
        return {"train": next(iter(groups.values()))}
    if "train" not in groups:
        raise DataError(
            f"the splits of {name!r} are {', '.join(groups)}; one split must be called train",
            "rename the split to train on to train",
        )
    return {split: groups[split] for split in PARTS if split in groups}


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


@contextlib.contextmanager
def _silenced_library() -> Iterator[None]:
    """Silence progress bars and log messages of the `datasets` library: a local table is read within seconds."""
    import datasets

    enabled, verbosity = not datasets.are_progress_bars_disabled(), datasets.utils.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.utils.logging.set_verbosity(verbosity)
        if enabled:
            datasets.enable_progress_bars()
