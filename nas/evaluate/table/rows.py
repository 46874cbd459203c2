"""Rows of tables: the architectures that they are about."""

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
_SHORT = reprlib.Repr()
_SHORT.maxstring = 120


def read_architectures(frame: pd.DataFrame, columns: Columns, space: SearchSpace) -> list[Architecture]:
    """The architecture of every row, in canonical form.

    Raises:
        DataError: a row tells none, or one that is not in the space.
    """
    if columns.arch:
        inverse = Inverse(space)
        archs = [_arch(place, columns.arch, cell, inverse) for place, cell in frame[columns.arch].items()]
    else:
        only = np.zeros(len(frame), dtype=np.intp)
        picks = [_picks(frame[c.name], c) if c.name in columns.choices else only for c in space.all_choices]
        archs = [space.from_picks(row) for row in np.stack(picks, axis=1).tolist()]
    return [canonical_by_runs(arch) for arch in archs]


def _picks(column: "pd.Series[Any]", choice: Choice) -> NDArray[np.intp]:
    """Numbers of options, one for each row."""
    numbers = {_spelled(option): i for i, option in reversed(list(enumerate(choice.values)))}
    codes, cells = pd.factorize(column.astype(str))
    # The last one is of cells that hold nothing, whose code is -1.
    options = [*(numbers.get(_spelled(cell), -1) for cell in cells), -1]
    picks: NDArray[np.intp] = np.array(options, dtype=np.intp)[codes]
    if (picks < 0).any():
        row = int(np.argmax(picks < 0))
        raise DataError(
            f"{column.index[row]}: {choice.name} is {reprlib.repr(column.iloc[row])}, which is none of its options",
            f"its options are {', '.join(map(str, choice.values))}",
        )
    return picks


def _spelled(value: object) -> str | float:
    """Equal for all ways to write an option: 3, "3" and 3.0."""
    text = str(value)
    try:
        return float(text)
    except ValueError:
        return text


def _arch(place: object, column: str, cell: object, inverse: Inverse) -> Architecture:
    """The architecture that one cell writes out."""
    text, space = str(cell).strip(), inverse.space
    where = f"{place}: {column} is {_SHORT.repr(text)}"
    try:
        if re.fullmatch("[0-9]+", text):
            return space.from_picks(_digits(text, space))
        arch = (parse_json if text.startswith("{") else parse_text)(text)
    except ArchitectureError as error:
        raise DataError(f"{where}; {error.problem}", _FORMS) from None
    except DataError as error:
        raise DataError(f"{where}; {error.problem}", error.remedy) from None
    if inverse.picks(arch) is None:
        raise DataError(f"{where}; it is not in space {space.name}", _difference(arch, space))
    return arch


def _digits(text: str, space: SearchSpace) -> list[int]:
    """Option numbers of digits, one for each open choice."""
    if len(text) != len(space.choices) or any(len(choice.values) > 10 for choice in space.choices):
        raise DataError(
            f"it has {len(text)} digits for the {len(space.choices)} open choices of space {space.name}, "
            "each of which may have up to 10 options",
            "keep the column as text so that zeros at its front stay, or give a column for each choice",
        )
    digits = iter(text)
    picks = [int(next(digits)) if len(choice.values) > 1 else 0 for choice in space.all_choices]
    for choice, pick in zip(space.all_choices, picks, strict=True):
        if pick >= len(choice.values):
            raise DataError(
                f"{choice.name} has no option {pick}",
                f"its options are {', '.join(f'{i} ({value})' for i, value in enumerate(choice.values))}",
            )
    return picks


def _difference(arch: Architecture, space: SearchSpace) -> str:
    """What to do about an architecture that is of another space."""
    other = [name for name, value in space.net.items() if getattr(arch, name) != value]
    told = ", ".join(f"{name} {getattr(arch, name)} and not {space.net[name]}" for name in other)
    way = f"it has {told}; give it by --resolution and --classes" if other else "search the space that it is of"
    return f"{way}, or leave the row out"


def canonical_by_runs(arch: Architecture) -> Architecture:
    """`canonical`, of many architectures with stages in common: those are worked out once."""
    stages: list[Stage] = []
    channels = arch.stem.channels
    for run in _runs(arch.stages):
        stages.extend(_canonical_run(run, arch.stem, channels))
        channels = run[-1].channels
    return attrs.evolve(arch, stages=tuple(stages))


def _runs(stages: Sequence[Stage]) -> Iterator[tuple[Stage, ...]]:
    """Stages cut where the next one cannot become one with the last: like layers have kernel and channels in common."""
    start = 0
    for i, (last, following) in enumerate(pairwise(stages), start=1):
        if following.stride > 1 or (last.kernel, last.channels) != (following.kernel, following.channels):
            yield tuple(stages[start:i])
            start = i
    yield tuple(stages[start:])


@lru_cache(maxsize=65_536)
def _canonical_run(stages: tuple[Stage, ...], stem: Stem, channels: int) -> tuple[Stage, ...]:
    return canonical(Architecture(attrs.evolve(stem, channels=channels), stages, PoolHead())).stages
