"""Random networks of a space, drawn as a search could suggest them."""

from itertools import islice

import numpy as np

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.space.decode import SearchSpace

STREAM = 1
DRAWS = 50  # random draws for each network that is asked for


def draw(
    space: SearchSpace, count: int, seed: int, cost_range: CostRange | None = None, pool: ChoiceIndices | None = None
) -> ChoiceIndices:
    """Return choice indices of distinct random networks; fewer than asked for where there are no more.

    Args:
        space: Space of the networks.
        count: Number of networks.
        seed: Seed of the draw.
        cost_range: Costs that are accepted; None accepts all.
        pool: Choice indices of all networks that may be drawn; None for the whole space.
    """
    rng = np.random.default_rng(seed)
    # A separate stream: an evaluator may have drawn its reference networks from the stream of the seed itself.
    drawn = (
        space.sample(np.random.default_rng([seed, STREAM]), count * DRAWS)
        if pool is None
        else pool[rng.permutation(len(pool))]
    )
    if cost_range is not None:
        drawn = _inside(cost_range, drawn, count, rng, may_move=pool is None)
    found: dict[Architecture, ChoiceIndices] = {}
    for indices in drawn:
        found.setdefault(canonical(space.from_indices(indices.tolist())), indices)
        if len(found) == count:
            break
    return np.array(list(found.values()), dtype=np.intp).reshape(len(found), drawn.shape[1])


def _inside(
    cost_range: CostRange, drawn: ChoiceIndices, count: int, rng: np.random.Generator, *, may_move: bool
) -> ChoiceIndices:
    """Return networks in the cost range; where it is too narrow for enough of them, others are walked into it."""
    inside: ChoiceIndices = drawn[cost_range.excess(drawn) == 0]
    if not may_move or len(inside) >= 2 * count:
        return inside
    walked = (cost_range.bring_in(indices, rng) for indices in drawn)
    moved = islice((indices for indices in walked if indices is not None), 2 * count)
    both: ChoiceIndices = np.array([*inside, *moved], dtype=np.intp).reshape(-1, drawn.shape[1])
    return both
