"""Closing the loop: the best are measured once more, and what misses its target is passed over."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import optuna
import pytest
from attrs import define, field

from nas.arch.canonical import canonical
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, PARAMS
from nas.cost.base import ChainCostModel, Cost, Target
from nas.cost.target import parse_target
from nas.errors import DeviceError, StudyError
from nas.search.baseline import on_task
from nas.search.events import Event
from nas.search.plan import plan
from nas.search.run import run, search
from nas.search.settings import Settings
from nas.search.verification import MOST, WANTED, describe_miss
from nas.space.decode import SearchSpace
from nas.studies.comparison import against_source
from nas.studies.opening import open_storage
from nas.studies.records import Record, StudyView, find_trial
from nas.studies.study import read_study
from tests.search.fakes import TINY, FakeEvaluator, MadeUpLatency, make_space, outcome

SPACE = make_space()
WITH_BASELINE = make_space(f"{TINY}baselines: [mobilenetv2]\n")
MEMORY = "sqlite://"
LIMIT_MS = 1.2
ALL_MEET, NONE_MEETS = 0.9, 2.5
MODEL = MadeUpLatency()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'nas.db'}"


def always(factor: float) -> Callable[[Architecture], float]:
    return lambda _arch: factor


def all_meet(_arch: Architecture) -> float:
    return ALL_MEET


@define(eq=False)
class FakeJudge:
    """Says the model's cost times a factor; remembers what it was asked for, batch by batch."""

    factor: Callable[[Architecture], float] = all_meet
    model: ChainCostModel = MODEL
    fails: BaseException | None = None
    asked: list[tuple[Architecture, ...]] = field(factory=list)

    def together(self, archs: Sequence[Architecture]) -> list[Cost]:
        if self.fails is not None:
            raise self.fails
        self.asked.append(tuple(archs))
        costs = [self.model.estimate(arch) for arch in archs]
        return [
            attrs.evolve(cost, value=cost.value * self.factor(arch), spread=0.01)
            for arch, cost in zip(archs, costs, strict=True)
        ]

    @property
    def count(self) -> int:
        return sum(map(len, self.asked))


def latency(judge: FakeJudge | None, limit: float = LIMIT_MS) -> Target:
    text = f"latency={limit}ms on made-up"
    basis = {"by": "formula"}
    return Target("latency", "latency_ms", MODEL, limit, text, "ms", basis, judge)


def go(*targets: Target, storage: str = MEMORY, space: SearchSpace = SPACE, **given: Any) -> StudyView:
    listen = given.pop("listen", lambda _event: None)
    rest: dict[str, Any] = {"trials": 12, "band": 0.5, "sampler": "random", "pruner": "none", "epochs": 2} | given
    settings = Settings(targets, **rest)
    return search(space, FakeEvaluator(), settings, COUNTED, storage=storage, study_name="demo", listen=listen)


def slow_ones(records: Sequence[Record]) -> Callable[[Architecture], float]:
    """These miss, all others meet."""
    slow = {record.architecture for record in records}
    return lambda arch: NONE_MEETS if arch in slow else ALL_MEET


def test_misses_are_marked_and_the_best_is_the_best_that_meets() -> None:
    ranked = go(latency(None)).ranked
    view = go(latency(FakeJudge(slow_ones([ranked[0], ranked[1], ranked[3]]))))
    assert [record.arch for record in view.ranked] == [record.arch for record in ranked]
    assert [view.meets(record) for record in view.ranked[:9]] == [False, False, True, False, *[True] * 4, None]
    assert view.best == view.ranked[2]
    assert find_trial(view, "best") == view.best
    assert view.measured_count == len(view.measurements) == 8


def test_a_verdict_is_what_was_predicted_and_what_was_measured() -> None:
    view = go(latency(FakeJudge(always(0.75))))
    assert view.measurements
    for number, verdict in view.measurements.items():
        predicted = view.records[number].costs["latency_ms"]
        assert (verdict.cost, verdict.target, verdict.predicted) == ("latency_ms", LIMIT_MS, predicted)
        assert verdict.measured == pytest.approx(0.75 * predicted)
        assert verdict.spread == 0.01
        assert verdict.meets == (verdict.measured <= LIMIT_MS)


def test_exactly_the_target_meets_it() -> None:
    arch = go(latency(None)).ranked[0].architecture
    limit = MODEL.estimate(arch).value
    view = go(latency(FakeJudge(always(1.0)), limit))
    verdicts = [v for v in view.measurements.values() if v.measured == limit]
    assert verdicts
    assert all(verdict.meets for verdict in verdicts)


class Refusing(MadeUpLatency):
    """A device that cannot run the network of the source."""

    def estimate(self, arch: Architecture) -> Cost:
        is_refused = canonical(arch) == canonical(on_task(preset("mobilenetv2"), SPACE))
        return Cost(math.inf, "ms", "refused", math.nan) if is_refused else super().estimate(arch)


def test_a_source_that_the_device_refuses_has_no_cost_and_no_score() -> None:
    target = attrs.evolve(latency(None), cost=Refusing())
    settings = Settings([target], trials=4, band=0.1)
    planned = plan(SPACE, FakeEvaluator(), settings, COUNTED, "demo", source=("source", preset("mobilenetv2")))
    view = run(planned, storage=MEMORY)
    assert view.source is not None
    assert view.best is not None
    assert "latency_ms" not in view.source.costs
    assert view.source.score is None
    assert view.source.accuracy is not None
    assert against_source(view, view.best) is None


def test_where_none_meets_there_is_no_best_and_that_is_said() -> None:
    judge = FakeJudge(always(NONE_MEETS))
    view = go(latency(judge), trials=MOST + 5)
    assert view.best is None
    assert judge.count == len(view.measurements) == view.measured_count == MOST
    with pytest.raises(
        StudyError, match=f"demo has no best: none of the {MOST} networks that were measured on the device meets"
    ) as told:
        find_trial(view, "best")
    assert "trial=NUMBER" in told.value.remedy
    assert find_trial(view, "trial=3") == view.records[3]
    assert find_trial(view, "pareto=1") == view.front[0]


def test_a_missed_target_is_described_with_the_closest_network() -> None:
    view = go(latency(FakeJudge(always(NONE_MEETS))), trials=6)
    closest = min(view.measurements.values(), key=lambda measurement: measurement.measured)
    described = describe_miss(view)
    assert "none of the 6 networks that were measured on the device meets the target" in described
    assert f"takes {closest.measured:.4g} ms (± 0.01) instead of 1.2 ms" in described
    assert "Measured costs are 2.50 times the predicted ones" in described


def test_nothing_is_missed_where_one_meets_or_nothing_was_measured() -> None:
    ranked = go(latency(None)).ranked
    assert describe_miss(go(latency(None))) == ""
    assert describe_miss(go(latency(FakeJudge(slow_ones(ranked[1:]))))) == ""


def test_the_recommended_network_is_stored_with_its_reason(url: str) -> None:
    ranked = go(latency(None)).ranked
    view = go(latency(FakeJudge(slow_ones(ranked[:2]))), storage=url)
    kept = optuna.load_study(storage=url, study_name="demo")
    assert view.best == view.ranked[2]
    assert kept.user_attrs["recommended_trial"] == view.ranked[2].number != kept.best_trial.number
    assert kept.user_attrs["recommended_architecture"] == view.ranked[2].arch
    assert kept.user_attrs["recommended_accuracy"] == view.ranked[2].accuracy
    assert "of the trials that met the target on the device" in kept.user_attrs["recommended_reason"]
    assert kept.metric_names == ["score"]
    missed = go(latency(FakeJudge(always(NONE_MEETS))), storage=f"{url}2")
    kept = optuna.load_study(storage=f"{url}2", study_name="demo")
    assert (missed.best, kept.user_attrs["recommended_trial"]) == (None, None)
    assert "none of the" in kept.user_attrs["recommended_reason"]
    assert kept.user_attrs["recommended_reason"] == missed.recommendation.reason


def test_what_another_program_stores_as_recommended_changes_no_view(url: str) -> None:
    view = go(latency(FakeJudge()), storage=url)
    study = optuna.load_study(storage=url, study_name="demo")
    for other in (view.ranked[-1].number, 999, "x", None):
        study.set_user_attr("recommended_trial", other)
        again = read_study(open_storage(url), "demo")
        assert again.best == find_trial(again, "best") == view.best


def test_measuring_stops_when_enough_meet() -> None:
    judge = FakeJudge()
    view = go(latency(judge), trials=20)
    assert judge.asked == [tuple(record.architecture for record in view.ranked[:WANTED])]
    assert view.best == view.ranked[0]


def test_a_few_trials_are_all_measured() -> None:
    for factor in (ALL_MEET, NONE_MEETS):
        judge = FakeJudge(always(factor))
        view = go(latency(judge), trials=3)
        assert set(view.measurements) == {0, 1, 2}
        assert len(judge.asked) == 1


@pytest.mark.parametrize("factor", [ALL_MEET, NONE_MEETS])
def test_the_baseline_is_measured_too_and_counts_for_nothing(factor: float) -> None:
    baseline = go(latency(None, 2.0), space=WITH_BASELINE).baseline
    assert baseline is not None
    judge = FakeJudge(lambda arch: ALL_MEET if arch == baseline.architecture else factor)
    view = go(latency(judge, 2.0), space=WITH_BASELINE)
    assert view.baseline is not None
    assert view.meets(view.baseline)
    assert judge.asked[0][0] == view.baseline.architecture
    met = [record for record in view.records if view.meets(record)]
    assert len(met) == (WANTED if factor == ALL_MEET else 0)
    assert view.best == (view.ranked[0] if factor == ALL_MEET else None)
    assert view.measured_count == len(view.measurements) - 1


def test_verdicts_are_kept_and_not_measured_again(url: str) -> None:
    first = go(latency(FakeJudge(slow_ones(go(latency(None)).ranked[:2]))), storage=url)
    assert read_study(open_storage(url), "demo") == first
    assert read_study(open_storage(url), "demo").measurements == first.measurements
    other = FakeJudge(always(NONE_MEETS))
    again = go(latency(other), storage=url)
    assert (other.asked, again.measurements, again.best) == ([], first.measurements, first.best)


def test_what_a_longer_search_finds_better_is_judged(url: str) -> None:
    short = go(latency(FakeJudge()), storage=url, trials=6, seed=1)
    judge = FakeJudge()
    longer = go(latency(judge), storage=url, trials=30, seed=1)
    assert short.best != longer.best == longer.ranked[0]
    new = [r.architecture for r in longer.ranked[:WANTED] if r.number not in short.measurements]
    assert judge.asked == [tuple(new)]
    assert longer.best is not None
    assert longer.best.number >= 6
    assert {number: longer.measurements[number] for number in short.measurements} == short.measurements


def test_one_that_none_met_is_saved_by_a_longer_search(url: str) -> None:
    assert go(latency(FakeJudge(always(NONE_MEETS))), storage=url, trials=6).best is None
    later = go(latency(FakeJudge()), storage=url, trials=12)
    assert later.best is not None
    assert later.best.number >= 6


@pytest.mark.parametrize("slow_first", [True, False])
def test_of_several_measured_targets_the_worst_one_decides(slow_first: bool) -> None:
    factors = (1.5, 0.5) if slow_first else (0.5, 1.5)
    size = Target("wait", "params", PARAMS, 20e3, "wait=20k", "params", {}, FakeJudge(always(factors[1]), PARAMS))
    view = go(latency(FakeJudge(always(factors[0]))), size)
    for number, verdict in view.measurements.items():
        costs = view.records[number].costs
        shares = {
            "latency_ms": factors[0] * costs["latency_ms"] / LIMIT_MS,
            "params": factors[1] * costs["params"] / 20e3,
        }
        assert verdict.cost == max(shares, key=lambda name: shares[name])
        assert verdict.measured / verdict.target == pytest.approx(max(shares.values()))
        assert verdict.meets == (max(shares.values()) <= 1)


def test_targets_that_are_counted_are_not_measured() -> None:
    judge = FakeJudge()
    view = go(latency(judge), parse_target("params=12k"))
    assert {verdict.cost for verdict in view.measurements.values()} == {"latency_ms"}
    assert go(parse_target("flops=1.2M")).measurements == {}


@pytest.mark.parametrize("error", [DeviceError("the device is gone", "plug it in"), KeyboardInterrupt()])
def test_what_ends_the_judging_leaves_all_trials(url: str, error: BaseException) -> None:
    with pytest.raises(type(error)):
        go(latency(FakeJudge(fails=error)), storage=url)
    kept = read_study(open_storage(url), "demo")
    assert (len(kept.complete), kept.measurements) == (12, {})
    assert kept.best == kept.ranked[0]
    view = go(latency(FakeJudge()), storage=url)
    assert outcome(view) == outcome(kept)
    assert view.measured_count == WANTED


def test_what_was_judged_before_a_device_fails_stays(url: str) -> None:
    judge = FakeJudge(always(NONE_MEETS))

    def fail_later(event: Event) -> None:
        if event.kind == "verifying" and judge.asked:
            judge.fails = DeviceError("the device is gone", "plug it in")

    with pytest.raises(DeviceError):
        go(latency(judge), storage=url, listen=fail_later)
    kept = read_study(open_storage(url), "demo").measurements
    assert len(kept) == WANTED
    judge.fails = None
    view = go(latency(judge), storage=url)
    assert judge.count == view.measured_count == 12
    assert {number: view.measurements[number] for number in kept} == kept


def test_how_far_it_is_is_told() -> None:
    events: list[Event] = []
    go(latency(FakeJudge()), listen=events.append)
    assert [event.message for event in events if event.kind == "verifying"] == ["measuring 5 of the best on the device"]
    assert events[-1].kind == "verifying"


def test_under_pareto_the_front_is_measured() -> None:
    plain = go(latency(None), objective="pareto", trials=30)
    slow = slow_ones(plain.front[-1:])
    judge = FakeJudge(slow)
    view = go(latency(judge), objective="pareto", trials=30)
    assert [record.arch for record in view.front] == [record.arch for record in plain.front]
    assert len(view.front) > 1
    assert judge.asked[0][0] == view.front[-1].architecture
    assert set(view.measurements) <= {record.number for record in view.front}
    assert view.best == view.front[-2]


def test_the_values_of_a_pareto_search_have_names(url: str) -> None:
    go(latency(None), objective="pareto", storage=url, trials=3)
    assert optuna.load_study(storage=url, study_name="demo").metric_names == ["accuracy", "latency_ms"]


def test_trials_keep_where_their_costs_come_from_and_how_sure_they_are(url: str) -> None:
    go(latency(FakeJudge()), storage=url, trials=3)
    for trial in optuna.load_study(storage=url, study_name="demo").trials:
        kept = trial.user_attrs
        assert set(kept["cost_sources"]) == set(kept["costs"]) == {*COUNTED, "latency_ms"}
        assert kept["cost_sources"]["latency_ms"] == "made up"
        assert {kept["cost_sources"][name] for name in COUNTED} == {"counted"}
        assert kept["cost_spreads"] == {"latency_ms": pytest.approx(0.02 * kept["costs"]["latency_ms"])}
        assert kept["latency_ms"] == kept["costs"]["latency_ms"]


def test_a_study_that_rests_on_something_else_does_not_go_on(url: str) -> None:
    go(latency(FakeJudge()), storage=url, trials=3)
    other = attrs.evolve(latency(FakeJudge()), basis={"by": "table x"})
    with pytest.raises(StudyError, match="limits"):
        go(other, storage=url, trials=3)
