"""Rules side by side, with trainings that are made up."""

import json
import math
from statistics import NormalDist

import numpy as np
import optuna
import pytest

from nas.scaling.compare import Compared, compare, comparison_settings
from nas.scaling.grow import Scaled, scale
from nas.scaling.rules import Factors, parse_rule
from nas.search.job_study import open_job_study
from nas.search.session import open_session
from nas.workers.base import Here
from tests.scaling.trainings import BASE, PROXY, Broken, Hill, Memory, Shape, shape_of
from tests.search.fake_trainings import Course, FakeEvaluators, final, rising

SELF = Scaled("base", "base", 0.0, Factors(1.0, 1.0, 1.0), BASE, BASE)
MEMBERS = [SELF, *(scale(BASE, parse_rule(rule), 1.0, name="flops=1M") for rule in ("depth", "width", "resolution"))]
SEEDS = (3, 4, 5)


def run(course: Course = rising, members: list[Scaled] = MEMBERS, memory: Memory | None = None) -> tuple[Compared, ...]:
    return compare(members, PROXY, SEEDS, (memory or Memory(course)).study)


def test_means_and_spreads_are_those_of_the_seeds() -> None:
    compared = run()
    assert [one.scaled for one in compared] == MEMBERS
    for one in compared:
        expected = [final(one.scaled.arch, one.resolution, seed) for seed in SEEDS]
        assert one.accuracies == pytest.approx(expected)
        assert one.accuracy == pytest.approx(np.mean(expected))
        assert one.spread == pytest.approx(np.std(expected, ddof=1))
        assert one.reason == ""


def test_a_rule_of_resolution_is_trained_on_larger_images() -> None:
    root = math.sqrt(2)
    sides = {
        "base": PROXY,
        "depth": PROXY,
        "width": PROXY,
        "resolution": math.floor(PROXY * round(100 * root) / 100 + 0.5),
    }
    assert {one.scaled.rule: one.resolution for one in run()} == sides
    memory = Memory(rising)
    run(memory=memory)
    assert {(job.arch, job.resolution) for job in memory.trained} == {(one.arch, sides[one.rule]) for one in MEMBERS}


def test_images_come_in_order_of_their_size_and_jobs_tell_what_was_realised() -> None:
    memory = Memory(rising)
    run(memory=memory)
    order = [(job.resolution, job.seed) for job in memory.trained]
    assert order == sorted(order)
    for job in memory.trained:
        shown: Shape = (job.params["depth"], job.params["width"], job.params["resolution"])
        depth, width, _ = shape_of(job.arch, job.resolution)
        assert shown == pytest.approx((depth, width, job.arch.resolution / BASE.resolution), rel=0.02)


def test_the_same_network_for_several_budgets_is_trained_once() -> None:
    again = [scale(BASE, parse_rule("depth"), 1.0, name="flops=2M"), scale(BASE, parse_rule("2,1,1"), 1.0)]
    memory = Memory(rising)
    compared = run(members=[*MEMBERS, *again], memory=memory)
    assert len(memory.trained) == len(MEMBERS) * len(SEEDS)
    deeper = [one for one in compared if one.scaled.arch == again[0].arch]
    assert [one.scaled.name for one in deeper] == ["flops=1M", "flops=2M", "phi=1"]
    assert len({one.accuracies for one in deeper}) == 1


def test_what_fails_is_left_out_of_the_mean_with_its_reason() -> None:
    deeper = (2.0, 1.0, 1.0)
    once = Broken(rising, frozenset({deeper}), frozenset({4}))
    by_rule = {one.scaled.rule: one for one in run(once)}
    arch = by_rule["depth"].scaled.arch
    assert by_rule["depth"].accuracies == pytest.approx([final(arch, PROXY, seed) for seed in (3, 5)])
    assert "made to fail" in by_rule["depth"].reason
    assert all(len(one.accuracies) == 3 and not one.reason for rule, one in by_rule.items() if rule != "depth")
    never = {one.scaled.rule: one for one in run(Broken(rising, frozenset({deeper}), frozenset(SEEDS)))}["depth"]
    assert (never.accuracies, never.accuracy, never.spread) == ((), None, None)


def test_a_single_seed_has_no_spread() -> None:
    (one,) = compare([SELF], PROXY, (3,), Memory(rising).study)
    assert one.accuracy == pytest.approx(final(BASE, PROXY, 3))
    assert one.spread is None


def test_spreads_are_those_of_the_noise() -> None:
    seeds = range(200)
    (one,) = compare([SELF], PROXY, seeds, Memory(Hill((1.0, 1.0, 1.0), noise=0.01, height=0.5)).study)
    far = NormalDist().inv_cdf(0.9999)  # of the mean of 200, and of their deviation
    assert one.accuracy == pytest.approx(0.5, abs=far * 0.01 / math.sqrt(200))
    assert one.spread == pytest.approx(0.01, rel=far / math.sqrt(2 * 199))


def test_a_comparison_in_a_study_is_the_same_and_takes_more_seeds() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kept = comparison_settings(BASE, PROXY, ("stem", "head"))
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept
    assert kept == comparison_settings(BASE, PROXY, ("head", "stem")) != comparison_settings(BASE, PROXY, ())
    with (
        open_session(Here()) as session,
        open_job_study("compare", kept, FakeEvaluators(), 1, session, storage="sqlite://") as opened,
    ):
        compare(MEMBERS, PROXY, SEEDS[:1], opened)
        assert len(opened.study.trials) == len(MEMBERS)
        assert compare(MEMBERS, PROXY, SEEDS, opened) == run()
        assert len(opened.study.trials) == len(MEMBERS) * len(SEEDS)
