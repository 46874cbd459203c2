"""The options that trials have for each choice of their search space, as the columns of a table."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.studies.records import Record

ABSENT = "absent"  # the option of an operator that leaves a stage out
OPERATOR = ".operator"
UNUSED = -1
Codes = NDArray[np.int16]


@frozen(eq=False)
class Column:
    """Hold the options of one choice over all trials.

    Attributes:
        choice: Name of the choice, for example "stage2.kernel".
        options: Texts of its options that any trial has, in their natural order.
        codes: Index of the option of each trial, `(trials,)`; `UNUSED` where the choice has no effect, because the
            stage of the trial is left out.
    """

    choice: str
    options: tuple[str, ...]
    codes: Codes = field(repr=False)

    @property
    def stage(self) -> str:
        """Return the part of the network that the choice belongs to."""
        return self.choice.partition(".")[0]

    @property
    def name(self) -> str:
        """Return what is chosen, without the stage."""
        return self.choice.partition(".")[2] or self.choice

    @property
    def conditional(self) -> bool:
        """Return whether the choice has no effect in some of the trials."""
        return bool((self.codes == UNUSED).any())


def columns(records: Sequence[Record]) -> tuple[Column, ...]:
    """Return the choices with at least two options among trials, in the order of the search space.

    Example:
        >>> trials = [
        ...     Record(i, "complete", "net", {}, params={"s1.kernel": kernel, "s1.operator": operator})
        ...     for i, (kernel, operator) in enumerate([(5, "conv"), (3, "conv"), (3, "absent")])
        ... ]
        >>> [(column.choice, column.options, column.codes.tolist()) for column in columns(trials)]
        [('s1.kernel', ('3', '5'), [1, 0, -1]), ('s1.operator', ('absent', 'conv'), [1, 1, 0])]
    """
    rows = [record.params for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    absent = {
        name.removesuffix(OPERATOR): np.array([row.get(name) == ABSENT for row in rows], dtype=bool)
        for name in names
        if name.endswith(OPERATOR)
    }
    found = (_column(name, rows, absent) for name in names)
    return tuple(column for column in found if len(column.options) > 1)


def _column(name: str, rows: Sequence[Mapping[str, Any]], absent: Mapping[str, NDArray[np.bool_]]) -> Column:
    values = [row.get(name) for row in rows]
    texts = {value: str(value) for value in dict.fromkeys(values) if value is not None}
    options = sorted(set(texts.values()), key=natural)
    index: dict[Any, int] = {value: options.index(text) for value, text in texts.items()} | {None: UNUSED}
    codes = np.array([index[value] for value in values], dtype=np.int16)
    left_out = absent.get(name.partition(".")[0])
    if left_out is not None and not name.endswith(OPERATOR):
        codes[left_out] = UNUSED
    used = sorted({*codes.tolist()} - {UNUSED})
    # Options that only trials without the stage have are no options.
    new = np.full(len(options) + 1, UNUSED, dtype=np.int16)
    new[used] = np.arange(len(used))
    return Column(name, tuple(options[code] for code in used), new[codes])


def natural(text: str) -> tuple[tuple[float, str], ...]:
    """Return a key that sorts texts by the numbers in them: -1, 3, 5, 10.

    Example:
        >>> sorted(["e10 k3", "e6 k5", "0.25", "-1"], key=natural)
        ['-1', '0.25', 'e6 k5', 'e10 k3']
    """
    if re.fullmatch(r"-\d+(?:\.\d+)?", text):
        return ((float(text), ""),)
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return tuple((float(part), "") if part[0].isdecimal() else (math.inf, part) for part in parts)


def with_params(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the trials whose options are known."""
    return tuple(record for record in records if record.params)
