"""Scores architectures by a table that holds their accuracies: a CSV or Parquet file with one row for each.

A row tells its architecture in one of two ways. Either a column `arch` or `architecture` holds its text, its JSON form
or the numbers of its options, one digit for each open choice of the space; or every open choice has its own column.
Accuracies stand in `accuracy` or `acc`, with `_seed0`, `_seed1`, … where there are several, in 0 to 1 or in percent.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.errors import DataError, EvaluationError
from nas.evaluate.table.columns import find_columns
from nas.evaluate.table.file import find_whole, read_file, read_numbers, told_of
from nas.evaluate.table.rows import read_architectures
from nas.space.decode import SearchSpace


@frozen
class Known:
    """What a row says: the accuracy that a search sees, and those of all seeds, 0 to 1."""

    accuracy: float
    seeds: tuple[float, ...]


@frozen(eq=False)
class TableEvaluator:
    """Accuracies from a table, made by `read_table`; the same ones always, whatever the budget.

    Attributes:
        table: the file's name, without its folder.
        sha256: the first digits of the file's.
        column: where the accuracy that a search sees stands.
        rows: by architecture in canonical form, in the order of the file.
    """

    table: str
    sha256: str
    column: str
    rows: Mapping[Architecture, Known]

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- known already
        """The one accuracy that the table has.

        Raises:
            EvaluationError: the table has no row for the architecture.
        """
        known = self.rows.get(canonical(arch))
        if known is None:
            told = textwrap.shorten(format_text(arch).partition("\n")[2].replace("\n", "; "), 200, placeholder=" …")
            raise EvaluationError(f"table {self.table} has no row for this network: {told}", "add one")
        yield known.accuracy

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Accuracies of all seeds and their mean, where the table has seeds."""
        known = self.rows.get(canonical(arch))
        if known is None or not known.seeds:
            return {}
        return {"accuracy_mean": fmean(known.seeds), "accuracy_seeds": list(known.seeds)}

    def architectures(self) -> Sequence[Architecture]:
        """All networks of the table, in its order."""
        return tuple(self.rows)

    def describe(self) -> Mapping[str, Any]:
        """The file by its name and digest, so that it may be moved and not changed."""
        return {
            "evaluator": "table",
            "table": self.table,
            "sha256": self.sha256,
            "column": self.column,
            "architectures": len(self.rows),
            "environment": {"pandas": pd.__version__},
        }


def read_table(path: str | Path, space: SearchSpace, column: str = "", ignore: Sequence[str] = ()) -> TableEvaluator:
    """Read a table of accuracies.

    Rows of the same network are one, and must agree. Values are percent where all are above 1.

    Args:
        path: a file that ends in .csv, .csv.gz, .tsv or .parquet.
        space: what its architectures belong to.
        column: of the accuracy that a search sees; "" takes the plain one, or else the lowest seed's.
        ignore: glob patterns of columns that are passed over.

    Raises:
        DataError: the file cannot be read, or breaks a rule; with row, column and value.
        MissingPackageError: it is a Parquet file, and pyarrow is absent.
    """
    path = Path(path)
    with told_of(path):
        frame, sha256 = read_file(path)
        columns = find_columns(list(frame.columns), space, column, ignore)
        figures = frame[columns.accuracies].apply(read_numbers)
        whole = find_whole(figures)
        rows = _merged(figures, read_architectures(frame, columns, space))
    seen = (figures[columns.seen] / whole).tolist()
    seeds = (figures[list(columns.seeds)] / whole).to_numpy().tolist()
    known = {arch: Known(seen[row], tuple(seeds[row])) for arch, row in rows.items()}
    return TableEvaluator(path.name, sha256[:12], columns.seen, known)


def _merged(figures: pd.DataFrame, archs: Sequence[Architecture]) -> dict[Architecture, int]:
    """The first row of every network.

    Raises:
        DataError: another row of it has other accuracies.
    """
    rows: dict[Architecture, int] = {}
    values = figures.to_numpy()
    first = np.array([rows.setdefault(arch, row) for row, arch in enumerate(archs)], dtype=np.intp)
    other = values != values[first]
    if other.any():
        row, column = np.argwhere(other)[0]
        pair = [f"{figures.index[i]} has {figures.columns[column]} {values[i, column]:.10g}" for i in (first[row], row)]
        raise DataError(
            f"rows of the same network need the same accuracies: {' and '.join(pair)}", "correct one, or leave it out"
        )
    return rows
