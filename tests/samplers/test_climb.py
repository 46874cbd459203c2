"""The local search for better candidates, with values that are made up."""

import numpy as np
import pytest

from nas.cost.analytic import COUNTED
from nas.samplers.candidates import (
    CLIMBING,
    MOST_LISTED,
    NEAREST,
    PATIENCE,
    ROUNDS,
    climb,
    make_candidates,
    make_similar,
)
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.encoding import Encoder, Floats
from nas.samplers.filtered import list_inside
from nas.space.files import find_space
from tests.search.fakes import cost_range_of, make_space

MNASNET = cost_range_of(find_space("mnasnet"), "flops=300M", "params=5M")
MACRO = cost_range_of(find_space("nasbench_macro"), "flops=80M", band=0.5)
TINY = cost_range_of(make_space(), "flops=1.2M", band=0.5)
BANDS = {"mnasnet": MNASNET, "tiny": TINY}
every_band = pytest.mark.parametrize("name", BANDS)


class Hills:
    """Values that are sums of one number for each option; assesses each network once."""

    def __init__(self, band: CostRange, flat: bool = False) -> None:
        most = max(len(choice.values) for choice in band.space.all_choices)
        effects = np.random.default_rng(1).normal(size=(len(band.space.all_choices), most))
        self.effects = 0 * effects if flat else effects
        self.encoder = Encoder(band.space, COUNTED)
        self.seen: set[bytes] = set()
        self.rounds: list[int] = []

    def values(self, indices: ChoiceIndices) -> Floats:
        return np.asarray(self.effects[np.arange(indices.shape[1]), indices].sum(axis=1))

    def assess(self, indices: ChoiceIndices) -> tuple[ChoiceIndices, Floats]:
        self.rounds.append(len(indices))
        new = []
        for i, row in enumerate(self.encoder.encode(indices).values):
            if row.tobytes() not in self.seen:
                self.seen.add(row.tobytes())
                new.append(i)
        return indices[new], self.values(indices[new])


def climbed(name: str, seed: int = 0, flat: bool = False) -> tuple[Hills, ChoiceIndices, ChoiceIndices, Floats]:
    """The values, the candidates at the start, and those after the search with their values."""
    band = BANDS[name]
    hills, rng = Hills(band, flat), np.random.default_rng(seed)
    start, values = hills.assess(make_candidates(band, band.space.sample(rng, 3), None, rng))
    hills.rounds.clear()
    return hills, start, *climb(start, values, lambda parents: make_similar(band, parents, None, rng), hills.assess)


@every_band
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_values_belong_to_their_candidates(name: str, seed: int) -> None:
    hills, start, found, values = climbed(name, seed)
    assert values.tolist() == hills.values(found).tolist()
    assert {row.tobytes() for row in start} <= {row.tobytes() for row in found}
    assert values.max() >= hills.values(start).max()


@pytest.mark.parametrize("seed", range(3))
def test_better_candidates_are_found_than_as_many_random_ones(seed: int) -> None:
    hills, start, found, values = climbed("mnasnet", seed)
    assert values.max() > hills.values(start).max()
    more = [make_candidates(MNASNET, found[:0], None, np.random.default_rng(100 + seed + i)) for i in range(40)]
    others = np.concatenate(more)
    assert len(others) > len(found)
    assert values.max() > hills.values(others).max()


@every_band
def test_all_are_inside_the_range_and_distinct_networks(name: str) -> None:
    hills, _, found, _ = climbed(name)
    assert (BANDS[name].excess(found) == 0).all()
    codes = hills.encoder.encode(found).values
    assert len({row.tobytes() for row in codes}) == len(found)


@every_band
def test_the_same_state_gives_the_same_candidates(name: str) -> None:
    first, second = climbed(name, 4), climbed(name, 4)
    assert first[2].tolist() == second[2].tolist()
    assert first[3].tolist() == second[3].tolist()
    assert first[0].rounds == second[0].rounds


def test_it_ends_after_some_rounds_without_a_better_one() -> None:
    assert len(climbed("mnasnet", flat=True)[0].rounds) == PATIENCE
    hills, *_ = climbed("mnasnet")
    assert len(hills.rounds) <= ROUNDS
    assert max(hills.rounds) <= CLIMBING


def test_without_candidates_there_is_nothing_to_climb() -> None:
    none = np.zeros((0, len(MNASNET.space.all_choices)), dtype=np.intp)
    hills = Hills(MNASNET)
    found, values = climb(none, np.zeros(0), lambda parents: parents, hills.assess)
    assert (len(found), len(values), hills.rounds) == (0, 0, [])


def test_candidates_that_cannot_improve_are_kept() -> None:
    """Where the best accuracy cannot be exceeded, every value is minus infinity."""
    rng = np.random.default_rng(0)
    start = make_candidates(MNASNET, MNASNET.space.sample(rng, 3), None, rng)

    def assess(some: ChoiceIndices) -> tuple[ChoiceIndices, Floats]:
        return some, np.full(len(some), -np.inf)

    found, values = climb(*assess(start), lambda parents: make_similar(MNASNET, parents, None, rng), assess)
    assert len(found) == len(values) >= len(start)


def test_in_a_listing_the_similar_networks_are_the_nearest_ones() -> None:
    listing = list_inside(MACRO)
    assert listing is not None
    assert len(listing) > MOST_LISTED
    parents = listing[[3, 700]]
    found = make_similar(MACRO, parents, listing, np.random.default_rng(0))
    assert {row.tobytes() for row in found} <= {row.tobytes() for row in listing}
    rows = {row.tobytes() for row in found}
    for parent in parents:
        distances = np.array([sum(a != b for a, b in zip(row, parent, strict=True)) for row in listing])
        # All that are nearer than the last of the nearest ones are found.
        nearer = listing[distances < np.sort(distances)[NEAREST - 1]]
        assert {row.tobytes() for row in nearer} <= rows
    assert len(found) <= 2 * NEAREST
    assert len(make_similar(MACRO, parents[:0], listing, np.random.default_rng(0))) == 0


def test_a_short_listing_has_no_more_candidates() -> None:
    listing = list_inside(TINY)
    assert listing is not None
    assert len(listing) <= MOST_LISTED
    assert len(make_similar(TINY, listing[:3], listing, np.random.default_rng(0))) == 0


def test_in_a_listing_the_local_search_walks_to_the_best_of_its_surroundings() -> None:
    listing = list_inside(MACRO)
    assert listing is not None
    hills, rng = Hills(MACRO), np.random.default_rng(0)
    start, values = hills.assess(listing[rng.permutation(len(listing))[:100]])
    found, values = climb(start, values, lambda parents: make_similar(MACRO, parents, listing, rng), hills.assess)
    every = hills.values(listing)
    assert values.max() >= np.quantile(every, 0.99)
    assert values.tolist() == hills.values(found).tolist()
