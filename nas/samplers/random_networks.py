"""Random networks, as a search would meet them."""

from itertools import islice

import numpy as np

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.samplers.cost_range import CostRange, Picks
from nas.space.decode import SearchSpace

STREAM = 1
DRAWS = 50  # times as many as asked for, before fewer are taken


def draw(
    space: SearchSpace, count: int, seed: int, cost_range: CostRange | None = None, pool: Picks | None = None
) -> Picks:
    """Option numbers of distinct networks of a space, of its band, or of a pool; fewer where there are no more.

    Args:
        space: that they belong to.
        count: how many.
        seed: of the draw.
        cost_range: what they may cost; None for anything.
        pool: option numbers of all that may be drawn; None for the whole space.
    """
    rng = np.random.default_rng(seed)
    # Not the stream of the seed itself: from that an evaluator may have drawn networks to compare others with.
    drawn = (
        space.sample(np.random.default_rng([seed, STREAM]), count * DRAWS)
        if pool is None
        else pool[rng.permutation(len(pool))]
    )
    if cost_range is not None:
        drawn = _inside(cost_range, drawn, count, rng, may_move=pool is None)
    found: dict[Architecture, Picks] = {}
    for picks in drawn:
        found.setdefault(canonical(space.from_picks(picks.tolist())), picks)
        if len(found) == count:
            break
    return np.array(list(found.values()), dtype=np.intp).reshape(len(found), drawn.shape[1])


def _inside(cost_range: CostRange, drawn: Picks, count: int, rng: np.random.Generator, *, may_move: bool) -> Picks:
    """Those in the band, then others that were brought in, where the band is so narrow that these are too few."""
    inside: Picks = drawn[cost_range.excess(drawn) == 0]
    if not may_move or len(inside) >= 2 * count:
        return inside
    walked = (cost_range.bring_in(picks, rng) for picks in drawn)
    moved = islice((picks for picks in walked if picks is not None), 2 * count)
    both: Picks = np.array([*inside, *moved], dtype=np.intp).reshape(-1, drawn.shape[1])
    return both
