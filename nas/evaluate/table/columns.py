"""Columns of tables: which tell the architecture, and which its accuracies."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from attrs import frozen

from nas.errors import DataError
from nas.space.decode import SearchSpace

ARCH_COLUMNS = ("arch", "architecture")
# Costs are computed anew; columns of them are passed over.
COST_COLUMNS = frozenset({"macs", "flops", "params", "peak_bytes", "size_bytes", "latency_ms"})
_PLAIN = ("accuracy", "acc")
_ACCURACY = re.compile(r"(accuracy|acc)(?:_(?:seed([0-9]{1,9})|mean|std))?")


@frozen
class Columns:
    """Names of columns: either `arch` or those of choices tell the architecture.

    Attributes:
        arch: of whole architectures, "" where there is none.
        choices: of single choices, () where there are none.
        seen: of the accuracy that a search sees.
        seeds: of accuracies of single seeds, the lowest first.
    """

    arch: str
    choices: tuple[str, ...]
    seen: str
    seeds: tuple[str, ...]

    @property
    def accuracies(self) -> list[str]:
        """The seen one and those of seeds, each once."""
        return list(dict.fromkeys((self.seen, *self.seeds)))


def find_columns(names: Iterable[str], space: SearchSpace, column: str, ignore: Sequence[str]) -> Columns:
    """What the names of a table's columns say.

    Args:
        names: of all columns.
        space: what the architectures belong to.
        column: see `Columns.seen`; "" takes the plain one, or else the lowest seed's.
        ignore: glob patterns of columns that are passed over.

    Raises:
        DataError: one is missing, is there in two ways, or is unknown.
    """
    names = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in ignore)]
    choices = {choice.name for choice in space.all_choices}
    telling = [name for name in names if name in ARCH_COLUMNS or name in choices]
    accuracies = [name for name in names if _ACCURACY.fullmatch(name)]
    seeds = _seeds(accuracies)
    seen = _seen(column, names, {*telling, *COST_COLUMNS}, seeds)
    _refuse_unknown(names, {*telling, *accuracies, *COST_COLUMNS, seen})
    return Columns(*_telling(telling, space), seen, seeds)


def _refuse_unknown(names: Sequence[str], known: set[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"nothing is known of {_listed(unknown)}",
            f"drop what is not needed, or pass it over: --ignore-columns '{unknown[0]}'; a pattern like 'op*' will do",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _seeds(accuracies: Sequence[str]) -> tuple[str, ...]:
    """Columns of single seeds, the lowest first."""
    found = [match for name in accuracies if (match := _ACCURACY.fullmatch(name))]
    if len({match[1] for match in found}) > 1:
        raise DataError(
            f"accuracies are called accuracy or acc, and this has both: {_listed(accuracies)}",
            "keep one kind: --ignore-columns 'acc_*'",
        )
    return tuple(match[0] for match in sorted((m for m in found if m[2]), key=lambda match: int(match[2])))


def _seen(column: str, names: Sequence[str], others: set[str], seeds: Sequence[str]) -> str:
    """Name of the column that a search sees."""
    fit = [name for name in names if name not in others and not name.endswith("_std")]
    usual = [name for name in (*_PLAIN, *seeds) if name in names]
    if column and column not in fit:
        raise DataError(f"it has no column of accuracies {column!r}", f"choose one of {_listed(fit)}")
    if not column and not usual:
        there = f"; {_listed(fit)} can be chosen with --accuracy" if fit else ""
        raise DataError("it has no column accuracy, acc or of a single seed", f"add one, such as acc_seed0{there}")
    return column or usual[0]


def _telling(names: Sequence[str], space: SearchSpace) -> tuple[str, tuple[str, ...]]:
    """The column of architectures and none of choices, or the other way round."""
    arch = [name for name in names if name in ARCH_COLUMNS]
    choices = [name for name in names if name not in ARCH_COLUMNS]
    if len(arch) > 1 or (arch and choices):
        raise DataError(
            f"several columns tell the architecture: {_listed(names)}", "keep one way, with --ignore-columns for others"
        )
    missing = [choice.name for choice in space.choices if choice.name not in choices]
    if missing and not arch:
        raise DataError(
            f"no column tells the architecture: there is no {' or '.join(ARCH_COLUMNS)}, and choices of space "
            f"{space.name} are missing: {_listed(missing)}",
            "add the column arch, or one for each open choice",
        )
    return arch[0] if arch else "", tuple(choices)
