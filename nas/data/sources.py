"""Opening of data sources: digits, Parquet files, image folders and names on the Hugging Face hub."""

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from nas.data.formats import has_image_name
from nas.data.hub import is_hub_name, open_hub
from nas.data.image_folder import open_image_folder
from nas.data.names import printable
from nas.data.packages import require
from nas.data.parquet_files import open_parquet
from nas.data.parts import PARTS
from nas.data.source import KINDS, Source
from nas.data.splits import by_split, split_of_table
from nas.data.tree import read_tree
from nas.errors import DataError

_FILE_SUFFIXES = (".parquet", ".csv", ".json", ".npz", ".zip", ".tar", ".gz", ".png", ".jpg", ".jpeg")
_ROWS = 1024


def open_source(source: str, cache: str, *, test: bool, images: bool = True) -> Source:
    """Open a source by the name that the user typed.

    Args:
        source: `digits`, a path, or a name on the Hugging Face hub, `owner/name` or `owner/name:config`.
        cache: Folder for converted tables; it must exist as long as a local source is read.
        test: Whether the images of the test split are needed, or only its labels.
        images: Whether any images are needed; without them, tables may have only the label column.

    Raises:
        DataError: The source does not exist, or is of an unknown kind.
        MissingPackageError: A package that the source needs is not installed.

    Example:
        >>> source = open_source("digits", cache="", test=False)
        >>> len(source.parts["train"]), source.flip
        (1797, False)
    """
    if source == "digits":
        require("sklearn")
        return _digits()
    path = Path(source).expanduser()
    if source and path.exists():
        # A link keeps its own name: that of the file it leads to can lack the ending, as in the cache of the hub.
        splits = tuple(split for split in PARTS if images and (test or split != "test"))
        return _folder(path.absolute(), cache, splits) if path.is_dir() else _file(path.absolute(), cache, splits)
    if _looks_like_path(source):
        raise DataError(f"there is no file or folder {printable(source)!r}; a data source must exist", KINDS)
    return open_hub(source)


def describe_wait(source: str) -> str:
    """Return a sentence about what takes long before a source is open; "" if nothing does.

    Example:
        >>> describe_wait("digits")
        ''
        >>> describe_wait("uoft-cs/cifar100")
        "'uoft-cs/cifar100' is no local file or folder: the Hugging Face hub is asked for it"
    """
    if source == "digits" or Path(source).expanduser().exists() or _looks_like_path(source):
        return ""
    return f"{source!r} is no local file or folder: the Hugging Face hub is asked for it"


def _looks_like_path(source: str) -> bool:
    """Return whether a source cannot be a name on the hub, or begins with a folder that exists."""
    in_folder = "/" in source and Path(source.split("/")[0]).is_dir()
    return not is_hub_name(source) or in_folder or source.partition(":")[0].endswith(_FILE_SUFFIXES)


@lru_cache  # A command opens them once for each split, and encoding them takes half a second.
def _digits() -> Source:
    """Open scikit-learn's 1,797 handwritten digits of 8 x 8 pixels and 17 gray levels; mirroring changes a digit."""
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


def _file(path: Path, cache: str, splits: Sequence[str]) -> Source:
    if path.suffix.lower() != ".parquet":
        raise DataError(f"the data file is {printable(path.name)!r}; a data file must be a Parquet file", KINDS)
    if not path.is_file():
        raise DataError(f"{printable(path)!r} is a device or a pipe; a data file must be a regular file", KINDS)
    return open_parquet(path.parent, {"train": [Path(path.name)]}, cache, splits)


def _folder(root: Path, cache: str, splits: Sequence[str]) -> Source:
    """Open a folder of Parquet files or of images; hidden files and folders are ignored."""
    tree = read_tree(root)
    tables = [path for path in tree.files if path.suffix.lower() == ".parquet"]
    if not tables:
        return open_image_folder(root, tree)
    pictures = [path for path in tree.files if has_image_name(path)]
    if pictures:
        raise DataError(
            f"the folder {printable(root.name)!r} has both Parquet files and images: {printable(tables[0])} and "
            f"{printable(pictures[0])}; a folder must have Parquet files or images, not both",
            "give the path of the Parquet file, or move the files of one kind to another folder",
        )
    broken = [path for path in tree.broken if path.suffix.lower() == ".parquet"]
    if broken:
        raise DataError(
            f"the symbolic link {printable(broken[0])} leads to nothing; every Parquet file must be readable",
            "repair or remove the link",
        )
    return open_parquet(root, by_split(tables, split_of_table, root), cache, splits)
