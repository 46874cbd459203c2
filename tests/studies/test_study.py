"""Studies are stored and read back, and trials of ended processes are killed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from nas.arch.code import format_text
from nas.errors import StudyError
from nas.noise import pack
from nas.optuna_private.identity import storage_of, study_id
from nas.studies.failures import explained
from nas.studies.opening import open_storage
from nas.studies.records import (
    COUNTED_STATES,
    KILLED,
    SETTINGS,
    DeviceMeasurement,
    Expected,
    Record,
    StudyView,
    find_trial,
    to_stored,
)
from nas.studies.reservations import Reservations
from nas.studies.study import open_study, read_study, study_names
from nas.studies.tables import backend
from nas.studies.urls import mask, without_password
from tests.search.fakes import make_space

ARCH = format_text(make_space().from_indices([0] * 7))
MADE_WITH = {
    "space": "tiny",
    "targets": ["flops=1M"],
    "objective": "soft",
    "band": 0.9,
    "epochs": 3,
    "limits": [{"cost": "macs", "unit": "MACs", "low": 0.9e6, "high": 1e6}],
    "proxy": {"data": "digits", "images": 10},
}
STATES = (*COUNTED_STATES, KILLED, "running")


def record(number: int, macs: int = 1, accuracy: float | None = 0.5, state: str = "complete", **rest: Any) -> Record:
    return Record(number, state, ARCH, {"macs": macs, "params": macs, "peak_bytes": macs}, accuracy, **rest)


def view_of(*records: Record, cost: str = "macs") -> StudyView:
    return StudyView("demo", {"limits": [{"cost": cost}], "objective": "soft"}, records)


@st.composite
def views(draw: st.DrawFn) -> StudyView:
    """Draw studies with few distinct numbers, so that ties are common."""
    figures = st.tuples(st.integers(1, 5), st.integers(0, 5), st.sampled_from(STATES))
    rows = draw(st.lists(figures, max_size=12))
    records = [
        record(i, macs, accuracy / 5, state, score=accuracy / macs) for i, (macs, accuracy, state) in enumerate(rows)
    ]
    return view_of(*records, cost=draw(st.sampled_from(["macs", "params", "peak_bytes"])))


@given(view=views())
def test_the_front_holds_the_trials_that_no_complete_trial_beats(view: StudyView) -> None:
    points = {(r.costs[view.cost_name], r.accuracy or 0) for r in view.complete}
    beaten = {(c, a) for c, a in points for d, b in points if d <= c and b >= a and (c, a) != (d, b)}
    front = [(r.costs[view.cost_name], r.accuracy or 0) for r in view.front]
    assert front == sorted(points - beaten)
    assert all(r.state == "complete" for r in view.front)


@given(view=views())
def test_trials_are_ranked_by_score_and_the_best_is_the_first(view: StudyView) -> None:
    scores = [r.score or 0 for r in view.ranked]
    assert scores == sorted(scores, reverse=True)
    assert sorted(r.number for r in view.ranked) == [r.number for r in view.records if r.state == "complete"]
    assert view.counted == len(view.records) - sum(r.state in (KILLED, "running") for r in view.records)
    assert view.best == (view.ranked[0] if view.ranked else None)
    assert view.best is None or view.best.number == min(r.number for r in view.complete if r.score == scores[0])


def test_without_a_score_the_highest_accuracy_is_first() -> None:
    view = view_of(record(0, accuracy=0.4), record(1, accuracy=0.6), record(2, accuracy=0.5))
    assert [r.number for r in view.ranked] == [1, 2, 0]


def test_a_trial_is_found_by_best_trial_or_pareto() -> None:
    view = view_of(
        record(0, 3, 0.5, score=0.1), record(1, 1, 0.2, score=0.9), record(2, 5, 0.4), record(3, state="failed")
    )
    assert find_trial(view, "best").number == 1
    assert find_trial(view, "trial=3").number == 3
    assert [find_trial(view, f"pareto={i}").number for i in (1, 2)] == [1, 0]


@pytest.mark.parametrize(
    "which",
    ["", "worst", "trial", "trial=", "trial=9", "trial=-1", "trial=²", "trial=1.0", "pareto=0", "pareto=3", "best=1"],
)
def test_the_error_for_a_missing_trial_names_the_trials_that_exist(which: str) -> None:
    view = view_of(record(0, 3, 0.5), record(1, 1, 0.2))
    with pytest.raises(StudyError, match=r"pareto=1 to pareto=2; 2 trials are complete"):
        find_trial(view, which)


def test_a_study_without_trials_has_no_best_trial() -> None:
    assert (view_of().best, view_of().front, view_of().counted) == (None, (), 0)
    with pytest.raises(StudyError, match="has no best"):
        find_trial(view_of(), "best")


SECRET = "hunter2"  # noqa: S105 -- a made-up one


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"postgresql://me:{SECRET}@host:port/db",
        f"postgresql://me@host/db?password={SECRET}",
        f"mysql+pymysql://me@host/db?passwd={SECRET}&charset=utf8",
        f"mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D{SECRET}",
        f"redis://:{SECRET}@host/1",
        f"no url with {SECRET}",
        f"nosuchdriver://me:{SECRET}@host/db",
    ],
)
def test_no_message_holds_a_password(url: str) -> None:
    assert SECRET not in mask(url)
    for create in (True, False):
        with pytest.raises(StudyError) as error:
            open_storage(url, create=create)
        assert SECRET not in str(error.value)
    with pytest.raises(StudyError) as error, explained(url):
        raise optuna.exceptions.StorageInternalError(f"cannot connect with {url} or {SECRET}")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("url", ["sqlite:///nas.db", "sqlite:////tmp/a b.db", "sqlite:///file:x.db?mode=ro&uri=true"])
def test_a_url_without_a_password_is_shown_unchanged(url: str) -> None:
    assert mask(url) == url


def test_the_user_and_the_host_of_a_url_are_shown() -> None:
    assert mask(f"postgresql://me:{SECRET}@host/db") == "postgresql://me:***@host/db"


def test_a_storage_that_cannot_be_opened_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database at all, only text")
    before = (tmp_path / "text.db").read_bytes()
    for place in (tmp_path, tmp_path / "text.db", tmp_path / "nowhere" / "nas.db"):
        with pytest.raises(StudyError, match="cannot be opened"):
            open_storage(f"sqlite:///{place}")
    assert (tmp_path / "text.db").read_bytes() == before
    with pytest.raises(StudyError, match="there is no study database"):
        open_storage(f"sqlite:///{tmp_path / 'absent.db'}", create=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.db"]


@pytest.fixture(name="storage")
def _storage() -> BaseStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return open_storage("sqlite://")


def made(storage: BaseStorage, name: str = "demo") -> optuna.Study:
    return open_study(storage, name, ["maximize"], MADE_WITH)


def test_a_study_is_opened_only_with_the_same_settings(storage: BaseStorage) -> None:
    made(storage)
    assert made(storage).study_name == "demo"
    for key, value in {"space": "mnasnet", "targets": ["flops=2M"], "seed": 1}.items():
        with pytest.raises(StudyError, match=f"study demo was made with {key}"):
            open_study(storage, "demo", ["maximize"], {**MADE_WITH, key: value})
    with pytest.raises(StudyError, match=r"made with proxy\.images 10, not 20"):
        open_study(storage, "demo", ["maximize"], {**MADE_WITH, "proxy": {"data": "digits", "images": 20}})
    assert optuna.load_study(storage=storage, study_name="demo").user_attrs == {SETTINGS: MADE_WITH}


@pytest.mark.parametrize("old", [{}, {"graph": "opset20 operators1"}])
def test_a_study_of_latencies_of_another_form_of_graphs_is_refused_with_the_reason(
    storage: BaseStorage, old: dict[str, str]
) -> None:
    def described(basis: dict[str, str]) -> dict[str, Any]:
        return {"format": 1, "limits": [{"cost": "latency_ms", "basis": basis}]}

    open_study(storage, "demo", ["maximize"], described({"by": "table a", "made": "old"} | old))
    form = old.get("graph", "an earlier form")
    for now in ({"by": "table a", "made": "new"}, {"by": "measuring"}):
        with pytest.raises(StudyError, match=f"are of ONNX graphs of {form};.*now opset18 operators1"):
            open_study(storage, "demo", ["maximize"], described(now | {"graph": "opset18 operators1"}))


def foreign(storage: BaseStorage, kind: str) -> optuna.Study:
    if kind == "minimises":
        return optuna.create_study(storage=storage, study_name="demo")
    study = optuna.create_study(storage=storage, study_name="demo", direction="maximize")
    if kind == "has attributes":
        study.set_user_attr("owner", "somebody")
    else:
        study.add_trial(create_trial(value=1.0))
    return study


@pytest.mark.parametrize("kind", ["minimises", "has attributes", "has trials"])
def test_a_study_of_another_tool_is_refused_and_left_unchanged(storage: BaseStorage, kind: str) -> None:
    study = foreign(storage, kind)
    before = (study.user_attrs, study.directions, len(study.trials))
    with pytest.raises(StudyError, match="was not made by nas"):
        made(storage)
    again = optuna.load_study(storage=storage, study_name="demo")
    assert (again.user_attrs, again.directions, len(again.trials)) == before
    assert study_names(storage) == ()
    with pytest.raises(StudyError, match="study 'demo' was made by another tool"):
        read_study(storage, "demo")


def test_a_study_that_holds_nothing_yet_is_opened(storage: BaseStorage) -> None:
    optuna.create_study(storage=storage, study_name="demo", direction="maximize")
    made(storage)
    assert study_names(storage) == ("demo",)


def test_studies_are_listed_oldest_first(storage: BaseStorage) -> None:
    for name in ("c", "a", "b"):
        made(storage, name)
    assert study_names(storage) == ("c", "a", "b")


# What version 0.1 writes of a baseline, of a measurement on the device, and of an expected accuracy.
BASELINE_OF_0_1 = {
    "number": -1,
    "state": "complete",
    "arch": ARCH,
    "costs": {"macs": 1, "params": 2, "peak_bytes": 3},
    "accuracy": 0.5,
    "accuracies": [0.25, 0.5],
    "score": 0.4,
    "seconds": 2.5,
    "reason": "",
    "seed": 7,
    "label": "mobilenetv2 x1.16",
    "spreads": {"macs": None},
    "remarks": {"batch_size": 16},
}
MEASURED_BY_0_1 = {"cost": "macs", "target": 2.0, "predicted": 1.5, "measured": 1.75, "spread": 0.125, "noisy": True}
EXPECTED_BY_0_1 = {"accuracy": 0.5, "spread": 0.25, "score": 0.75}


def test_a_baseline_is_read_back_as_it_was_stored(storage: BaseStorage) -> None:
    base = record(-1, accuracies=(0.25, 0.5), label="known", metadata={"batch_size": 16})
    made(storage).set_user_attr("nas:baseline", to_stored(base))
    assert read_study(storage, "demo").baseline == base


def test_records_of_version_0_1_are_read_and_written_under_the_same_names(storage: BaseStorage) -> None:
    study = made(storage)
    kept = {"arch": ARCH, "costs": {"macs": 1}, "accuracy_by_epoch": [0.5], "remarks": {"batch_size": 8}}
    study.add_trial(create_trial(value=0.5, user_attrs=kept))
    study.set_user_attr("nas:baseline", BASELINE_OF_0_1)
    study.set_user_attr("nas:verdicts", {"0": MEASURED_BY_0_1})
    study.set_user_attr("nas:expected", {"trials": 1, "rows": {"0": EXPECTED_BY_0_1}, "confirmed": {"0": [0.5]}})
    view = read_study(storage, "demo")
    assert view.baseline == Record(
        -1,
        "complete",
        ARCH,
        {"macs": 1, "params": 2, "peak_bytes": 3},
        accuracy=0.5,
        accuracies=(0.25, 0.5),
        score=0.4,
        seconds=2.5,
        seed=7,
        label="mobilenetv2 x1.16",
        spreads={"macs": None},
        metadata={"batch_size": 16},
    )
    assert view.measurements == {0: DeviceMeasurement("macs", 2.0, 1.5, 1.75, 0.125, noisy=True)}
    assert view.expected == {0: Expected(0.5, 0.25, 0.75)}
    assert view.confirmed == {0: (0.5,)}
    assert view.records[0].metadata == {"batch_size": 8}
    stored = [to_stored(each) for each in (view.baseline, view.measurements[0], view.expected[0])]
    expected = EXPECTED_BY_0_1 | {"low": None, "high": None}
    assert json.loads(json.dumps(stored)) == [BASELINE_OF_0_1 | {"correct": ""}, MEASURED_BY_0_1, expected]


def test_a_study_that_is_read_without_parameters_is_the_same_but_for_them(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'nas.db'}")
    study = made(storage)
    begun = {"arch": ARCH, "costs": {"macs": 1}, "cost_spreads": {"macs": 0.5}, "seed": 3, "macs": 1, "versions": {}}
    ended = {
        "accuracy_by_epoch": [0.25, 0.5],
        "seconds": 2.0,
        "remarks": {"batch": 8},
        "correct": pack(np.ones(3, bool)),
    }
    trials: tuple[tuple[TrialState, dict[str, Any]], ...] = (
        (TrialState.COMPLETE, begun | ended),
        (TrialState.PRUNED, begun | ended),
        (TrialState.FAIL, begun | {"reason": "too large"}),
        (TrialState.FAIL, begun | {KILLED: "ended", "reason": "the process ended"}),
        (TrialState.RUNNING, begun),
        (TrialState.COMPLETE, begun | ended | {"trained": 7}),  # of another program, as the next one
        (TrialState.COMPLETE, {"arch": ARCH}),
    )
    for state, kept in trials:
        value = 0.5 if state == TrialState.COMPLETE else None
        given = {"params": {"a": 1}, "distributions": {"a": IntDistribution(0, 3)}, "intermediate_values": {1: 0.25}}
        study.add_trial(create_trial(state=state, value=value, user_attrs=kept, **given))  # type: ignore[arg-type]
    whole, part = read_study(storage, "demo"), read_study(storage, "demo", with_params=False)
    assert (len(whole.records), whole.foreign) == (5, (5, 6))
    assert all(each.params == {"a": 1} for each in whole.records)
    assert part == evolve(whole, records=tuple(evolve(each, params={}) for each in whole.records))


def test_a_record_with_an_unknown_name_is_refused(storage: BaseStorage) -> None:
    made(storage).set_user_attr("nas:baseline", BASELINE_OF_0_1 | {"unknown": 1})
    with pytest.raises(StudyError, match="holds what nas does not write"):
        read_study(storage, "demo")


def test_trials_of_ended_processes_are_killed_and_do_not_count(storage: BaseStorage) -> None:
    study = made(storage)
    template = create_trial(state=TrialState.RUNNING, user_attrs={"arch": ARCH})
    storage_of(study).create_new_trial(study_id(study), template)
    Reservations(backend(storage_of(study)), study_id(study), "here 1 1.00").reconcile()
    (left,) = read_study(storage, "demo").records
    assert left.state == KILLED
    assert "process ended" in left.reason
    assert read_study(storage, "demo").counted == 0


@pytest.mark.parametrize(
    ("url", "again"),
    [
        ("postgresql+psycopg://me:s3cret@h:5/db", "postgresql+psycopg://me@h:5/db"),
        ("postgresql://me@h/db?password=s3cret&sslmode=require", "postgresql://me@h/db?sslmode=require"),
        ("postgresql://me@h/db", "postgresql://me@h/db"),
        ("sqlite:///a@b/c@d.db", "sqlite:///a@b/c@d.db"),
        ("postgresql://me:s3@cret@h/db", "(no URL)"),
    ],
)
def test_a_url_without_its_password_can_be_used_again(url: str, again: str) -> None:
    assert without_password(url) == again
    assert "s3" not in mask(url)


def test_a_password_that_could_be_taken_for_a_host_is_refused_and_not_shown() -> None:
    with pytest.raises(StudyError, match="more than one @") as told:
        open_storage("postgresql://me:abc@tail@h/db")
    assert "tail" not in str(told.value)
    assert "%40" in told.value.remedy
