"""The fit of a network's own coefficients, with accuracies whose optimum is known."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import t as student

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.cost.base import Cost
from nas.errors import NasError, ScalingError
from nas.scaling.fit import Candidate, Fit, FitSettings, Fitted, candidates, distinct, fit, fit_settings, grid, judge
from nas.scaling.fit import pooled_noise as pooled
from nas.scaling.rules import PowerRule
from nas.search.job_study import open_job_study
from nas.search.session import open_session
from nas.workers.base import Here
from tests.scaling.trainings import BASE, LAYERS, PROXY, Broken, Hill, Memory, Shape, macs_of, rule_shape, shape_of
from tests.search.fake_trainings import Course, FakeEvaluators, rising

COARSE: dict[str, Any] = {"proxy_resolution": PROXY, "step": 0.1}
PAPER = (1.2, 1.1, 1.15)
TOPS = [(1.2, 1.1, 1.2), (1.0, 1.1, 1.3), (2.0, 1.0, 1.0)]


def costs_of(archs: Sequence[Architecture]) -> list[Cost]:
    return [MACS.estimate(arch) for arch in archs]


def run(course: Course, base: Architecture = BASE, memory: Memory | None = None, **given: Any) -> Fit:
    settings = FitSettings(**{**COARSE, **given})
    study = (memory or Memory(course)).study
    return fit(candidates(base, settings), settings, study, MACS, costs_of)


def shape(fitted: Fitted | None) -> Shape:
    assert fitted is not None
    return rule_shape(fitted.candidate.rule)


@pytest.mark.parametrize(("step", "tolerance"), [(5, 10), (10, 10), (20, 10), (25, 25), (40, 30), (5, 0), (7, 33)])
def test_the_grid_is_what_trying_all_of_them_gives(step: int, tolerance: int) -> None:
    ways = range(100, 301, step)  # in hundredths, so that nothing is rounded
    near = {
        (a, b, c) for a in ways for b in ways for c in ways if abs(a * b**2 * c**2 - 2 * 100**5) <= tolerance * 100**4
    }
    found = grid(tolerance / 100, step / 100)
    assert len(found) == len(near)
    assert {tuple(round(100 * value) for value in rule_shape(rule)) for rule in found} == near
    for rule in found:
        assert min(rule_shape(rule)) >= 1
        assert abs(rule.alpha * rule.beta**2 * rule.gamma**2 - 2) <= tolerance / 100 + 1e-9
        assert rule.name == ",".join(f"{value:g}" for value in rule_shape(rule))


def test_the_usual_grid_holds_the_papers_coefficients() -> None:
    assert PAPER in {rule_shape(rule) for rule in grid()}


@pytest.mark.parametrize(("tolerance", "step", "count"), [(0.0, 0.9, "0"), (0.9, 0.02, "[1-9][0-9]*,[0-9]{3}")])
def test_a_grid_of_nothing_or_of_too_much_is_refused(tolerance: float, step: float, count: str) -> None:
    with pytest.raises(ScalingError, match=rf"in steps of {step:g} has {count} coefficients") as told:
        grid(tolerance, step)
    assert "0.05 and 0.1" in told.value.remedy


@pytest.mark.parametrize(
    "wrong",
    [
        {"phi": 0.0},
        {"phi": -1.0},
        {"phi": 10.5},
        {"phi": math.nan},
        {"step": 0.001},
        {"step": math.nan},
        {"tolerance": -0.1},
        {"tolerance": 1.0},
        {"w": 0.1},
        {"w": math.nan},
    ],
)
def test_settings_without_a_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NasError):
        FitSettings(**wrong)


def test_every_coefficient_makes_its_network_and_gamma_its_images() -> None:
    found = candidates(BASE, FitSettings(**COARSE))
    assert len(found) == len(grid(0.1, 0.1))
    for one in found:
        assert shape_of(one.scaled.arch, one.resolution) == pytest.approx(rule_shape(one.rule))
        assert one.scaled.arch.resolution == round(100 * one.rule.gamma)
        job = one.job(5)
        assert (job.arch, job.resolution, job.seed) == (one.scaled.arch, one.resolution, 5)
        assert job.params == {"alpha": one.rule.alpha, "beta": one.rule.beta, "gamma": one.rule.gamma}


def test_at_phi_2_the_factors_are_squares() -> None:
    found = candidates(BASE, FitSettings(phi=2.0, **COARSE))
    for one in found:
        depth, _, _ = shape_of(one.scaled.arch, one.resolution)
        assert depth * LAYERS == math.ceil(round(LAYERS * one.rule.alpha**2, 6))
        assert one.resolution == math.floor(PROXY * one.rule.gamma**2 + 0.5)
        assert one.scaled.phi == 2
    done = run(Hill((1.2**2, 1.1**2, 1.2**2)), phi=2.0, w=0.0)
    assert shape(done.winner) == (1.2, 1.1, 1.2)
    for fitted in done.ranked:
        assert fitted.cost == MACS.estimate(fitted.candidate.scaled.arch).value
    scored = run(Hill((1.0, 1.0, 1.0)), phi=2.0)
    best = scored.ranked[0]
    assert best.score == pytest.approx(best.accuracy * (best.cost / (4 * macs_of())) ** -0.07)


def described(one: Candidate) -> tuple[Any, ...]:
    """What rounding made of it, spelt out."""
    arch = one.scaled.arch
    parts = [(stage.layers, stage.channels) for stage in arch.stages]
    return (arch.stem.channels, *parts, arch.head, one.resolution)


def test_coefficients_that_round_to_the_same_network_are_trained_once() -> None:
    base, settings = preset("mnasnet-small"), FitSettings(proxy_resolution=16, seeds=1)
    found = candidates(base, settings)
    groups = distinct(found)
    expected: dict[tuple[Any, ...], set[PowerRule]] = {}
    for one in found:
        expected.setdefault(described(one), set()).add(one.rule)
    assert len(found) > len(expected) > 10
    assert {frozenset(one.rule for one in group) for group in groups} == set(map(frozenset, expected.values()))
    memory = Memory(rising)
    done = run(rising, base, memory, proxy_resolution=16, step=0.05, seeds=1)
    assert len(memory.trained) == len(done.ranked) == len(expected)
    for fitted in done.ranked:
        together = expected[described(fitted.candidate)]
        assert {fitted.candidate.rule, *fitted.same} == together
        assert abs(fitted.candidate.rule.product - 2) == min(abs(rule.product - 2) for rule in together)


@pytest.mark.parametrize("top", TOPS)
def test_without_noise_it_finds_the_best_and_nothing_is_tied(top: Shape) -> None:
    done = run(Hill(top), w=0.0)
    assert shape(done.winner) == top
    assert done.winner is not None
    assert done.winner is done.ranked[0]
    assert done.winner.accuracy == pytest.approx(0.8)
    assert (done.noise, done.tie_costs, done.tied, done.failed) == (0.0, (), (done.winner,), ())


@pytest.mark.parametrize("top", TOPS)
def test_with_a_little_noise_it_finds_the_best_or_says_it_is_tied(top: Shape) -> None:
    known = 0
    for seed in range(0, 200, 10):
        done = run(Hill(top, noise=0.002), w=0.0, seed=seed, seeds=4)
        assert done.noise == pytest.approx(0.002, rel=0.6)
        known += top in map(shape, done.tied)
    assert known >= 18


def test_noise_above_all_differences_is_a_tie_and_the_cheapest_wins() -> None:
    done = run(Hill((1.2, 1.1, 1.2), noise=0.1, height=0.5), w=0.0, repeat=50)
    assert len(done.ranked) == len(grid(0.1, 0.1))
    assert len(done.tied) > 5
    cheapest = min(done.tied, key=lambda one: macs_of(*shape(one)))
    assert done.winner is cheapest
    assert [cost.value for cost in done.tie_costs] == pytest.approx([macs_of(*shape(one)) for one in done.tied])


def test_a_tie_is_broken_by_what_the_device_takes() -> None:
    asked: list[list[Architecture]] = []

    def costs(archs: Sequence[Architecture]) -> list[Cost]:
        asked.append(list(archs))
        return [Cost(1e9 / MACS.estimate(arch).value, "ms", "made up") for arch in archs]

    settings = FitSettings(**COARSE, w=0.0)
    memory = Memory(Hill((1.2, 1.1, 1.2), noise=0.1, height=0.5))
    done = fit(candidates(BASE, settings), settings, memory.study, MACS, costs)
    assert asked == [[one.candidate.scaled.arch for one in done.tied]]
    assert len(done.tied) > 1
    assert done.winner is max(done.tied, key=lambda one: macs_of(*shape(one)))


def test_nothing_is_measured_where_nothing_is_tied() -> None:
    def costs(_archs: Sequence[Architecture]) -> list[Cost]:
        raise AssertionError("measured")

    settings = FitSettings(**COARSE)
    fit(candidates(BASE, settings), settings, Memory(Hill(TOPS[0])).study, MACS, costs)


def test_the_best_few_get_all_seeds_and_the_others_one() -> None:
    memory = Memory(Hill((1.2, 1.1, 1.2), noise=0.01))
    done = run(memory.course, memory=memory, repeat=3, seeds=4, seed=7)
    first = {job.arch: memory.known[job.key].accuracy for job in memory.trained if job.seed == 7}
    assert len(first) == len(done.ranked)
    assert len(memory.trained) == len(first) + 3 * 3
    assert [len(one.accuracies) for one in done.ranked] == [4] * 3 + [1] * (len(first) - 3)
    assert {job.seed for job in memory.trained} == {7, 8, 9, 10}
    sizes = [job.resolution for job in memory.trained[: len(first)]]
    assert sizes == sorted(sizes)
    for part in (done.ranked[:3], done.ranked[3:]):
        assert [one.score for one in part] == sorted((one.score for one in part), reverse=True)
    once = {one.candidate.scaled.arch: one.factor * (first[one.candidate.scaled.arch] or 0) for one in done.ranked}
    repeated = [one.candidate.scaled.arch for one in done.ranked[:3]]
    assert set(repeated) == set(sorted(once, key=lambda arch: -once[arch])[:3])


def test_a_single_seed_claims_nothing() -> None:
    memory = Memory(Hill((1.2, 1.1, 1.2), noise=0.1, height=0.5))
    done = run(memory.course, memory=memory, seeds=1)
    assert len(memory.trained) == len(done.ranked)
    assert math.isnan(done.noise)
    assert math.isnan(done.ranked[0].spread)
    assert (done.tied, done.tie_costs, done.winner, done.open) == ((done.ranked[0],), (), None, ())


@pytest.mark.parametrize("w", [0.0, -0.07, -1.0])
def test_networks_are_ranked_by_accuracy_and_cost(w: float) -> None:
    done = run(Hill((1.2, 1.1, 1.2)), w=w)
    for one in done.ranked:
        away = sum(math.log(is_ / best) ** 2 for is_, best in zip(shape(one), (1.2, 1.1, 1.2), strict=True))
        assert one.cost == pytest.approx(macs_of(*shape(one)))
        assert one.accuracy == pytest.approx(0.8 - 0.5 * away)
        assert one.score == pytest.approx((0.8 - 0.5 * away) * (macs_of(*shape(one)) / (2 * macs_of())) ** w)


def test_networks_that_fail_are_listed_and_the_others_compared() -> None:
    lost = {(1.2, 1.1, 1.2), (2.0, 1.0, 1.0)}
    memory = Memory(Broken(Hill((1.2, 1.1, 1.2)), frozenset(lost), frozenset({0})))
    done = run(memory.course, memory=memory, w=0.0)
    assert set(map(shape, done.failed)) == lost
    assert {one.reason for one in done.failed} == {"made to fail\n  nothing to mend"}
    assert not lost & set(map(shape, done.ranked))
    assert len(done.ranked) + 2 == len(grid(0.1, 0.1))
    assert not [job for job in memory.trained if shape_of(job.arch, job.resolution) in lost and job.seed]


def test_the_best_that_failed_with_a_later_seed_cannot_win() -> None:
    top = (1.2, 1.1, 1.2)
    done = run(Broken(Hill(top), frozenset({top}), frozenset({2})), w=0.0)
    (hurt,) = (one for one in done.ranked if shape(one) == top)
    assert (len(hurt.accuracies), hurt.tied) == (2, False)
    assert "made to fail" in hurt.reason
    assert done.winner is not None
    assert done.winner.accuracy < hurt.accuracy
    assert len(done.winner.accuracies) == 3


def test_where_nothing_can_be_trained_it_says_why() -> None:
    with pytest.raises(ScalingError, match="no network of the grid could be trained") as told:
        run(Broken(rising, frozenset(), frozenset({0})))
    assert "made to fail" in told.value.remedy


def made(accuracies: Sequence[float], factor: float = 1.0, cost: float = 1.0) -> Fitted:
    candidate = candidates(BASE, FitSettings(**COARSE))[0]
    return Fitted(candidate, (), tuple(accuracies), cost, factor)


def test_noise_is_pooled_over_networks_of_unlike_numbers_of_seeds() -> None:
    rows = [([0.61, 0.63, 0.60], 0.9), ([0.5, 0.58], 1.1), ([0.7, 0.71, 0.69, 0.66], 1.0)]
    scores = [np.array(values) * factor for values, factor in rows]
    squares = sum(((row - row.mean()) ** 2).sum() for row in scores)
    expected = math.sqrt(squares / (sum(map(len, scores)) - len(scores)))
    single = made([0.4])
    assert pooled([*(made(values, factor) for values, factor in rows), single]) == pytest.approx(expected)
    assert pooled([made(rows[0][0], 0.9)]) == pytest.approx(np.std(scores[0], ddof=1))
    assert math.isnan(pooled([single]))
    assert math.isnan(pooled([]))


def judged(*behind: float) -> Fit:
    """The best of several networks, and others that are so many standard errors of a difference behind it.

    Each has a standard deviation of 0.01 over 4 seeds.
    """
    spread = 0.01 * math.sqrt(3) / 2 * np.array([1, 1, -1, -1])
    means = [0.7 - errors * 0.01 * math.sqrt(1 / 4 + 1 / 4) for errors in (0.0, *behind)]
    return judge([made((mean + spread).tolist(), cost=-mean) for mean in means], FitSettings(**COARSE), _costs_by_mean)


def test_a_tie_allows_for_the_number_of_networks() -> None:
    # A third of the 5% for each of three others, on two sides; Student's distribution with 4 * 3 degrees of freedom.
    edge = float(student.ppf(1 - 0.05 / 3 / 2, 12))
    done = judged(0.5, 0.99 * edge, 1.01 * edge)
    assert done.noise == pytest.approx(0.01)
    assert [one.tied for one in done.ranked] == [True, True, True, False]
    assert done.winner is done.ranked[2]


def test_the_best_is_clear_where_it_is_ahead_of_the_second_best_alone() -> None:
    edge = float(student.ppf(0.975, 9))
    assert judged(1.01 * edge, 1.02 * edge).tied == judged(1.01 * edge, 1.02 * edge).ranked[:1]
    assert len(judged(0.99 * edge, 1.02 * edge).tied) == 3


def _costs_by_mean(archs: Sequence[Architecture]) -> list[Cost]:
    return [Cost(float(len(archs) - i), "ms", "made up") for i in range(len(archs))]


def test_a_fit_in_a_study_is_the_same_and_goes_on() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    hill = Hill((1.2, 1.1, 1.2), noise=0.01)
    settings = FitSettings(proxy_resolution=PROXY, step=0.2)
    found = candidates(BASE, settings)
    kept = fit_settings(BASE, settings, ())
    with (
        open_session(Here()) as session,
        open_job_study("fit", kept, FakeEvaluators(hill), 1, session, storage="sqlite://") as opened,
    ):
        first = fit(found, settings, opened, MACS, costs_of)
        count = len(opened.study.trials)
        assert fit(found, settings, opened, MACS, costs_of) == first
        assert len(opened.study.trials) == count == len(found) + 2 * 5
    assert first == run(hill, step=0.2)


def test_what_a_study_keeps_is_json_and_lets_a_grid_be_refined() -> None:
    kept = fit_settings(BASE, FitSettings(**COARSE), ("stem", "head"))
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept
    assert kept == fit_settings(BASE, FitSettings(proxy_resolution=PROXY, step=0.05, seeds=9), ("head", "stem"))
    for other in ({"phi": 2.0}, {"proxy_resolution": 41}):
        assert kept != fit_settings(BASE, FitSettings(**{**COARSE, **other}), ("head", "stem"))
    assert kept != fit_settings(BASE, FitSettings(**COARSE), ())


def test_parts_that_stay_stay() -> None:
    for one in candidates(BASE, FitSettings(**COARSE), ["head"]):
        assert one.scaled.arch.head == BASE.head
