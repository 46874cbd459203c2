"""Reading of table files: the cells as text or as Parquet stores them, and the numbers in them."""

import csv
import gzip
import hashlib
import io
import re
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

from nas.data.parquet_size import measure
from nas.errors import DataError, MissingPackageError, NasError
from nas.files import decode_text, read_bytes

# Bounds of a table. A small packed file can unpack to more bytes than the memory has, and a cell takes about 60 bytes.
MOST_BYTES = 200_000_000
MOST_CELLS = 10_000_000
DELIMITERS = (",", ";", "\t")
_LONGEST_HEADER = 1_000_000
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(e[+-]?[0-9]+)?", re.IGNORECASE)
_UNNAMED = re.compile(r"|Unnamed: [0-9]+|index")
AUTO, PERCENT, SHARE = "auto", "percent", "share"
_DIVISORS: Mapping[str, float] = MappingProxyType({PERCENT: 100.0, SHARE: 1.0})


@contextmanager
def errors_with_name(path: Path) -> Iterator[None]:
    """Put the table's name before the message of every error inside the context.

    Raises:
        DataError: The error that was raised, also if the file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise DataError(f"table {path} cannot be read: {error.strerror or error}", "name another file") from None
    except DataError as error:
        raise DataError(f"table {path.name}: {error.problem}", error.remedy) from None


def read_file(path: Path) -> tuple[pd.DataFrame, str]:
    """Return the cells of a file, and the file's SHA-256.

    The index of the frame names the place of each row in the file, such as "line 3", for messages.

    Raises:
        OSError: The file cannot be read.
        DataError: It is no table, has no row, or has two columns of the same name.
        MissingPackageError: It is a Parquet file, and pyarrow is not installed.
    """
    read, data = _reader(path), read_bytes(path, MOST_BYTES)
    frame = _parse(read, data)
    duplicates = frame.columns[frame.columns.duplicated()]
    if len(duplicates):
        raise DataError(f"there are two columns named {duplicates[0]!r}", "keep one of them")
    if not len(frame):
        raise DataError("there is no row", "add a row for each architecture")
    return frame, hashlib.sha256(data).hexdigest()


def _parse(read: Callable[[bytes], pd.DataFrame], data: bytes) -> pd.DataFrame:
    try:
        return read(data).rename(columns=str)
    except NasError:
        raise
    except Exception as error:  # the decoders of gzip, CSV and Parquet may raise any error on a damaged file
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise DataError(f"the file cannot be read: {reason}", "save the table again") from None


def _read_text(data: bytes, usual: str = ",") -> pd.DataFrame:
    """Return rows of text; the place of a row is the number of its first line, as editors count lines.

    Args:
        data: UTF-8 text.
        usual: Delimiter of a table with a single column.

    Raises:
        DataError: The text is not UTF-8, is too large, or a line has another number of fields.
    """
    try:
        text = decode_text(data)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error}", "save the table again, as UTF-8 text") from None
    delimiter, above = _find_delimiter(text, usual)
    rows = _read_rows(text, delimiter, above)
    header = rows.pop(next(iter(rows), ""), [])
    # R writes the numbers of the rows, without a name in the header.
    numbered = [row[0] for row in rows.values()] == [str(number) for number in range(1, len(rows) + 1)]
    if numbered and all(len(row) == len(header) + 1 for row in rows.values()):
        header = ["", *header]
    for place, row in rows.items():
        if len(row) != len(header):
            raise DataError(
                f"{place} has {len(row)} fields and the header has {len(header)}", "give every line as many fields"
            )
    return _without_index(pd.DataFrame(list(rows.values()), columns=header, index=list(rows), dtype=object))


def _find_delimiter(text: str, usual: str) -> tuple[str, int]:
    """Return the delimiter, and the number of lines above the header.

    A first line such as "sep=;", as spreadsheet programs write it, names the delimiter. Otherwise it is the one that
    divides the header into the most fields.
    """
    named = re.match(r"sep=([,;\t])\s*\n", text)
    if named:
        return named[1], 1
    return max(dict.fromkeys((usual, *DELIMITERS)), key=lambda delimiter: len(_header(text, delimiter))), 0


def _header(text: str, delimiter: str) -> list[str]:
    try:
        return next(filter(None, csv.reader(io.StringIO(text[:_LONGEST_HEADER], newline=""), delimiter=delimiter)), [])
    except csv.Error:
        return []


def _read_rows(text: str, delimiter: str, above: int) -> dict[str, list[str]]:
    """Return the fields of all lines that are not empty, by their places."""
    # pandas neither reports the line of a row, which may span several lines, nor refuses a row that is too short.
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, start, cells = {}, 1, 0
    for row in lines:
        if row and start > above:
            rows[f"line {start}"] = [_with_point(cell.strip()) for cell in row]
        start, cells = lines.line_num + 1, cells + len(row)
        _check_cells(cells)
    return rows


def _with_point(cell: str) -> str:
    """Return a number with a decimal point in place of its comma, and any other text unchanged."""
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without columns that have no name and hold nothing, or the row numbers of another program."""
    unnamed = [position for position, name in enumerate(frame.columns) if _UNNAMED.fullmatch(name)]
    dropped = {position for position in unnamed if position == 0 or (frame.iloc[:, position] == "").all()}
    return frame.iloc[:, [position for position in range(frame.shape[1]) if position not in dropped]]


def _check_cells(cells: int) -> None:
    if cells > MOST_CELLS:
        raise DataError(
            f"the table has more than {MOST_CELLS:,} cells, the most that are read", "remove rows or columns"
        )


def _unzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        # One byte more than is allowed shows that the table is too large, without unpacking it all.
        unpacked = file.read(MOST_BYTES + 1)
    if len(unpacked) > MOST_BYTES:
        raise _too_large()
    return unpacked


def _too_large() -> DataError:
    return DataError(
        f"the table is larger than {MOST_BYTES:,} bytes when it is unpacked, the largest size that is read",
        "remove rows or columns",
    )


def _read_parquet(data: bytes) -> pd.DataFrame:
    try:
        _check_parquet(data)
        frame = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    except ImportError:
        remedy = "pip install 'hwnas[train]', or save the table as CSV"
        raise MissingPackageError("reading a Parquet file needs pyarrow, which is not installed", remedy) from None
    if frame.index.names != [None]:
        frame = frame.reset_index()
    return frame.set_axis([f"row {number}" for number in range(1, len(frame) + 1)])


def _check_parquet(data: bytes) -> None:
    from pyarrow.parquet import read_metadata

    metadata = read_metadata(io.BytesIO(data))
    _check_cells(metadata.num_rows * metadata.num_columns)
    if measure(io.BytesIO(data), MOST_BYTES).size > MOST_BYTES:
        raise _too_large()


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
    raise DataError(f"the file's name must end in {', '.join(READERS)}", "save the table as one of these")


def read_numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the numbers of a column, with NaN for empty cells.

    Raises:
        DataError: A cell holds anything else.
    """
    numbers = []
    for place, cell in column.items():
        try:
            numbers.append(_number(cell))
        except (ValueError, TypeError):
            raise DataError(
                f"{place}: {column.name} is {reprlib.repr(cell)}, which is not a number",
                "give a number, like 0.93 or 93",
            ) from None
    return pd.Series(numbers, index=column.index, dtype=np.float64)


def _number(cell: object) -> float:
    """Return the number in a cell, or NaN if it is empty.

    Raises:
        ValueError: The cell holds a bool or a text that is no number.
        TypeError: The cell holds another object.
    """
    if cell is None or cell is pd.NA or cell == "":
        return float("nan")
    if isinstance(cell, bool | np.bool_):
        raise ValueError(cell)
    return float(cell)  # type: ignore[arg-type] # objects without a number raise the TypeError


def find_divisor(figures: pd.DataFrame, unit: str = AUTO) -> float:
    """Return the number by which to divide accuracies: 1 if they are shares, 100 if they are percentages.

    Args:
        figures: Accuracies.
        unit: "percent" or "share"; "auto" takes shares if all accuracies are at most 1, and else percentages.

    Raises:
        DataError: An accuracy is missing or outside its range, or some seem to be shares and others percentages.
    """
    values = figures.to_numpy()
    missing = np.isnan(values)
    if missing.any():
        raise DataError(
            f"{missing.any(axis=1).sum():,} of {len(figures):,} rows lack an accuracy, "
            f"the first is {_describe_first(figures, missing)}",
            "fill them in, or remove these rows",
        )
    outside = (values < 0) | (values > (1 if unit == SHARE else 100))
    if outside.any():
        raise DataError(
            f"{_describe_first(figures, outside)} is no accuracy; an accuracy is from 0 to 1, or from 0 to 100 percent",
            "correct the table, or leave out --accuracy-unit share" if unit == SHARE else "correct the table",
        )
    return _DIVISORS[unit] if unit in _DIVISORS else _guess_divisor(figures, values <= 1)


def _guess_divisor(figures: pd.DataFrame, is_share: NDArray[np.bool_]) -> float:
    if is_share.any() and not is_share.all():
        raise DataError(
            f"{_describe_first(figures, is_share)} is a share and {_describe_first(figures, ~is_share)} a percentage; "
            "accuracies must be all shares or all percentages",
            "give --accuracy-unit percent if all are percentages, or write all of them as shares, from 0 to 1",
        )
    return 1.0 if is_share.all() else 100.0


def _describe_first(figures: pd.DataFrame, mask: NDArray[np.bool_]) -> str:
    """Return place, column and value of the first figure in a mask."""
    row, column = np.argwhere(mask)[0]
    return f"{figures.index[row]} with {figures.columns[column]} {figures.iat[row, column]:.10g}"
