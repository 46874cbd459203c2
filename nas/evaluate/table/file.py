"""Files of tables: their rows as text or as Parquet has them, and the numbers in them."""

import csv
import gzip
import hashlib
import io
import reprlib
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.errors import DataError, MissingPackageError, NasError

MOST_BYTES = 1_000_000_000


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Messages of what is wrong begin with the table's name.

    Raises:
        DataError: what was raised inside, or that the file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise DataError(f"table {path} cannot be read: {error.strerror or error}", "name another file") from None
    except DataError as error:
        raise DataError(f"table {path.name}: {error.problem}", error.remedy) from None


def read_file(path: Path) -> tuple[pd.DataFrame, str]:
    """A file's cells as they stand there, and its SHA-256; the index says where a row stands.

    Raises:
        OSError: it cannot be read.
        DataError: it is no table, has no row, or has a column twice.
        MissingPackageError: it is a Parquet file, and pyarrow is absent.
    """
    read, data = _reader(path), path.read_bytes()
    frame = _frame(read, data)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"the column {twice[0]!r} stands there twice", "keep one of them")
    if not len(frame):
        raise DataError("it has no row", "give it one for each architecture")
    return frame, hashlib.sha256(data).hexdigest()


def _frame(read: Callable[[bytes], pd.DataFrame], data: bytes) -> pd.DataFrame:
    try:
        return read(data).rename(columns=str)
    except NasError:
        raise
    except Exception as error:  # what decoders raise on a broken file is theirs to choose
        said = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise DataError(f"it cannot be read: {said}", "save it anew") from None


def _read_text(data: bytes, delimiter: str = ",") -> pd.DataFrame:
    """Rows of text; a row is where its first line is, as editors count."""
    # Not pandas: it neither tells the line of a row nor refuses one that is too short.
    lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True)
    rows, begun = {}, 1
    for row in lines:
        if row:
            rows[f"line {begun}"] = [cell.strip() for cell in row]
        begun = lines.line_num + 1
    header = rows.pop(next(iter(rows), ""), [])
    for place, row in rows.items():
        if len(row) != len(header):
            raise DataError(f"{place} has {len(row)} fields, the header has {len(header)}", "give as many in each line")
    return pd.DataFrame(list(rows.values()), columns=header, index=list(rows), dtype=object)


def _unzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        whole = file.read(MOST_BYTES + 1)
    if len(whole) > MOST_BYTES:
        raise DataError(f"it is larger than {MOST_BYTES / 1e9:g} GB when it is unpacked", "give fewer rows")
    return whole


def _read_parquet(data: bytes) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    except ImportError:
        remedy = "pip install 'hwnas[train]', or give a CSV file"
        raise MissingPackageError("a Parquet file is read by pyarrow, which is absent", remedy) from None
    if frame.index.names != [None]:
        frame = frame.reset_index()
    return frame.set_axis([f"row {number}" for number in range(1, len(frame) + 1)])


READERS: Mapping[str, Callable[[bytes], pd.DataFrame]] = MappingProxyType(
    {
        ".csv": _read_text,
        ".csv.gz": lambda data: _read_text(_unzip(data)),
        ".tsv": lambda data: _read_text(data, "\t"),
        ".parquet": _read_parquet,
    }
)


def _reader(path: Path) -> Callable[[bytes], pd.DataFrame]:
    for suffix, read in READERS.items():
        if path.name.lower().endswith(suffix):
            return read
    raise DataError(f"a table ends in {', '.join(READERS)}", "save it as one of them")


def read_numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """A column's numbers, NaN where a cell holds nothing.

    Raises:
        DataError: a cell holds something else.
    """
    numbers = []
    for place, cell in column.items():
        try:
            numbers.append(_number(cell))
        except (ValueError, TypeError):
            raise DataError(
                f"{place}: {column.name} is {reprlib.repr(cell)}, which is no number", "give a number, like 0.93 or 93"
            ) from None
    return pd.Series(numbers, index=column.index, dtype=np.float64)


def _number(cell: object) -> float:
    """A cell's number, NaN where there is none.

    Raises:
        ValueError: it holds something else.
    """
    if cell is None or cell is pd.NA or cell == "":
        return float("nan")
    if isinstance(cell, bool | np.bool_):
        raise ValueError(cell)
    return float(cell)  # type: ignore[arg-type] # what is no number is told by its error


def find_whole(figures: pd.DataFrame) -> float:
    """What to divide accuracies by: 1, or 100 where they are percent.

    Raises:
        DataError: one is missing, is neither, or differs in this from the others.
    """
    values = figures.to_numpy()
    missing = np.isnan(values)
    if missing.any():
        raise DataError(
            f"{missing.any(axis=1).sum():,} of {len(figures):,} rows lack an accuracy, "
            f"the first is {_first(figures, missing)}",
            "fill them in, or leave these rows out",
        )
    outside = (values < 0) | (values > 100)
    if outside.any():
        raise DataError(f"an accuracy lies in 0 to 1, or in percent: {_first(figures, outside)}", "correct the table")
    return _whole(figures, values <= 1)


def _whole(figures: pd.DataFrame, small: NDArray[np.bool_]) -> float:
    if small.any() and not small.all():
        raise DataError(
            "accuracies are all shares or all percent, these are mixed: "
            f"{_first(figures, small)}, and {_first(figures, ~small)}",
            "write all of them as shares, from 0 to 1",
        )
    return 1.0 if small.all() else 100.0


def _first(figures: pd.DataFrame, where: NDArray[np.bool_]) -> str:
    """Place, column and value of the first figure that is marked."""
    row, column = np.argwhere(where)[0]
    return f"{figures.index[row]} with {figures.columns[column]} {figures.iat[row, column]:.10g}"
