"""Candidates for the next architecture: random ones, and offspring of the best."""

import numpy as np

from nas.samplers.cost_range import CostRange, Picks

RANDOM = 600
OFFSPRING = 1200
MOST_LISTED = 1500
NEAREST = 30
CROSSED = 0.4
# Choices that a mutation changes on average.
CHANGES = (1, 2, 4)
FEW = 30
WALKS = 8


def make_candidates(cost_range: CostRange, parents: Picks, listing: Picks | None, rng: np.random.Generator) -> Picks:
    """Option numbers `(N, choices)` of distinct candidates inside the band.

    Args:
        cost_range: what is let in.
        parents: the best that are known.
        listing: all there is to choose from inside the band, where that can be listed.
        rng: decides.
    """
    if listing is not None:
        return _of_listing(listing, parents, rng)
    every = np.concatenate([cost_range.space.sample(rng, RANDOM), _offspring(cost_range, parents, rng)])
    excess = cost_range.excess(every)
    inside = every[excess == 0]
    if len(inside) < FEW:
        nearest = every[np.argsort(excess, kind="stable")][len(inside) :][:WALKS]
        walked = [cost_range.bring_in(picks, rng) for picks in nearest]
        inside = np.concatenate([inside, *(picks[None] for picks in walked if picks is not None)])
    return distinct(inside)


def distinct(picks: Picks) -> Picks:
    """Each row once, in the order of the first ones."""
    first = {row.tobytes(): i for i, row in reversed(list(enumerate(picks)))}
    return picks[sorted(first.values())]


def _of_listing(listing: Picks, parents: Picks, rng: np.random.Generator) -> Picks:
    """A random part of a long list, and what is nearest to each parent."""
    if len(listing) <= MOST_LISTED:
        return listing
    some = rng.choice(len(listing), MOST_LISTED // 2, replace=False)
    near = [np.argsort((listing != parent).sum(axis=1), kind="stable")[:NEAREST] for parent in parents]
    return np.asarray(listing[np.unique(np.concatenate([some, *near]))])


def _offspring(cost_range: CostRange, parents: Picks, rng: np.random.Generator) -> Picks:
    """Parents crossed with each other, some of their choices changed at random."""
    if not len(parents):
        return parents
    first, second = (parents[rng.integers(len(parents), size=OFFSPRING)] for _ in range(2))
    taken = (rng.random(OFFSPRING) < CROSSED)[:, None] & (rng.random(first.shape) < 0.5)
    rate = rng.choice(CHANGES, size=OFFSPRING) / first.shape[1]
    changed = rng.random(first.shape) < rate[:, None]
    return np.where(changed, cost_range.space.sample(rng, OFFSPRING), np.where(taken, second, first))
