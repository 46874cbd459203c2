"""Random networks of a space, of a band, of a pool."""

import numpy as np
import pytest

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.cost.target import parse_target
from nas.evaluate.zero_cost.evaluator import ZeroCostEvaluator
from nas.objective import limits
from nas.samplers.cost_range import CostRange, make_cost_range
from nas.samplers.random_networks import draw
from nas.space.decode import SearchSpace
from nas.space.files import find_space

SPACE = find_space("mnasnet")
MACRO = find_space("nasbench_macro")


def band(text: str, share: float) -> CostRange:
    targets = [parse_target(text)]
    return make_cost_range(SPACE, targets, limits(targets, band=share, objective="soft"))


def networks(space: SearchSpace, count: int, seed: int, inside: CostRange | None = None) -> list[Architecture]:
    return [space.from_indices(indices.tolist()) for indices in draw(space, count, seed, inside)]


def test_they_are_distinct_and_the_same_again() -> None:
    archs = networks(MACRO, 200, 3)
    assert len(set(map(canonical, archs))) == 200
    assert archs == networks(MACRO, 200, 3)
    assert set(archs) != set(networks(MACRO, 200, 4))


def test_they_are_not_those_that_a_score_without_training_is_compared_with() -> None:
    references = ZeroCostEvaluator("macs", SPACE, seed=3).references
    assert not set(references) & {canonical(arch) for arch in networks(SPACE, 64, 3)}


def test_more_of_them_begin_with_the_same_ones() -> None:
    assert networks(SPACE, 30, 0)[:10] == networks(SPACE, 10, 0)
    inside = band("flops=400M", 0.8)
    assert networks(SPACE, 20, 0, inside)[:5] == networks(SPACE, 5, 0, inside)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.999])
def test_all_lie_in_the_band_however_narrow(share: float) -> None:
    archs = networks(SPACE, 12, 0, band("flops=400M", share))
    assert len(archs) == 12
    assert all(share * 400e6 <= MACS.estimate(arch).value <= 400e6 for arch in archs)


def test_only_what_is_known_is_drawn() -> None:
    pool = MACRO.sample(np.random.default_rng(0), 9)
    drawn = draw(MACRO, 100, 0, pool=pool)
    assert {row.tobytes() for row in drawn} <= {row.tobytes() for row in pool}
    assert len(drawn) == len({canonical(MACRO.from_indices(indices.tolist())) for indices in pool})


def test_there_may_be_none() -> None:
    outside = MACRO.sample(np.random.default_rng(0), 9)
    targets = [parse_target("flops=1G")]
    costly = CostRange(MACRO, tuple(targets), limits(targets, band=0.9, objective="soft"))
    assert draw(MACRO, 100, 0, costly, outside).shape == (0, 8)
