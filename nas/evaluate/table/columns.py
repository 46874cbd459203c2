"""The columns of a table: which of them name the architecture, and which hold its accuracies."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from attrs import frozen

from nas.errors import DataError
from nas.space.decode import SearchSpace

ARCH_COLUMNS = ("arch", "architecture")
# Columns of costs are ignored, because costs are computed from the architecture.
COST_COLUMNS = frozenset({"macs", "flops", "params", "peak_bytes", "size_bytes", "latency_ms"})
_WITHOUT_SEED = ("accuracy", "acc")
_ACCURACY = re.compile(r"(accuracy|acc)(?:_(?:seed([0-9]{1,9})|mean|std))?")


@frozen
class Columns:
    """Hold the names of the columns that are used; the architecture is named by `arch` or by `choices`.

    Attributes:
        arch: Column of whole architectures, or "".
        choices: Columns of single choices, or ().
        accuracy: Column with the accuracy that a search uses.
        seeds: Columns with the accuracies of single seeds, the lowest seed first.
    """

    arch: str
    choices: tuple[str, ...]
    accuracy: str
    seeds: tuple[str, ...]

    @property
    def accuracies(self) -> list[str]:
        """Return all columns of accuracies without duplicates."""
        return list(dict.fromkeys((self.accuracy, *self.seeds)))


def find_columns(names: Iterable[str], space: SearchSpace, column: str, ignore: Sequence[str]) -> Columns:
    """Return the meaning of a table's columns.

    Args:
        names: Names of all columns.
        space: Search space of the architectures.
        column: Column with the accuracy that a search uses. "" means the column without a seed, or else the column of
            the lowest seed.
        ignore: Glob patterns of columns to ignore.

    Raises:
        DataError: A column is missing, ambiguous or unknown.

    Example:
        >>> from nas.space.files import find_space
        >>> find_columns(["arch", "acc_seed1", "acc_seed0", "macs"], find_space("nasbench_macro"), "", ())
        Columns(arch='arch', choices=(), accuracy='acc_seed0', seeds=('acc_seed0', 'acc_seed1'))
    """
    names = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in ignore)]
    choices = {choice.name for choice in space.all_choices}
    architecture = [name for name in names if name in ARCH_COLUMNS or name in choices]
    accuracies = [name for name in names if _ACCURACY.fullmatch(name)]
    seeds = _seed_columns(accuracies)
    accuracy = _accuracy_column(column, names, {*architecture, *COST_COLUMNS}, seeds)
    _check_known(names, {*architecture, *accuracies, *COST_COLUMNS, accuracy})
    return Columns(*_architecture_columns(architecture, space), accuracy, seeds)


def _check_known(names: Sequence[str], known: set[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"unknown columns: {_listed(unknown)}",
            f"remove the columns, or ignore them: --ignore-columns '{unknown[0]}', or a pattern like 'op*'",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _seed_columns(accuracies: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of single seeds, the lowest seed first."""
    found = [match for name in accuracies if (match := _ACCURACY.fullmatch(name))]
    if len({match[1] for match in found}) > 1:
        raise DataError(
            f"columns of accuracies are named accuracy or acc, and this table has both: {_listed(accuracies)}",
            "keep one kind, such as with --ignore-columns 'acc_*'",
        )
    return tuple(match[0] for match in sorted((m for m in found if m[2]), key=lambda match: int(match[2])))


def _accuracy_column(column: str, names: Sequence[str], others: set[str], seeds: Sequence[str]) -> str:
    """Return the name of the column with the accuracy that a search uses."""
    possible = [name for name in names if name not in others and not name.endswith("_std")]
    usual = [name for name in (*_WITHOUT_SEED, *seeds) if name in names]
    if column and column not in possible:
        raise DataError(f"there is no column of accuracies {column!r}", f"choose one of {_listed(possible)}")
    if not column and not usual:
        hint = f"; or choose {_listed(possible)} with --accuracy" if possible else ""
        raise DataError(
            "there is no column accuracy, acc, or acc_seed with a number", f"add one, such as acc_seed0{hint}"
        )
    return column or usual[0]


def _architecture_columns(names: Sequence[str], space: SearchSpace) -> tuple[str, tuple[str, ...]]:
    """Return the column of whole architectures and the columns of choices; one of the two is empty."""
    arch = [name for name in names if name in ARCH_COLUMNS]
    choices = [name for name in names if name not in ARCH_COLUMNS]
    if len(arch) > 1 or (arch and choices):
        raise DataError(
            f"several columns name the architecture: {_listed(names)}", "keep one way, and ignore the other columns"
        )
    missing = [choice.name for choice in space.choices if choice.name not in choices]
    if missing and not arch:
        raise DataError(
            f"no columns name the architecture: there is no {' or '.join(ARCH_COLUMNS)}, and choices of space "
            f"{space.name} are missing: {_listed(missing)}",
            "add the column arch, or a column for each open choice",
        )
    return arch[0] if arch else "", tuple(choices)
