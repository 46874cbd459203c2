"""The rows of a table: the architecture that each row is about."""

import re
import reprlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.arch.canonical import canonical
from nas.arch.code import parse_json, parse_text
from nas.arch.spec import Architecture, PoolHead, Stage, Stem
from nas.errors import ArchitectureError, DataError
from nas.evaluate.table.columns import Columns
from nas.space.decode import Choice, SearchSpace
from nas.space.inverse import Inverse

_FORMS = "give its text or JSON as `nas show` writes them, or one digit for each open choice of the space"
_LONGEST_TEXT = 120


def read_architectures(frame: pd.DataFrame, columns: Columns, space: SearchSpace) -> list[Architecture]:
    """Return the architecture of every row, in canonical form.

    Raises:
        DataError: A row names no architecture, or one that is not in the space.
    """
    if columns.arch:
        inverse = Inverse(space)
        archs = [_parse_cell(place, columns.arch, cell, inverse) for place, cell in frame[columns.arch].items()]
    else:
        only = np.zeros(len(frame), dtype=np.intp)
        indices = [_indices(frame[c.name], c) if c.name in columns.choices else only for c in space.all_choices]
        archs = [space.from_indices(row) for row in np.stack(indices, axis=1).tolist()]
    return [canonical_by_runs(arch) for arch in archs]


def _indices(column: "pd.Series[Any]", choice: Choice) -> NDArray[np.intp]:
    """Return the option number of each row of a choice's column."""
    numbers = {_option_key(option): i for i, option in reversed(list(enumerate(choice.values)))}
    # Large tables repeat few different cells, so each of them is looked up once.
    codes, cells = pd.factorize(column.astype(str))
    # Empty cells have the code -1, which selects the last entry.
    options = [*(numbers.get(_option_key(cell), -1) for cell in cells), -1]
    indices: NDArray[np.intp] = np.array(options, dtype=np.intp)[codes]
    if (indices < 0).any():
        row = int(np.argmax(indices < 0))
        raise DataError(
            f"{column.index[row]}: {choice.name} is {reprlib.repr(column.iloc[row])}, which is not one of its options",
            f"its options are {', '.join(map(str, choice.values))}",
        )
    return indices


def _option_key(value: object) -> str | float:
    """Return a key that is the same for all ways to write an option: 3, "3" and 3.0."""
    text = str(value)
    try:
        return float(text)
    except ValueError:
        return text


def _parse_cell(place: object, column: str, cell: object, inverse: Inverse) -> Architecture:
    """Return the architecture in one cell.

    Args:
        place: Place of the row, for messages.
        column: Name of the column, for messages.
        cell: Text, JSON form or option numbers of the architecture.
        inverse: Inverse of the search space.

    Raises:
        DataError: The cell holds no architecture of the space.
    """
    text, space = str(cell).strip(), inverse.space
    where = f"{place}: {column} is {_short(text)}"
    try:
        if re.fullmatch("[0-9]+", text):
            return space.from_indices(_parse_digits(text, space))
        arch = (parse_json if text.startswith("{") else parse_text)(text)
    except ArchitectureError as error:
        raise DataError(f"{where}; {error.problem}", _FORMS) from None
    except DataError as error:
        raise DataError(f"{where}; {error.problem}", error.remedy) from None
    if inverse.indices(arch) is None:
        raise DataError(f"{where}; it is not in space {space.name}", _remedy(arch, space))
    return arch


def _short(text: str) -> str:
    shortener = reprlib.Repr()
    shortener.maxstring = _LONGEST_TEXT
    return shortener.repr(text)


def _parse_digits(text: str, space: SearchSpace) -> list[int]:
    """Return the choice indices in a text with one digit for each open choice."""
    if len(text) != len(space.choices) or any(len(choice.values) > 10 for choice in space.choices):
        raise DataError(
            f"it has {len(text)} digits for the {len(space.choices)} open choices of space {space.name}, "
            "each of which may have up to 10 options",
            "save the column as text so that leading zeros are kept, or give each choice a column",
        )
    digits = iter(text)
    indices = [int(next(digits)) if len(choice.values) > 1 else 0 for choice in space.all_choices]
    for choice, pick in zip(space.all_choices, indices, strict=True):
        if pick >= len(choice.values):
            raise DataError(
                f"{choice.name} has no option {pick}",
                f"its options are {', '.join(f'{i} ({value})' for i, value in enumerate(choice.values))}",
            )
    return indices


def _remedy(arch: Architecture, space: SearchSpace) -> str:
    """Return what to do about an architecture of another space."""
    differing = [name for name, value in space.net_of(arch).items() if getattr(arch, name) != value]
    values = ", ".join(f"{name} {getattr(arch, name)} and not {space.net[name]}" for name in differing)
    if differing:
        return f"it has {values}; pass --resolution and --classes as in the table, or remove the row"
    return "search the space that the table is about, or remove the row"


def canonical_by_runs(arch: Architecture) -> Architecture:
    """Return what `canonical` returns, faster for many architectures that have stages in common.

    The canonical form of a run of stages that can merge depends only on these stages, the stem and the input channels,
    so it is computed once for each run and cached.
    """
    stages: list[Stage] = []
    channels = arch.stem.channels
    for run in _runs(arch.stages):
        stages.extend(_canonical_run(run, arch.stem, channels))
        channels = run[-1].channels
    return attrs.evolve(arch, stages=tuple(stages))


def _runs(stages: Sequence[Stage]) -> Iterator[tuple[Stage, ...]]:
    """Yield the stages in runs, divided before every stage that cannot merge with the one before it.

    Only layers with the same kernel and number of channels can be repeats of one stage, and a stride starts a new one.
    """
    start = 0
    for i, (last, following) in enumerate(pairwise(stages), start=1):
        if following.stride > 1 or (last.kernel, last.channels) != (following.kernel, following.channels):
            yield tuple(stages[start:i])
            start = i
    yield tuple(stages[start:])


@lru_cache(maxsize=65_536)
def _canonical_run(stages: tuple[Stage, ...], stem: Stem, channels: int) -> tuple[Stage, ...]:
    return canonical(Architecture(attrs.evolve(stem, channels=channels), stages, PoolHead())).stages
