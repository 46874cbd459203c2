"""The networks of a check."""

import numpy as np
import pytest

from nas.arch.canonical import canonical
from nas.cost.analytic import MACS
from nas.cost.target import parse_target
from nas.errors import SpaceError
from nas.fidelity.draw import draw
from nas.objective import limits
from nas.search.band import Band, make_band
from nas.space.files import find_space

SPACE = find_space("mnasnet")
MACRO = find_space("nasbench_macro")


def band(text: str, share: float) -> Band:
    targets = [parse_target(text)]
    return make_band(SPACE, targets, limits(targets, band=share, objective="soft"))


def test_they_are_distinct_and_the_same_again() -> None:
    archs = draw(MACRO, 200, 3)
    assert len(set(archs)) == 200
    assert archs == [canonical(arch) for arch in archs] == draw(MACRO, 200, 3)
    assert set(archs) != set(draw(MACRO, 200, 4))


def test_more_of_them_begin_with_the_same_ones() -> None:
    assert draw(SPACE, 30, 0)[:10] == draw(SPACE, 10, 0)
    inside = band("flops=400M", 0.8)
    assert draw(SPACE, 20, 0, inside)[:5] == draw(SPACE, 5, 0, inside)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.999])
def test_all_lie_in_the_band_however_narrow(share: float) -> None:
    archs = draw(SPACE, 12, 0, band("flops=400M", share))
    assert len(archs) == 12
    assert all(share * 400e6 <= MACS.estimate(arch).value <= 400e6 for arch in archs)


def test_only_what_is_known_is_drawn() -> None:
    pool = MACRO.sample(np.random.default_rng(0), 9)
    archs = draw(MACRO, 100, 0, pool=pool)
    assert set(archs) == {canonical(MACRO.from_picks(picks.tolist())) for picks in pool}


def test_too_few_are_refused() -> None:
    pool = MACRO.sample(np.random.default_rng(0), 4)
    with pytest.raises(SpaceError, match="needs 5 networks, and 4"):
        draw(MACRO, 100, 0, pool=pool)
