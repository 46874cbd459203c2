"""The networks of a check: at random, as a search would meet them."""

from itertools import islice

import numpy as np

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.errors import SpaceError
from nas.search.band import Band, Picks
from nas.space.decode import SearchSpace

FEWEST = 5
DRAWS = 50  # times as many as asked for, before fewer are taken


def draw(
    space: SearchSpace, count: int, seed: int, band: Band | None = None, pool: Picks | None = None
) -> list[Architecture]:
    """Distinct networks of a space, of its band, or of a pool; fewer where there are no more.

    Args:
        space: that they belong to.
        count: how many.
        seed: of the draw.
        band: what they may cost; None for anything.
        pool: option numbers of those whose truth is known; None for all of the space.

    Raises:
        SpaceError: there are fewer than five.
    """
    rng = np.random.default_rng(seed)
    drawn = space.sample(rng, count * DRAWS) if pool is None else pool[rng.permutation(len(pool))]
    if band is not None:
        drawn = _inside(band, drawn, count, rng, may_move=pool is None)
    found: dict[Architecture, None] = {}
    for picks in drawn:
        found.setdefault(canonical(space.from_picks(picks.tolist())))
        if len(found) == count:
            break
    if len(found) < FEWEST:
        raise SpaceError(
            f"a check needs {FEWEST} networks, and {len(found)} were found",
            "give another --target or space, or a table that holds more of it",
        )
    return list(found)


def _inside(band: Band, drawn: Picks, count: int, rng: np.random.Generator, *, may_move: bool) -> Picks:
    """Those in the band, then others that were brought in, where the band is so narrow that these are too few."""
    inside: Picks = drawn[band.excess(drawn) == 0]
    if not may_move or len(inside) >= 2 * count:
        return inside
    walked = (band.bring_in(picks, rng) for picks in drawn)
    moved = islice((picks for picks in walked if picks is not None), 2 * count)
    both: Picks = np.array([*inside, *moved], dtype=np.intp).reshape(-1, drawn.shape[1])
    return both
