"""Evaluators that can score some architectures and no others: nothing else is proposed, and all of them are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, cost
from nas.cost.target import parse_target
from nas.errors import StudyError, TargetError
from nas.search.events import Event
from nas.search.plan import find_pool, plan
from nas.search.run import search
from nas.search.settings import Settings
from nas.space.files import find_space
from nas.studies.records import StudyView
from tests.search.fakes import FakeEvaluator, LimitedEvaluator, all_indices, make_space, outcome

MACRO = find_space("nasbench_macro")
MNASNET = find_space("mnasnet")


def some(count: int, seed: int = 0) -> tuple[Architecture, ...]:
    """Networks of nasbench_macro in canonical form, each once."""
    rows = all_indices(MACRO)[np.random.default_rng(seed).permutation(MACRO.size)]
    return tuple(dict.fromkeys(canonical(MACRO.from_indices(row)) for row in rows))[:count]


def asked(target: str = "flops=80M", **given: Any) -> Settings:
    return Settings([parse_target(target)], **{"trials": 200, "epochs": 1, "band": 0.8} | given)


def inside(archs: Sequence[Architecture], low: float = 64e6, high: float = 80e6) -> set[Architecture]:
    return {arch for arch in archs if low <= cost(arch).macs <= high}


def go(settings: Settings, archs: tuple[Architecture, ...], storage: str = "sqlite://", **rest: Any) -> StudyView:
    return search(MACRO, LimitedEvaluator(known=archs), settings, COUNTED, storage=storage, study_name="demo", **rest)


def test_the_pool_is_the_option_numbers_of_what_can_be_scored() -> None:
    archs = some(30)
    pool = find_pool(MACRO, LimitedEvaluator(known=archs))
    assert pool is not None
    assert [canonical(MACRO.from_indices(row.tolist())) for row in pool] == list(archs)
    assert find_pool(MACRO, FakeEvaluator()) is None


def test_networks_of_another_space_are_passed_over_and_none_at_all_is_told() -> None:
    own = some(3)
    others = tuple(canonical(MNASNET.from_indices(row)) for row in MNASNET.sample(np.random.default_rng(0), 3))
    pool = find_pool(MACRO, LimitedEvaluator(known=(*others, *own)))
    assert pool is not None
    assert [canonical(MACRO.from_indices(row.tolist())) for row in pool] == list(own)
    with pytest.raises(StudyError, match="space nasbench_macro contains none of the architectures"):
        find_pool(MACRO, LimitedEvaluator(known=others))


@pytest.mark.parametrize("sampler", ["surrogate", pytest.param("tpe", marks=pytest.mark.slow), "random"])
def test_a_search_scores_all_of_the_pool_that_is_in_the_band_and_ends(sampler: str) -> None:
    archs, events = some(150), list[Event]()
    expected = inside(archs)
    assert 10 < len(expected) < 120
    view = go(asked(sampler=sampler), archs, listen=events.append)
    assert {record.architecture for record in view.complete} == expected
    assert view.counted == len(view.records) == len(expected)
    assert events[-1].kind == "exhausted"


@pytest.mark.slow
def test_it_goes_on_in_the_same_pool(tmp_path: Path) -> None:
    archs, url = some(150), f"sqlite:///{tmp_path / 'nas.db'}"
    whole = go(asked(trials=16), archs)
    for trials in (3, 9, 16):
        view = go(asked(trials=trials), archs, url)
        assert outcome(view) == outcome(whole)[:trials]


@pytest.mark.slow
def test_under_pareto_all_up_to_the_limit_are_in() -> None:
    archs = some(60, 1)
    view = go(asked(objective="pareto"), archs)
    assert {record.architecture for record in view.complete} == inside(archs, 0)


def test_a_pool_without_any_in_the_band_is_told_before_anything_is_done(tmp_path: Path) -> None:
    archs = tuple(arch for arch in some(150) if arch not in inside([arch]))[:40]
    known = f"of the {len(archs)} that the evaluator can score, was found with flops from"
    with pytest.raises(TargetError, match=known):
        go(asked(), archs, f"sqlite:///{tmp_path / 'nas.db'}")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_pools_search_is_that_of_its_seed() -> None:
    archs = some(200)
    first, again, other = (go(asked(trials=10, seed=seed), archs) for seed in (1, 1, 2))
    assert outcome(first) == outcome(again)
    assert outcome(first) != outcome(other)


@pytest.mark.slow
def test_a_pool_of_all_is_searched_as_a_space_of_all_is() -> None:
    """The same networks are let in."""
    space = make_space()
    archs = tuple(dict.fromkeys(canonical(space.from_indices(row)) for row in all_indices(space)))
    settings = asked("flops=1M", trials=300)
    limited = search(space, LimitedEvaluator(known=archs), settings, COUNTED, storage="sqlite://")
    free = search(space, FakeEvaluator(), settings, COUNTED, storage="sqlite://")
    assert {record.arch for record in limited.complete} == {record.arch for record in free.complete}


def test_a_network_to_start_from_that_is_not_in_the_pool_is_not_scored() -> None:
    archs = some(80)
    start = next(arch for arch in some(400) if arch not in archs and arch in inside([arch]))
    planned = plan(MACRO, LimitedEvaluator(known=archs), asked(start_from=(start,)), COUNTED)
    assert len(planned.wanted) == 1
    proposal = planned.sampler().suggest(0)
    assert proposal is not None
    assert proposal.arch in archs
    inside_pool = attrs.evolve(asked(), start_from=(sorted(inside(archs), key=str)[3],))
    first = plan(MACRO, LimitedEvaluator(known=archs), inside_pool, COUNTED).sampler().suggest(0)
    assert first is not None
    assert first.arch == inside_pool.start_from[0]
