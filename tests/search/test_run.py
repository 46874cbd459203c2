"""The search as a whole, with accuracies that are made up."""

import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial

from nas.arch.canonical import canonical
from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import NasError, StudyError, TargetError
from nas.evaluate.base import Evaluator
from nas.objective import make_reward, score
from nas.samplers.defaults import SAMPLER_NAMES
from nas.search.events import Event
from nas.search.final_selection import select_final
from nas.search.local_evaluation import LocalEvaluation
from nas.search.plan import plan
from nas.search.run import search
from nas.search.session import open_session
from nas.search.settings import Settings, default_study_name
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.studies.opening import open_storage
from nas.studies.records import StudyView
from nas.studies.reservations import Reservations
from nas.studies.study import read_study
from nas.workers.base import Here
from nas.workers.machine_lock import MachineLock
from tests.device.processes import eventually
from tests.search.fakes import SMALLEST, FakeEvaluator, level, make_space, outcome

TINY = make_space()
MACRO = find_space("nasbench_macro")
MNASNET = find_space("mnasnet")
MEMORY = "sqlite://"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'nas.db'}"


def asked(*targets: str, **given: Any) -> Settings:
    rest: dict[str, Any] = {"trials": 8, "band": 0.5, "sampler": "random"} | given
    return Settings([parse_target(text) for text in targets or ("flops=1.2M",)], **rest)


def go(settings: Settings, storage: str = MEMORY, space: SearchSpace = TINY, **rest: Any) -> StudyView:
    evaluator: Evaluator = rest.pop("evaluator", FakeEvaluator())
    return search(space, evaluator, settings, COUNTED, storage=storage, **{"study_name": "demo"} | rest)


def test_every_trial_is_in_the_band_new_and_scored_as_the_paper_says() -> None:
    settings = asked("flops=1.2M", "params=12k", trials=20)
    view = go(settings)
    assert view.counted == len(view.records) == 20
    assert len({canonical(r.architecture) for r in view.records}) == 20
    for r in view.complete:
        assert 0.6e6 <= r.costs["macs"] <= 1.2e6
        assert r.costs["params"] <= 12e3
        assert r.accuracy == pytest.approx(level(r.architecture) * (1 - 0.5**3))
        expected = r.accuracy * (r.costs["macs"] / 1.2e6) ** -0.07
        assert r.score == pytest.approx(expected)


def test_any_optuna_tool_can_read_the_study(url: str) -> None:
    view = go(asked(trials=12, epochs=6, seed=5), url)
    study = optuna.load_study(storage=url, study_name="demo")
    assert len(study.trials) == 12
    assert study.best_value == max(r.score or 0 for r in view.complete)
    for trial in study.trials:
        assert set(trial.params) == {choice.name for choice in TINY.choices}
        assert all(
            isinstance(kind, optuna.distributions.CategoricalDistribution) for kind in trial.distributions.values()
        )
        arch = canonical(TINY.architecture(trial.params))
        kept = trial.user_attrs
        assert parse_text(kept["arch"]) == arch
        assert {name: kept[name] for name in COUNTED} == {n: m.estimate(arch).value for n, m in COUNTED.items()}
        assert kept["seed"] == 5
        assert kept["seconds"] >= 0
        assert set(kept["versions"]) >= {"nas", "optuna", "python"}
        assert kept["environment"] == {"version": "1"}
        assert len(trial.intermediate_values) == len(kept["accuracy_by_epoch"])
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None


def test_unpromising_trials_are_pruned_between_epochs() -> None:
    view = go(asked("flops=100M", trials=40, epochs=6), space=MACRO)
    pruned = [r for r in view.records if r.state == "pruned"]
    assert pruned
    assert {len(r.accuracies) for r in view.complete} == {6}
    assert all(6 / 2 < len(r.accuracies) < 6 for r in pruned)
    assert np.mean([level(r.architecture) for r in pruned]) < np.mean([level(r.architecture) for r in view.complete])
    assert view.counted == 40


@pytest.mark.parametrize(
    ("pruner", "epochs", "rungs"),
    # A quarter of the epochs, and twice and four times that.
    [
        ("hyperband", 8, {2, 4, 8}),
        pytest.param("halving", 8, {2, 4, 8}, marks=pytest.mark.slow),
        pytest.param("halving", 3, {1, 2, 3}, marks=pytest.mark.slow),
        pytest.param("hyperband", 3, {1, 2, 3}, marks=pytest.mark.slow),
    ],
)
def test_half_go_on_at_each_rung(url: str, pruner: str, epochs: int, rungs: set[int]) -> None:
    settings = asked(trials=24, epochs=epochs, pruner=pruner)
    whole = go(settings)
    assert {len(r.accuracies) for r in whole.records} == rungs
    assert {r.state for r in whole.records if len(r.accuracies) < epochs} == {"pruned"}
    means = {
        state: np.mean([r.accuracies[min(rungs) - 1] for r in whole.records if r.state == state])
        for state in ("pruned", "complete")
    }
    assert means["pruned"] < means["complete"]
    # The same again, in a database and in two goes.
    go(attrs.evolve(settings, trials=11), url)
    assert outcome(go(settings, url)) == outcome(whole)
    trials = optuna.load_study(storage=url, study_name="demo").trials
    assert [len(t.intermediate_values) for t in trials] == [len(r.accuracies) for r in whole.records]


def test_a_trial_that_halving_stops_was_not_among_the_better_half() -> None:
    """Each against all before it: the rule of arXiv 1810.05934 at the first rung."""
    seen: list[float] = []
    settings = asked(trials=16, epochs=8, pruner="halving")
    for record in go(settings).records:
        value = score(record.accuracies[1], [record.costs["macs"]], settings.targets, make_reward("soft"))
        seen.append(value)
        better = sum(other > value for other in seen)
        assert (len(record.accuracies) > 2) == (better < max(1, len(seen) // 2))


def test_without_a_pruner_none_is() -> None:
    assert {r.state for r in go(asked(trials=15, epochs=6, pruner="none")).records} == {"complete"}


@pytest.mark.parametrize(
    "sampler", [SAMPLER_NAMES[0], *(pytest.param(s, marks=pytest.mark.slow) for s in SAMPLER_NAMES[1:])]
)
def test_one_seed_is_one_study(sampler: str) -> None:
    first, again, other = (go(asked(sampler=sampler, seed=seed)) for seed in (1, 1, 2))
    assert outcome(first) == outcome(again)
    assert outcome(first) != outcome(other)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["soft", "pareto"])
def test_going_on_gives_what_one_go_gives(url: str, objective: str) -> None:
    sizes = (1, 9, 24)
    whole = go(asked(objective=objective, trials=24, sampler="nsga2"))
    for trials in sizes:
        view = go(asked(objective=objective, trials=trials, sampler="nsga2"), url)
        assert view.counted == trials
        assert outcome(view) == outcome(whole)[:trials]


class Interrupt:
    """Ctrl-C at the n-th event."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, _event: Event) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_interrupted_at_many_moments_it_is_the_same_study(url: str) -> None:
    whole = go(asked(epochs=4))
    for at in (1, 3, 6, 11):
        with pytest.raises(KeyboardInterrupt):
            go(asked(epochs=4), url, listen=Interrupt(at))
    view = go(asked(epochs=4), url)
    assert outcome(view) == outcome(whole)
    assert Counter(r.state for r in view.records)["running"] == 0
    assert all("KeyboardInterrupt" in r.reason for r in view.records if r.state == "killed")


def test_an_interruption_right_after_a_trial_was_written_loses_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Reservations.end
    written: list[bool] = []

    def interrupted(reservations: Reservations, trial: FrozenTrial) -> bool:
        written.append(end(reservations, trial))
        raise KeyboardInterrupt

    monkeypatch.setattr(Reservations, "end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(asked(), url)
    assert written == [True]
    monkeypatch.undo()
    view = go(asked(), url)
    assert outcome(view) == outcome(go(asked()))
    assert {r.state for r in view.records} <= {"complete", "pruned"}


def test_an_interrupt_waits_for_the_selection_which_reads_and_writes_the_study(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected: list[bool] = []

    def interrupted(*given: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        select_final(*given)
        selected.append(True)

    monkeypatch.setattr("nas.search.run.select_final", interrupted)
    with suppress(KeyboardInterrupt):
        go(asked(), url)
    assert selected
    assert read_study(open_storage(url), "demo").counted == 8


def test_an_interruption_while_a_trial_begins_leaves_none_running(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = optuna.Trial.__init__

    def interrupted(trial: optuna.Trial, study: optuna.Study, trial_id: int) -> None:
        begin(trial, study, trial_id)
        if study.study_name == "demo":
            raise KeyboardInterrupt

    monkeypatch.setattr(optuna.Trial, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(asked(), url)
    monkeypatch.undo()
    states = [trial.state.name for trial in optuna.load_study(storage=url, study_name="demo").trials]
    assert states == ["FAIL"]
    assert outcome(go(asked(), url)) == outcome(go(asked()))


def test_an_architecture_that_breaks_the_evaluator_counts_with_its_reason_and_the_search_goes_on() -> None:
    def breaks(arch: Architecture) -> bool:
        if level(arch) < 0.25:
            raise RuntimeError("driver gone")
        return False

    view = go(asked(trials=16), evaluator=FakeEvaluator(breaks))
    failed = [r for r in view.records if r.state == "failed"]
    assert 0 < len(failed) < 16
    assert view.counted == len({r.arch for r in view.records}) == 16
    assert all(r.reason == "RuntimeError: driver gone" for r in failed)


def test_what_is_no_error_of_an_architecture_ends_the_search_and_does_not_count(url: str) -> None:
    class Leaving(BaseException):
        pass

    def leaves(_arch: Architecture) -> bool:
        raise Leaving

    with pytest.raises(Leaving):
        go(asked(), url, evaluator=FakeEvaluator(leaves))
    view = go(asked(), url)
    assert [r.state for r in view.records].count("killed") == 1
    assert view.counted == 8
    assert outcome(view) == outcome(go(asked()))


@pytest.mark.parametrize(
    ("error", "words"), [(SystemExit(3), "SystemExit: 3"), (KeyboardInterrupt(), "KeyboardInterrupt")]
)
def test_an_evaluation_that_leaves_the_process_is_a_failed_trial(error: BaseException, words: str) -> None:
    def leaves(arch: Architecture) -> bool:
        if level(arch) < 0.25:
            raise error
        return False

    view = go(asked(trials=16), evaluator=FakeEvaluator(leaves))
    failed = [r for r in view.records if r.state == "failed"]
    assert 0 < len(failed) < 16
    assert view.counted == 16
    assert {r.reason for r in failed} == {f"the evaluation ended the process ({words})"}


def test_failures_count_and_are_shown_with_their_reason() -> None:
    events: list[Event] = []
    view = go(asked(trials=16), evaluator=FakeEvaluator(lambda arch: level(arch) < 0.25), listen=events.append)
    failed = [r for r in view.records if r.state == "failed"]
    assert 0 < len(failed) < 16
    assert view.counted == 16
    assert all("made to fail" in r.reason and r.score is None and r.accuracy is None for r in failed)
    shown = [event.record for event in events if event.kind == "trial"]
    assert [r for r in shown if r and r.state == "failed"] == failed


def test_five_failures_in_a_row_end_the_search_and_all_is_kept(url: str) -> None:
    with pytest.raises(StudyError, match="5 trials failed one after another, the last with: made to fail"):
        go(asked(trials=20), url, evaluator=FakeEvaluator(lambda _arch: True))
    view = read_study(open_storage(url), "demo")
    assert [r.state for r in view.records] == ["failed"] * 5
    later = go(asked(trials=9), url)
    assert [r.state for r in later.records[:5]] == ["killed"] * 5
    assert {r.state for r in later.records[5:]} <= {"complete", "pruned"}
    assert [r.arch for r in later.records[5:10]] == [r.arch for r in view.records]
    assert len({r.arch for r in later.records[5:]}) == later.counted == 9


def test_failures_beside_a_result_stay(url: str) -> None:
    with pytest.raises(StudyError, match="5 trials failed one after another"):
        go(asked(trials=20), url, evaluator=FakeEvaluator(Fails(after=1)))
    later = go(asked(trials=9), url)
    assert [r.state for r in later.records[:6]] == ["complete"] + ["failed"] * 5
    assert {r.state for r in later.records[6:]} <= {"complete", "pruned"}
    assert later.counted == 9


@attrs.define
class Fails:
    """Fails after so many evaluations, the baseline's not counted."""

    after: int

    def __call__(self, _arch: Architecture) -> bool:
        self.after -= 1
        return self.after < 0


def test_four_failures_and_a_success_do_not_end_it() -> None:
    seen: list[Architecture] = []

    def fails(arch: Architecture) -> bool:
        seen.append(arch)
        return len(seen) % 5 != 0

    view = go(asked(trials=20), evaluator=FakeEvaluator(fails))
    assert Counter(r.state for r in view.records) == {"failed": 16, "complete": 4}


@attrs.frozen
class Gives:
    """An evaluator that gives what it is told to."""

    accuracies: tuple[float, ...]

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- the protocol's names
        yield from self.accuracies

    def describe(self) -> dict[str, Any]:
        return {"evaluator": "gives"}


@pytest.mark.parametrize("accuracies", [(), (float("nan"),), (0.5, 1.5), (-0.1,), (0.5, float("inf"))])
def test_what_is_no_accuracy_fails_its_trial(accuracies: tuple[float, ...], url: str) -> None:
    with pytest.raises(StudyError, match="all 3 trials of study demo failed with: the evaluator gave "):
        search(
            MNASNET,
            Gives(accuracies),
            asked("flops=300M", trials=3, band=0.9),
            COUNTED,
            storage=url,
            study_name="demo",
        )
    view = read_study(open_storage(url), "demo")
    assert [r.state for r in view.records] == ["failed"] * 3
    assert all("accuracy" in r.reason for r in view.records)
    assert view.baseline is None
    json.dumps([r.accuracies for r in view.records], allow_nan=False)


def fail_all(url: str, begun: Path) -> None:
    def fails(_arch: Architecture) -> bool:
        begun.touch()
        return True

    with suppress(StudyError):
        go(asked(trials=4), url, evaluator=FakeEvaluator(fails))


@pytest.mark.slow
def test_failed_trials_that_a_living_search_has_counted_are_not_started_again(url: str, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    other = multiprocessing.get_context("spawn").Process(target=fail_all, args=(url, begun))

    def listen(event: Event) -> None:
        if event.kind == "trial" and event.record is not None and event.record.number == 1:
            other.start()  # two trials have failed, and none runs or has succeeded
            eventually(begun.exists)

    with suppress(StudyError):  # only the last one of both finds that all have failed
        go(asked(trials=4), url, evaluator=FakeEvaluator(bool), listen=listen)
    other.join()
    assert [r.state for r in read_study(open_storage(url), "demo").records] == ["failed"] * 4
    # Nobody works at the study any more.
    assert Counter(r.state for r in go(asked(trials=4), url).records) == {"killed": 4, "complete": 4}


@attrs.frozen
class Scripted(FakeEvaluator):
    """An evaluator whose function a script defines."""

    def describe(self) -> dict[str, Any]:
        return {"evaluator": "fake", "data": "none", "environment": {"script": self.version}}


def test_a_search_from_another_script_is_refused_and_changes_no_failed_trial(url: str) -> None:
    with pytest.raises(StudyError, match="all 2 trials"):
        go(asked(trials=2), url, evaluator=Scripted(bool, "one.py"))
    with pytest.raises(StudyError, match=r"is defined in one\.py, not in other\.py"):
        go(asked(trials=2), url, evaluator=Scripted(version="other.py"))
    assert [r.state for r in read_study(open_storage(url), "demo").records] == ["failed"] * 2


def test_a_space_that_runs_out_ends_early_and_says_so() -> None:
    events: list[Event] = []
    view = go(asked("flops=10M", objective="pareto", trials=9), space=make_space(SMALLEST), listen=events.append)
    assert view.counted == 3
    assert events[-1].kind == "exhausted"
    assert "no new architecture" in events[-1].message
    assert (events[-1].done, events[-1].total) == (3, 9)


@pytest.mark.parametrize("targets", [("flops=2.44M", "params=6k"), ("flops=2.4M", "peak_memory=21kB")])
def test_targets_that_cannot_be_met_together_are_told_before_anything_is_done(url: str, targets: Any) -> None:
    with pytest.raises(TargetError, match="no architecture of space tiny was found with flops from"):
        go(asked(*targets, band=0.9), url)
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_the_baseline_is_evaluated_once_and_counts_as_no_trial(url: str) -> None:
    seen: list[Architecture] = []

    def watch(arch: Architecture) -> bool:
        seen.append(arch)
        return False

    settings, told = asked("flops=300M", trials=2, band=0.9), list[Event]()
    for trials in (2, 3):
        more = attrs.evolve(settings, trials=trials)
        view = go(more, url, space=MNASNET, evaluator=FakeEvaluator(watch), listen=told.append)
    assert len(seen) == 4
    assert [event.kind for event in told if event.kind in ("started", "trial", "baseline", "resumed")] == [
        *("started", "trial", "trial", "baseline"),
        *("resumed", "trial"),
    ]
    assert view.baseline is not None
    assert view.baseline.label.startswith("mobilenetv2 x0.9")
    assert view.baseline.costs["macs"] <= 300e6
    assert view.baseline.accuracies == tuple(FakeEvaluator().evaluate(seen[2], 3))
    target = settings.targets[0]
    cost = target.cost.estimate(seen[2]).value
    assert view.baseline.score == score(view.baseline.accuracy or 0, [cost], [target], make_reward("soft"))
    assert view.counted == 3


def test_a_baseline_that_fails_is_not_awaited_any_longer() -> None:
    asked_for, told = list[Architecture](), list[Event]()

    def fails(arch: Architecture) -> bool:
        asked_for.append(arch)
        return len(asked_for) == 3

    settings = asked("flops=300M", trials=2, band=0.9)
    view = go(settings, space=MNASNET, evaluator=FakeEvaluator(fails), listen=told.append)
    assert view.baseline is None
    assert [event.seconds_left for event in told if event.kind == "baseline"] == [0]


def test_evaluations_that_are_no_trials_let_others_measure_after_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(MachineLock, "yield_to_measurement", lambda _lock: done.append("others measure"))
    settings = asked(trials=2)
    planned = plan(TINY, FakeEvaluator(), settings, COUNTED)
    with open_session(Here()) as session:
        outcomes = LocalEvaluation(planned, session).outcomes(TINY.from_indices(next(iter(TINY.enumerate()))))
        done.extend("end" if each.ended else "epoch" for each in outcomes)
    assert done == [*["epoch", "others measure"] * settings.epochs, "end"]


def test_pareto_keeps_the_upper_limit_alone_and_two_values(url: str) -> None:
    view = go(asked("flops=1.5M", objective="pareto", sampler="", trials=22, band=0.9), url)
    macs = [r.costs["macs"] for r in view.records]
    assert max(macs) <= 1.5e6
    assert min(macs) < 0.9 * 1.5e6
    study = optuna.load_study(storage=url, study_name="demo")
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [tuple(t.values) for t in study.trials] == [(r.accuracy, r.costs["macs"]) for r in view.records]
    assert {r.number for r in view.front} <= {t.number for t in study.best_trials}
    assert view.settings["sampler"] == "surrogate"


def test_known_networks_are_evaluated_first_after_being_moved_in() -> None:
    events: list[Event] = []
    view = go(
        asked("flops=300M", band=0.9, trials=3, start_from=(preset("mobilenetv2"), preset("mnasnet-a1"))),
        space=MNASNET,
        listen=events.append,
    )
    planned = plan(
        MNASNET, FakeEvaluator(), asked("flops=300M", band=0.9, start_from=(preset("mobilenetv2"),)), COUNTED
    )
    assert view.records[0].architecture == canonical(MNASNET.from_indices(planned.wanted[0][0].tolist()))
    assert sum(event.kind == "moved" for event in events) == 2
    assert 270e6 <= view.records[1].costs["macs"] <= 300e6


def test_starting_from_a_network_of_other_stages_is_refused(url: str) -> None:
    with pytest.raises(NasError, match=r"7 stages cannot be dealt out to the 2 stages"):
        go(asked(start_from=(preset("mobilenetv2"),)), url)
    assert not Path(url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"band": 1.0}, "band is 1.0"),
        ({"band": -0.1}, "band is -0.1"),
        ({"band": float("nan")}, "band is nan"),
        ({"w": 0.1}, "w is 0.1"),
        ({"w": float("nan")}, "w is nan"),
        ({"w": 5.0, "objective": "pareto"}, "w is 5.0"),
        ({"w": -0.1, "objective": "pareto"}, "pareto has none"),
        ({"objective": "best"}, "objective 'best'"),
        ({"sampler": "gp"}, "unknown sampler 'gp'"),
        ({"pruner": "asha"}, "unknown pruner 'asha'"),
        ({"trials": 0}, "0 trials"),
        ({"epochs": 0}, "of 0 epochs"),
        ({"targets": [parse_target("flops=1M"), parse_target("flops=2M")]}, "given twice"),
        ({"targets": []}, "no target"),
        ({"targets": [parse_target("flops=1G")]}, "cannot be met"),
    ],
)
def test_bad_settings_are_told_before_the_study_is_touched(url: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        go(attrs.evolve(asked(), **change), url)
    assert not Path(url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"w": -0.1}])
def test_a_study_of_other_settings_is_left_as_it_is(url: str, change: dict[str, Any]) -> None:
    before = go(asked(trials=2), url)
    with pytest.raises(StudyError, match=f"made with {next(iter(change))}"):
        go(attrs.evolve(asked(), **change), url)
    assert go(asked(trials=2), url) == before


def test_a_study_goes_on_under_other_versions_which_its_trials_keep(url: str) -> None:
    go(asked(trials=2), url)
    go(asked(trials=4), url, evaluator=FakeEvaluator(version="2"))
    kept = [t.user_attrs["environment"]["version"] for t in optuna.load_study(storage=url, study_name="demo").trials]
    assert kept == ["1", "1", "2", "2"]


def test_a_study_of_an_earlier_version_keeps_its_scoring_rule(url: str) -> None:
    """Earlier versions scored costs below every target; the settings of their studies have no `further_w`."""
    settings = asked("flops=1.2M", "params=9k", trials=4, objective="absolute")
    named = go(settings, url, study_name="")
    study = optuna.load_study(storage=url, study_name=named.name)
    kept = dict(study.user_attrs["nas:settings"])
    assert kept.pop("further_w") == [0.0, -0.07]
    study.set_user_attr("nas:settings", kept)
    told: list[Event] = []
    view = go(attrs.evolve(settings, trials=8), url, study_name="", listen=told.append)
    assert (view.name, view.counted) == (named.name, 8)
    assert [event.kind for event in told].count("objective") == 1
    for record in view.records:
        costs = [record.costs["macs"] / 1.2e6, record.costs["params"] / 9e3]
        added = [-0.07 * abs(ratio - 1) for ratio in (costs if record.number >= 4 else costs[:1])]
        assert record.score == pytest.approx((record.accuracy or 0) + sum(added))


def test_a_study_without_a_name_gets_one_that_the_same_settings_find_again(url: str) -> None:
    first = go(asked(trials=2), url, study_name="")
    again = go(asked(trials=3), url, study_name="")
    other = go(asked(trials=2, seed=9), url, study_name="")
    assert first.name == again.name == default_study_name(first.settings)
    assert first.name.startswith("tiny-flops1.2M-")
    assert other.name != first.name
    assert len(open_storage(url).get_all_studies()) == 2


def test_the_name_of_a_study_does_not_depend_on_the_form_of_graphs() -> None:
    limit = {"cost": "latency_ms", "basis": {"by": "measuring", "machine": "m"}}
    settings = {"space": "tiny", "targets": ["latency=1ms on cpu"], "limits": [limit]}
    newer = settings | {"limits": [limit | {"basis": {"by": "measuring", "machine": "m", "graph": "opset18"}}]}
    other = settings | {"limits": [limit | {"basis": {"by": "measuring", "machine": "n", "graph": "opset18"}}]}
    assert default_study_name(settings) == default_study_name(newer) != default_study_name(other)


def test_a_read_only_database_is_told_in_words(url: str, tmp_path: Path) -> None:
    go(asked(trials=1), url)
    with pytest.raises(StudyError, match="readonly"):
        go(asked(trials=2), f"sqlite:///file:{tmp_path / 'nas.db'}?mode=ro&uri=true")
    assert go(asked(trials=1), url).counted == 1


def test_events_tell_how_far_it_is() -> None:
    events: list[Event] = []
    go(asked(trials=4), listen=events.append)
    trials = [event for event in events if event.kind == "trial"]
    assert [event.done for event in trials] == [1, 2, 3, 4]
    assert {event.total for event in events} == {4}
    assert trials[-1].seconds_left == 0
    best = [event.best.score for event in trials if event.best and event.best.score]
    assert best == sorted(best)
    assert sum(event.kind == "epoch" for event in events) == 12


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_many_trials(sampler: str) -> None:
    trials = 200 if sampler == SAMPLER_NAMES[0] else 80  # the default one is taken for long searches
    view = go(asked("flops=80M", trials=trials, sampler=sampler, band=0.8), space=MACRO)
    assert view.counted == trials
    assert len({canonical(r.architecture) for r in view.records}) == trials
    assert all(64e6 <= r.costs["macs"] <= 80e6 for r in view.records)
