"""Thinning of large groups of points: what is left out is close to something that is drawn."""

import numpy as np
import pytest

from nas.report.thinning import MOST, places_to_draw


@pytest.mark.parametrize("seed", range(20))
def test_extremes_and_what_is_stressed_are_drawn_once_and_in_their_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    most, last = 4 + seed, 20 * seed
    # Few distinct values, so that many points are in one place.
    x, y = rng.integers(0, 3 + seed, (2, last + 1)).tolist()
    found = places_to_draw(x, y, stressed=[last], most=most)
    assert found == sorted(set(found))
    assert last in found
    assert len(found) <= most + 5
    for values in (x, y):
        assert {min(values), max(values)} <= {values[place] for place in found}


def test_small_groups_are_drawn_whole() -> None:
    assert places_to_draw([1.0] * MOST, [2.0] * MOST) == list(range(MOST))


def test_of_a_large_cloud_each_point_is_near_one_that_is_drawn() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.random((10_000, 2))
    found = places_to_draw(cloud[:, 0].tolist(), cloud[:, 1].tolist())
    assert MOST / 3 < len(found) <= MOST + 4
    gaps = [np.hypot(*(cloud[found] - point).T).min() for point in cloud[:500]]
    # Random cells of a grid of 1,500 points of a unit square have diagonals of some 4% of its sides.
    assert max(gaps) < 0.06
