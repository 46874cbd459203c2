"""Opening of Parquet files of images and labels with the `datasets` library."""

import contextlib
import glob
import shutil
from collections.abc import Collection, Iterator, Mapping
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

from nas.data.columns import label_column
from nas.data.hub import first_line
from nas.data.names import printable
from nas.data.parquet_size import Extent, measure
from nas.data.source import Source
from nas.errors import DataError

_BATCH_BYTES = 256_000_000
# Images are compressed already. Values that are far larger than their file are one image that is repeated.
_MOST_BYTES, _MOST_GROWTH = 4_000_000_000, 20


def open_parquet(root: Path, files: Mapping[str, list[Path]], cache: str, splits: Collection[str]) -> Source:
    """Open Parquet files; only the label column is converted, except of some splits.

    Args:
        root: Folder that the paths and relative image paths start from.
        files: Files by split.
        cache: Folder for the converted tables.
        splits: Splits whose images are needed.

    Raises:
        DataError: A file is broken, its content does not fit on the disk, or a split is empty.
    """
    try:
        located = {split: [_utf8(root / path, cache) for path in paths] for split, paths in files.items()}
        _check_not_empty(root, located)
        needed = [path for split, paths in located.items() if split in splits for path in paths]
        rows = _check_size(root, needed, cache).rows_at_once(_BATCH_BYTES)
        # The library reads names as glob patterns.
        patterns = {split: [glob.escape(str(path)) for path in paths] for split, paths in located.items()}
        with _silenced_library():
            tables, notes = _tables(patterns, cache, rows, splits)
        return Source(tables, root, notes=notes)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"the Parquet files in {printable(root)!r} cannot be read: {first_line(error)}; all files must be intact "
            "and have the same columns",
            "repair or remove the file that the message names",
        ) from error


def _utf8(path: Path, cache: str) -> Path:
    """Return a path that is UTF-8, as the library needs it: the path itself, or a link in the folder of its tables."""
    if printable(path) == str(path):
        return path
    links = Path(cache, "links")
    links.mkdir(exist_ok=True)
    link = links / f"{len(list(links.iterdir()))}.parquet"
    link.symlink_to(path)
    return link


def _check_size(root: Path, paths: list[Path], cache: str) -> Extent:
    """Return how large the values of all files are.

    Raises:
        DataError: They do not fit on the disk, or they are so much larger than the files that these are no images.
    """
    stored = sum(path.stat().st_size for path in paths)
    free = shutil.disk_usage(cache).free
    most = min(free, max(_MOST_BYTES, _MOST_GROWTH * stored))
    extent = reduce(or_, (measure(path, most) for path in paths), Extent())
    if extent.size > most:
        raise DataError(
            f"the Parquet files in {printable(root)!r} have {stored / 1e6:,.1f} MB, and their values more than "
            f"{most / 1e9:,.1f} GB; the values must fit into the free space of the temporary folder {cache}, and must "
            f"not be {_MOST_GROWTH} times as large as the files",
            "free disk space, set TMPDIR to a folder on a larger disk, or use files without repeated images",
        )
    return extent


def _tables(
    patterns: Mapping[str, list[str]], cache: str, rows: int, splits: Collection[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Convert the tables of every split; the second value is a note if the test split has no labels."""
    from datasets import Features, load_dataset
    from pyarrow.parquet import read_schema

    features = Features.from_arrow_schema(read_schema(_first_file(patterns["train"])))
    label = label_column(features)
    only_label = {"columns": [label], "features": Features({label: features[label]})}
    labeled = [split for split, paths in patterns.items() if label in read_schema(_first_file(paths)).names]
    kept = {split: paths for split, paths in patterns.items() if split != "test" or split in labeled}
    notes = () if len(kept) == len(patterns) else (f"the split test has no column {label!r}: it is ignored",)
    # Without a batch size the library uses the first file's row group size, which an empty file does not have.
    read = partial(load_dataset, "parquet", cache_dir=cache, batch_size=rows)
    whole = {split: paths for split, paths in kept.items() if split in splits}
    others = {split: paths for split, paths in kept.items() if split not in splits}
    return {
        **(read(data_files=whole) if whole else {}),
        **(read(data_files=others, **only_label) if others else {}),
    }, notes


def _first_file(patterns: list[str]) -> str:
    return glob.glob(patterns[0])[0]  # noqa: PTH207 -- the pattern is a path in which special characters are escaped


def _check_not_empty(root: Path, files: Mapping[str, list[Path]]) -> None:
    from pyarrow.parquet import read_metadata

    for split, paths in files.items():
        if not any(read_metadata(path).num_rows for path in paths):
            raise DataError(
                f"the split {split} in {printable(root)!r} has no images; every split must have images",
                "add images, or remove the split",
            )


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
