"""Thinning of large groups of points: of points that lie close together, a figure draws one.

A browser takes some 0.2 ms to draw a point of an SVG figure, in which it answers nothing else, so that 10,000 points
would block a page for seconds.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MOST = 1_500  # points of a group
# Columns and rows of the finest grid; a point is some 6 of 1,000 pixels wide.
COLUMNS, ROWS = 400, 250
_FINER = 2**0.5  # fewer columns and rows by this factor are half as many cells

Floats = NDArray[np.float64]


def places_to_draw(
    x: Sequence[float], y: Sequence[float], stressed: Collection[int] = (), most: int = MOST
) -> list[int]:
    """Return the places of the points to draw, in their order: all if there are at most `most`.

    Of larger groups, one point of each cell of a grid is drawn. The grid is the finest that leaves at
    most `most` points, and each next one has half as many cells. The points with the lowest and highest values are
    drawn in any case, so that the figure keeps its extent.

    Args:
        x: Horizontal positions, all finite.
        y: Vertical positions, all finite.
        stressed: Places of points that are drawn in any case, beside those of the grid.
        most: Number of points of the grid.

    Example:
        >>> len(places_to_draw([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 1.0, 2.0], most=3))
        3
    """
    if len(x) <= most:
        return list(range(len(x)))
    columns, rows = _shares(x), _shares(y)
    extremes = {int(end) for values in (columns, rows) for end in (values.argmin(), values.argmax())}
    return sorted({*_of_grid(columns, rows, most), *extremes, *stressed})


def _shares(values: Sequence[float]) -> Floats:
    """Return positions as shares of their span."""
    given = np.asarray(values, dtype=np.float64)
    lowest, highest = given.min(), given.max()
    return np.asarray((given - lowest) / ((highest - lowest) or 1.0))


def _of_grid(columns: Floats, rows: Floats, most: int) -> Iterable[int]:
    # The first point of each cell would be at its left edge where trials are sorted by an axis: stripes would result.
    order = np.random.default_rng(0).permutation(len(columns))
    columns, rows = columns[order], rows[order]
    wide, high = float(COLUMNS), float(ROWS)
    while True:
        cells = np.floor(columns * wide) * (ROWS + 2) + np.floor(rows * high)
        _, first = np.unique(cells, return_index=True)
        if len(first) <= most:
            return [int(place) for place in order[first]]
        wide, high = wide / _FINER, high / _FINER
