"""An evaluator that reads accuracies from a CSV or Parquet file with one row for each architecture.

A row names its architecture in one of two ways. Either the column `arch` or `architecture` holds its text, its JSON
form or its option numbers, one digit for each open choice of the space; or every open choice has a column. Accuracies
are in the column `accuracy` or `acc`, with the suffixes `_seed0`, `_seed1`, … if there are several, from 0 to 1 or in
percent.
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
from nas.evaluate.table.file import AUTO, errors_with_name, find_divisor, read_file, read_numbers
from nas.evaluate.table.rows import read_architectures
from nas.space.decode import SearchSpace


@frozen
class TableRow:
    """Hold the accuracies of one architecture, from 0 to 1.

    Attributes:
        accuracy: Accuracy that a search uses.
        seeds: Accuracies of all seeds, the lowest seed first; empty if the table has none.
    """

    accuracy: float
    seeds: tuple[float, ...]


@frozen(eq=False)
class TableEvaluator:
    r"""Give the accuracy of an architecture in a table, whatever the budget is; `read_table` makes an instance.

    Attributes:
        table: Name of the file without its folder.
        sha256: First digits of the file's SHA-256.
        column: Name of the column with the accuracy that a search uses.
        rows: Accuracies by architecture in canonical form, in the order of the file.
        unit: Unit of the accuracies that the user gave, "percent" or "share"; "auto" if it was found from the values.

    Example:
        >>> import tempfile
        >>> from nas.space.files import find_space
        >>> space = find_space("nasbench_macro")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "accuracies.csv")
        ...     _ = path.write_text("arch,acc_seed0,acc_seed1\n21210200,91.5,91.7\n00000000,62.0,64.0\n")
        ...     evaluator = read_table(path, space)
        >>> arch = space.from_indices([2, 1, 2, 1, 0, 2, 0, 0])
        >>> list(evaluator.evaluate(arch, budget=1))
        [0.915]
        >>> evaluator.metadata(arch)
        {'accuracy_mean': 0.916, 'accuracy_seeds': [0.915, 0.917]}
        >>> len(evaluator.architectures())
        2
    """

    table: str
    sha256: str
    column: str
    rows: Mapping[Architecture, TableRow]
    unit: str = AUTO

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there are no epochs
        """Yield the accuracy of the table.

        Raises:
            EvaluationError: The table has no row for the architecture.
        """
        row = self.rows.get(canonical(arch))
        if row is None:
            text = textwrap.shorten(format_text(arch).partition("\n")[2].replace("\n", "; "), 200, placeholder=" …")
            raise EvaluationError(f"table {self.table} has no row for this network: {text}", "add a row for it")
        yield row.accuracy

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Return the accuracies of all seeds and their mean, if the table has seeds."""
        row = self.rows.get(canonical(arch))
        if row is None or not row.seeds:
            return {}
        return {"accuracy_mean": fmean(row.seeds), "accuracy_seeds": list(row.seeds)}

    def architectures(self) -> Sequence[Architecture]:
        """Return all architectures of the table, in its order; see `Limited`."""
        return tuple(self.rows)

    def describe(self) -> Mapping[str, Any]:
        """Return the file's name and digest: a study may be resumed after the file was moved, but not changed."""
        return {
            "evaluator": "table",
            "table": self.table,
            "sha256": self.sha256,
            "column": self.column,
            "architectures": len(self.rows),
            # Studies that are older than the option have no unit among their settings.
            **({"unit": self.unit} if self.unit != AUTO else {}),
            "environment": {"pandas": pd.__version__},
        }


def read_table(
    path: str | Path, space: SearchSpace, column: str = "", ignore: Sequence[str] = (), unit: str = AUTO
) -> TableEvaluator:
    """Read a table of accuracies.

    Several rows of one network must have the same accuracies, and become one. Fields of a text are separated by commas,
    semicolons or tabs, as the header shows.

    Args:
        path: Path of a file that ends in .csv, .csv.gz, .tsv or .parquet.
        space: Search space of its architectures.
        column: Name of the column with the accuracy that a search uses. "" means the column without a seed, or else the
            column of the lowest seed.
        ignore: Glob patterns of columns to ignore.
        unit: "percent" or "share"; "auto" takes shares if all accuracies are at most 1, and percentages if none is.

    Raises:
        DataError: The file cannot be read or breaks a rule; the message names row, column and value.
        MissingPackageError: It is a Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    with errors_with_name(path):
        frame, sha256 = read_file(path)
        columns = find_columns(list(frame.columns), space, column, ignore)
        figures = frame[columns.accuracies].apply(read_numbers)
        divisor = find_divisor(figures, unit)
        first_rows = _first_rows(figures, read_architectures(frame, columns, space))
    accuracies = (figures[columns.accuracy] / divisor).tolist()
    seeds = (figures[list(columns.seeds)] / divisor).to_numpy().tolist()
    rows = {arch: TableRow(accuracies[row], tuple(seeds[row])) for arch, row in first_rows.items()}
    return TableEvaluator(path.name, sha256[:12], columns.accuracy, rows, unit)


def _first_rows(figures: pd.DataFrame, archs: Sequence[Architecture]) -> dict[Architecture, int]:
    """Return the position of the first row of every network.

    Raises:
        DataError: Another row of the same network has other accuracies.
    """
    rows: dict[Architecture, int] = {}
    values = figures.to_numpy()
    first = np.array([rows.setdefault(arch, row) for row, arch in enumerate(archs)], dtype=np.intp)
    differs = values != values[first]
    if differs.any():
        row, column = np.argwhere(differs)[0]
        pair = [f"{figures.index[i]} has {figures.columns[column]} {values[i, column]:.10g}" for i in (first[row], row)]
        raise DataError(
            f"{' and '.join(pair)}, but they are the same network; rows of one network need the same accuracies",
            "correct one row, or remove it",
        )
    return rows
