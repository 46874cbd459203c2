"""Costs known part by part, of many architectures at once."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas.arch.layers import Shape
from nas.arch.spec import Part
from nas.cost.base import Chain

Join = Callable[[float, float], float]
# A part's figures and the shape of its output, given its input's shape and the number of classes.
Share = Callable[[Part, Shape, int], tuple[tuple[float, ...], Shape]]


def chain_shares(chain: Chain, index: NDArray[np.intp], share: Share) -> NDArray[np.float64]:
    """Figures `(places, N, figures)` of the part that stands at each place; equal parts are looked up once."""
    shapes: dict[Shape, int] = {chain.shape: 0}
    state = np.zeros(len(index), dtype=np.int64)
    places = []
    for options, column in zip(chain.options, index.T, strict=True):
        pairs, where = np.unique(state * len(options) + column, return_inverse=True)
        known = list(shapes)
        found = [
            _share(share, options[pair % len(options)], known[pair // len(options)], chain.classes) for pair in pairs
        ]
        state = np.array([shapes.setdefault(shape, len(shapes)) for _, shape in found], dtype=np.int64)[where]
        places.append(_rows([figures for figures, _ in found])[where])
    return _same_width(places)


def _share(share: Share, part: Part | None, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
    """A stage that is left out costs nothing and passes its input on."""
    return ((), shape) if part is None else share(part, shape, classes)


def _rows(figures: Sequence[tuple[float, ...]]) -> NDArray[np.float64]:
    width = max(map(len, figures), default=0)
    return np.array([row or (0.0,) * width for row in figures], dtype=np.float64).reshape(len(figures), width)


def _same_width(places: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    width = max(place.shape[1] for place in places)
    return np.stack([np.pad(place, ((0, 0), (0, width - place.shape[1]))) for place in places])


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
