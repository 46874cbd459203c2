"""Candidates for the next architecture: random ones, and offspring of the best known."""

from collections.abc import Callable

import numpy as np

from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.encoding import Floats

RANDOM = 600
OFFSPRING = 1200
MOST_LISTED = 1500
NEAREST = 30
CROSSED = 0.4
# Average number of choices that a mutation changes.
CHANGES = (1, 2, 4)
FEW = 30
WALKS = 8
# Rounds of the local search that improves the best candidates; it ends earlier after `PATIENCE` rounds without a better
# one.
ROUNDS, PATIENCE = 8, 3
CLIMBERS, CLIMBING = 40, 400


def make_candidates(
    cost_range: CostRange, parents: ChoiceIndices, listing: ChoiceIndices | None, rng: np.random.Generator
) -> ChoiceIndices:
    """Return choice indices `(N, choices)` of distinct candidates inside the cost range.

    Args:
        cost_range: Costs that are accepted.
        parents: Choice indices of the best known architectures, `(P, choices)`.
        listing: Choice indices of all architectures inside the cost range, where they can be listed.
        rng: Source of random numbers.
    """
    if listing is not None:
        return _of_listing(listing, parents, rng)
    every = np.concatenate([cost_range.space.sample(rng, RANDOM), _offspring(cost_range, parents, rng)])
    excess = cost_range.excess(every)
    inside = every[excess == 0]
    if len(inside) < FEW:
        nearest = every[np.argsort(excess, kind="stable")][len(inside) :][:WALKS]
        walked = [cost_range.bring_in(indices, rng) for indices in nearest]
        inside = np.concatenate([inside, *(indices[None] for indices in walked if indices is not None)])
    return distinct(inside)


def climb(
    candidates: ChoiceIndices,
    values: Floats,
    vary: Callable[[ChoiceIndices], ChoiceIndices],
    assess: Callable[[ChoiceIndices], tuple[ChoiceIndices, Floats]],
) -> tuple[ChoiceIndices, Floats]:
    """Return candidates and their values, after a local search for better ones.

    Args:
        candidates: Choice indices to start from, `(N, choices)`.
        values: Their values, `(N,)`; larger is better.
        vary: Returns choice indices inside the cost range that are similar to given ones.
        assess: Returns those of some choice indices that are new, and their values.
    """
    best, since = -np.inf, 0
    for _ in range(ROUNDS):
        order = np.argsort(-values, kind="stable")
        candidates, values = candidates[order], values[order]
        since = 0 if len(values) and values[0] > best else since + 1
        if not len(values) or since == PATIENCE:
            break
        best = values[0]
        found, own = assess(vary(candidates[:CLIMBERS]))
        candidates, values = np.concatenate([candidates, found]), np.append(values, own)
    return candidates, values


def make_similar(
    cost_range: CostRange, parents: ChoiceIndices, listing: ChoiceIndices | None, rng: np.random.Generator
) -> ChoiceIndices:
    """Return choice indices `(N, choices)` of distinct networks inside the cost range that are similar to others.

    Args:
        cost_range: Costs that are accepted.
        parents: Choice indices of networks inside the cost range, `(P, choices)`.
        listing: Choice indices of all architectures inside the cost range, where they can be listed; then all of a
            short listing are candidates from the beginning, and no more are found.
        rng: Source of random numbers.
    """
    if listing is not None:
        return _nearest(listing, parents) if len(listing) > MOST_LISTED else listing[:0]
    offspring = _offspring(cost_range, parents, rng, CLIMBING)
    return distinct(offspring[cost_range.excess(offspring) == 0])


def random_networks(cost_range: CostRange, listing: ChoiceIndices | None, rng: np.random.Generator) -> ChoiceIndices:
    """Return choice indices of random architectures inside the cost range; there may be none.

    Args:
        cost_range: Costs that are accepted.
        listing: Choice indices of all architectures inside the cost range, where they can be listed.
        rng: Source of random numbers.
    """
    if listing is not None:
        return np.asarray(listing[rng.permutation(len(listing))])
    drawn = cost_range.space.sample(rng, RANDOM)
    return np.asarray(drawn[cost_range.excess(drawn) == 0])


def distinct(indices: ChoiceIndices) -> ChoiceIndices:
    """Return each row once, in the order of first occurrences."""
    first = {row.tobytes(): i for i, row in reversed(list(enumerate(indices)))}
    return indices[sorted(first.values())]


def _of_listing(listing: ChoiceIndices, parents: ChoiceIndices, rng: np.random.Generator) -> ChoiceIndices:
    """Return a random part of a long listing, and the architectures nearest to each parent."""
    if len(listing) <= MOST_LISTED:
        return listing
    some = rng.choice(len(listing), MOST_LISTED // 2, replace=False)
    return distinct(np.concatenate([listing[np.sort(some)], _nearest(listing, parents)]))


def _nearest(listing: ChoiceIndices, parents: ChoiceIndices) -> ChoiceIndices:
    """Return the architectures of a listing that are nearest to each parent."""
    # Small integers are sorted in linear time.
    distances = ((listing != parent).sum(axis=1, dtype=np.int16) for parent in parents)
    near = [np.argsort(distance, kind="stable")[:NEAREST] for distance in distances]
    return np.asarray(listing[np.unique(np.concatenate([np.zeros(0, dtype=np.intp), *near]))])


def _offspring(
    cost_range: CostRange, parents: ChoiceIndices, rng: np.random.Generator, count: int = OFFSPRING
) -> ChoiceIndices:
    """Return offspring of pairs of parents, with some of their choices changed at random."""
    if not len(parents):
        return parents
    first, second = (parents[rng.integers(len(parents), size=count)] for _ in range(2))
    taken = (rng.random(count) < CROSSED)[:, None] & (rng.random(first.shape) < 0.5)
    # Small and large steps: the mean number of changed choices is drawn for each offspring.
    rate = rng.choice(CHANGES, size=count) / first.shape[1]
    changed = rng.random(first.shape) < rate[:, None]
    return np.where(changed, cost_range.space.sample(rng, count), np.where(taken, second, first))
