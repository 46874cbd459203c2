"""Costs of many architectures at once, from figures of their parts.

A sampler asks for the costs of thousands of random architectures of one space. Each part is evaluated once for each
shape that its input can have, and the rest is array look-ups.
"""

from collections.abc import Callable, Sequence
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.arch.layers import Shape, resized
from nas.arch.spec import Input, Part
from nas.cost.base import Chain

Combine = Callable[[float, float], float]
# Takes a part, its input shape and the number of classes; returns the figures and the output shape of the part.
PartFunction = Callable[[Part, Shape, int], tuple[tuple[float, ...], Shape]]
_UNKNOWN = -1


def chain_figures(chain: Chain, index: NDArray[np.intp], function: PartFunction) -> NDArray[np.float64]:
    """Return the figures `(places, N, figures)` of the part at each place of each architecture.

    Args:
        chain: The set of architectures.
        index: Options `(N, places)` that each architecture has.
        function: Gives the figures of one part; it is called once for each part and input shape in the life of the
            chain.
    """
    table = chain.memo.setdefault(function, _PartTable(chain, function))
    assert isinstance(table, _PartTable)  # noqa: S101 -- only this function writes under keys that are functions
    return table.look_up(index)


class _PartTable:
    """Store the figures of all parts of a chain that were needed so far.

    Shapes are numbered in the order in which they occur. For each place, `figures[shape, option]` are the figures of
    the option behind this input shape, and `next_shape[shape, option]` is the number of its output shape.
    """

    def __init__(self, chain: Chain, function: PartFunction) -> None:
        self.chain, self.function = chain, function
        self.shapes: dict[Shape, int] = {chain.shape: 0}
        self.figures = [np.zeros((1, len(options), 0)) for options in chain.options]
        self.next_shape = [np.full((1, len(options)), _UNKNOWN) for options in chain.options]
        self.lock = Lock()  # A table grows in place, and several threads may use one chain.

    def look_up(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Follow all architectures through the places, from the input shape to the head."""
        shape = np.zeros(len(index), dtype=np.intp)
        places = []
        with self.lock:
            for place, column in enumerate(index.T):
                self._add_missing(place, shape, column)
                places.append(self.figures[place][shape, column])
                shape = self.next_shape[place][shape, column]
        return _stack(places)

    def _add_missing(self, place: int, shape_numbers: NDArray[np.intp], column: NDArray[np.intp]) -> None:
        """Evaluate the combinations of input shape and option that are not in the table yet."""
        self.next_shape[place] = _with_rows(self.next_shape[place], len(self.shapes), _UNKNOWN)
        new = self.next_shape[place][shape_numbers, column] == _UNKNOWN
        if not new.any():
            return
        # Each combination once, in a fixed order, so that shapes get the same numbers in every run.
        pairs = sorted(set(zip(shape_numbers[new].tolist(), column[new].tolist(), strict=True)))
        options, shapes = self.chain.options[place], list(self.shapes)
        computed = [
            _evaluate(self.function, options[option], shapes[before], self.chain.classes) for before, option in pairs
        ]
        self._grow(place, max(len(figures) for figures, _ in computed))
        for (before, option), (figures, shape) in zip(pairs, computed, strict=True):
            self.figures[place][before, option, : len(figures)] = figures
            self.next_shape[place][before, option] = self.shapes.setdefault(shape, len(self.shapes))

    def _grow(self, place: int, width: int) -> None:
        """Extend the figures of a place to the current number of shapes and to `width` figures."""
        table = self.figures[place]
        wide = np.pad(table, ((0, 0), (0, 0), (0, max(0, width - table.shape[2]))))
        self.figures[place] = _with_rows(wide, len(self.shapes), 0.0)


def _with_rows(rows: NDArray[Any], count: int, value: float) -> NDArray[Any]:
    """Return an array with at least `count` rows; new rows are filled with `value`."""
    missing = max(0, count - len(rows))
    return np.pad(rows, ((0, missing), *((0, 0),) * (rows.ndim - 1)), constant_values=value) if missing else rows


def _evaluate(
    function: PartFunction, part: Part | Input | None, shape: Shape, classes: int
) -> tuple[tuple[float, ...], Shape]:
    """Evaluate a part; an input and a stage that is left out have no figures."""
    return ((), resized(shape, part)) if isinstance(part, Input | None) else function(part, shape, classes)


def _stack(places: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Stack the figures of all places; a place with fewer figures, such as one without parts, is padded with zeros."""
    stacked = np.zeros((len(places), len(places[0]), max(place.shape[1] for place in places)))
    for row, place in zip(stacked, places, strict=True):
        row[:, : place.shape[1]] = place
    return stacked


def chain_range(chain: Chain, function: PartFunction, combine: Combine) -> tuple[float, float]:
    """Return the smallest and the largest cost of all architectures of a chain.

    This is exact although the architectures are not enumerated: costs of parts depend on earlier parts only through
    the input shape, and `combine` never decreases in either argument. Dynamic programming over the places therefore
    needs only the smallest and the largest cost of all partial networks that end in each shape.

    Args:
        chain: The set of architectures.
        function: Gives one figure of a part.
        combine: Combines the figures of two parts: `add` or `max`.
    """
    ranges: dict[Shape, tuple[float, float]] = {chain.shape: (0.0, 0.0)}
    for options in chain.options:
        extended: dict[Shape, tuple[float, float]] = {}
        for (shape, (low, high)), part in product(ranges.items(), options):
            figures, out = _evaluate(function, part, shape, chain.classes)
            value = figures[0] if figures else 0.0
            least, most = extended.get(out, (float("inf"), float("-inf")))
            extended[out] = (min(least, combine(low, value)), max(most, combine(high, value)))
        ranges = extended
    return min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
