"""The size of a Parquet file in memory: a small file can hold one long text that all of its rows repeat."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import attrs

_TEXT = "BYTE_ARRAY"
_BATCH_BYTES, _MOST_ROWS, _FEW_ROWS = 64_000_000, 1024, 16


@attrs.frozen
class Extent:
    """Hold how large the rows of Parquet files are in memory.

    Attributes:
        size: Size of all values in bytes.
        largest: Size of the largest value in bytes.
    """

    size: int = 0
    largest: int = 1

    def __or__(self, other: "Extent") -> "Extent":
        """Return the extent of both files."""
        return Extent(self.size + other.size, max(self.largest, other.largest))

    def rows_at_once(self, most_bytes: int, most_rows: int = _MOST_ROWS) -> int:
        """Return a number of rows, 1 or more, whose largest values fit into `most_bytes`.

        Example:
            >>> Extent(size=10**9, largest=10**6).rows_at_once(10**8)
            100
        """
        return max(1, min(most_rows, most_bytes // self.largest))


def measure(file: Path | IO[bytes], most: int) -> Extent:
    """Return the extent of a Parquet file, without holding its rows in memory.

    Args:
        file: The file.
        most: Size in bytes at which the measurement ends; the extent of a larger file is above it.

    Raises:
        Exception: The decoder may raise any error on a damaged file.
    """
    from pyarrow.lib import ArrowNotImplementedError
    from pyarrow.parquet import ParquetFile

    metadata = ParquetFile(file).metadata
    columns = [metadata.schema.column(k) for k in range(metadata.num_columns)]
    texts = [column.path for column in columns if column.physical_type == _TEXT]
    numbers = Extent(8 * _count_numbers(metadata), 8)
    if not texts:
        return numbers
    stored = sum(metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups))
    rows = Extent(largest=max(1, stored // max(1, metadata.num_rows))).rows_at_once(_BATCH_BYTES)
    try:
        # A dictionary holds each of its values once, however often the rows repeat it.
        return numbers | _read(ParquetFile(file, read_dictionary=texts), rows, texts, most)
    except ArrowNotImplementedError:  # a column of records with more than one dictionary
        return numbers | _read(ParquetFile(file), min(rows, _FEW_ROWS), texts, most)


def _count_numbers(metadata: Any) -> int:
    """Return the number of values that are not texts, also of those in lists."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    chunks = (group.column(k) for group in groups for k in range(group.num_columns))
    return sum(chunk.num_values for chunk in chunks if chunk.physical_type != _TEXT)


def _read(file: Any, rows: int, columns: list[str], most: int) -> Extent:
    total = Extent()
    for batch in file.iter_batches(rows, columns=columns):
        for array in (leaf for column in batch.columns for leaf in _leaves(column)):
            total |= _extent(array)
        if total.size > most:
            break
    return total


def _leaves(array: Any) -> Iterator[Any]:
    """Yield the arrays of values of a column, which may consist of records and lists."""
    from pyarrow import types

    if types.is_struct(array.type):
        for field in array.flatten():
            yield from _leaves(field)
    elif types.is_list(array.type) or types.is_large_list(array.type) or types.is_map(array.type):
        yield from _leaves(array.flatten() if not types.is_map(array.type) else array.items)
    else:
        yield array


def _extent(array: Any) -> Extent:
    from pyarrow import compute, types

    if not types.is_dictionary(array.type):
        return Extent(array.nbytes, max(1, array.nbytes // max(1, len(array))))
    sizes = compute.binary_length(array.dictionary).take(array.indices)
    return Extent(compute.sum(sizes).as_py() or 0, compute.max(sizes).as_py() or 1)
