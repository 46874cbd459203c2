"""Costs known part by part, of many architectures at once."""

from collections.abc import Callable, Sequence
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.arch.layers import Shape
from nas.arch.spec import Part
from nas.cost.base import Chain

Join = Callable[[float, float], float]
# A part's figures and the shape of its output, given its input's shape and the number of classes.
Share = Callable[[Part, Shape, int], tuple[tuple[float, ...], Shape]]
_UNKNOWN = -1


def chain_shares(chain: Chain, index: NDArray[np.intp], share: Share) -> NDArray[np.float64]:
    """Figures `(places, N, figures)` of the part that stands at each place; each is asked for once a chain."""
    known = chain.memo.setdefault(share, _Shares(chain, share))
    assert isinstance(known, _Shares)  # noqa: S101 -- nobody else writes there
    return known.of(index)


class _Shares:
    """What `share` says of a chain's parts behind every shape that was met: arrays, to be read by number."""

    def __init__(self, chain: Chain, share: Share) -> None:
        self.chain, self.share = chain, share
        self.shapes: dict[Shape, int] = {chain.shape: 0}
        self.figures = [np.zeros((1, len(options), 0)) for options in chain.options]
        self.after = [np.full((1, len(options)), _UNKNOWN) for options in chain.options]
        self.lock = Lock()

    def of(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        state = np.zeros(len(index), dtype=np.intp)
        places = []
        with self.lock:
            for place, column in enumerate(index.T):
                self._learn(place, state, column)
                places.append(self.figures[place][state, column])
                state = self.after[place][state, column]
        return _same_width(places)

    def _learn(self, place: int, state: NDArray[np.intp], column: NDArray[np.intp]) -> None:
        """Ask for what is not known yet, and for nothing twice."""
        self.after[place] = _longer(self.after[place], len(self.shapes), _UNKNOWN)
        new = self.after[place][state, column] == _UNKNOWN
        if not new.any():
            return
        pairs = sorted(set(zip(state[new].tolist(), column[new].tolist(), strict=True)))
        options, shapes = self.chain.options[place], list(self.shapes)
        found = [_share(self.share, options[option], shapes[before], self.chain.classes) for before, option in pairs]
        self._make_room(place, max(len(figures) for figures, _ in found))
        for (before, option), (figures, shape) in zip(pairs, found, strict=True):
            self.figures[place][before, option, : len(figures)] = figures
            self.after[place][before, option] = self.shapes.setdefault(shape, len(self.shapes))

    def _make_room(self, place: int, width: int) -> None:
        known = self.figures[place]
        wide = np.pad(known, ((0, 0), (0, 0), (0, max(0, width - known.shape[2]))))
        self.figures[place] = _longer(wide, len(self.shapes), 0.0)


def _longer(rows: NDArray[Any], count: int, value: float) -> NDArray[Any]:
    """At least so many rows, the new ones full of a value."""
    missing = max(0, count - len(rows))
    return np.pad(rows, ((0, missing), *((0, 0),) * (rows.ndim - 1)), constant_values=value) if missing else rows


def _share(share: Share, part: Part | None, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
    """A stage that is left out costs nothing and passes its input on."""
    return ((), shape) if part is None else share(part, shape, classes)


def _same_width(places: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    same = np.zeros((len(places), len(places[0]), max(place.shape[1] for place in places)))
    for row, place in zip(same, places, strict=True):
        row[:, : place.shape[1]] = place
    return same


def chain_span(chain: Chain, share: Share, join: Join) -> tuple[float, float]:
    """Smallest and largest cost, exactly: the best way to every shape, place after place.

    Args:
        chain: the architectures.
        share: a part's one figure.
        join: how two of them make one, `add` or `max`.
    """
    ends: dict[Shape, tuple[float, float]] = {chain.shape: (0.0, 0.0)}
    for options in chain.options:
        after: dict[Shape, tuple[float, float]] = {}
        for (shape, (low, high)), part in product(ends.items(), options):
            figures, out = _share(share, part, shape, chain.classes)
            value = figures[0] if figures else 0.0
            least, most = after.get(out, (float("inf"), float("-inf")))
            after[out] = (min(least, join(low, value)), max(most, join(high, value)))
        ends = after
    return min(low for low, _ in ends.values()), max(high for _, high in ends.values())
