"""Made-up accuracies: equal networks have equal accuracies, seeds fix the landscape, and shares of the variance."""

from functools import cache

import numpy as np
import pytest
from made_up_accuracies import RUGGEDNESS, SPACES, SyntheticTask
from made_up_fronts import dominant

from nas.arch.canonical import canonical

SEED = 101


@cache
def made_up(of: str, limit: str, ruggedness: str) -> SyntheticTask:
    """Return a task, which is made only once."""
    return SyntheticTask(of, limit, SEED, ruggedness)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_equal_networks_have_equal_accuracies(space: tuple[str, str]) -> None:
    """Choice indices that make the same network have the accuracy of the network itself."""
    task = made_up(*space, "rugged")
    indices = task.space.sample(np.random.default_rng(0), 20)
    archs = [canonical(task.space.from_indices(row.tolist())) for row in indices]
    assert task.many(indices) == pytest.approx([task.truth(arch) for arch in archs], abs=1e-12)


def test_same_seed_makes_the_same_landscape() -> None:
    """Two tasks with one seed agree in every accuracy, and one with another seed does not."""
    first = made_up(*SPACES[0], "medium")
    again, other = (SyntheticTask(*SPACES[0], seed, "medium") for seed in (SEED, SEED + 1))
    indices = first.space.sample(np.random.default_rng(1), 50)
    assert np.array_equal(first.many(indices), again.many(indices))
    assert not np.isclose(first.many(indices), other.many(indices)).any()


@pytest.mark.parametrize("ruggedness", RUGGEDNESS)
def test_shares_of_the_variance_are_those_named(ruggedness: str) -> None:
    """Every part has its share of the variance on other random networks than those that it was scaled with."""
    task = made_up(*SPACES[1], ruggedness)
    assert sum(task.shares.values()) == pytest.approx(1)
    networks = task.inside(np.random.default_rng(2), 3000)
    whole = task.many(networks)
    # The error rate is 10% in the middle; the mean of a skewed accuracy is not its middle.
    assert np.median(whole) == pytest.approx(90, abs=0.8)
    first, forms = task.canonical(networks)
    for name, share in task.shares.items():
        _, spread = task.middle[name]
        part = np.sqrt(share) * task.part(name, first, forms) / spread
        # The standard error of a variance of 3,000 values is 2.6% for normal ones, and more for those with long tails.
        assert part.var() == pytest.approx(share, rel=0.15), name


def test_front_has_only_points_that_no_other_dominates() -> None:
    """Of points by cost and accuracy, those remain that are better than every cheaper one."""
    points = np.array([[2.0, 5.0], [1.0, 4.0], [2.0, 6.0], [3.0, 6.0], [4.0, 7.0], [5.0, 3.0]])
    assert dominant(points).tolist() == [[1.0, 4.0], [2.0, 6.0], [4.0, 7.0]]
