"""Trials read in a few statements are those that Optuna's own storage reads, whatever has been written meanwhile."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState

from nas.objective import Direction
from nas.studies import trial_rows as reading
from nas.studies.bulk_storage import BulkStorage
from tests.search.fake_trials import BEGUN, ENDED, SEVERAL, TEMPLATES, template

UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


Storages = tuple[RDBStorage, BulkStorage]


@contextmanager
def schema(database: str) -> Iterator[str]:
    """The URL of a new one, dropped at the end."""
    engine, name = sqlalchemy.create_engine(database), f"nas_reading_{uuid.uuid4().hex[:9]}"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.schema.CreateSchema(name))
    own = engine.url.update_query_dict({"options": f"-csearch_path={name}"})
    yield own.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.schema.DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture(scope="module", params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.slow)])
def storages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storages]:
    """Optuna's storage and ours, of the same database."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = f"sqlite:///{tmp_path_factory.mktemp('reading') / 'nas.db'}"
    own = request.param == "PostgreSQL"
    with schema(request.getfixturevalue("server").url) if own else nullcontext(file) as url:
        both = RDBStorage(url), BulkStorage(url)
        yield both
        for storage in both:
            storage.scoped_session.remove()
            storage.engine.dispose()


@pytest.fixture(params=[2, reading.TRIALS_PER_STATEMENT])
def _at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "TRIALS_PER_STATEMENT", request.param)


def told(trial: FrozenTrial) -> list[str]:
    """All that a trial holds; NaN is like itself, and attributes and epochs stand in no order."""
    shown = {name: sorted(map(repr, vars(trial)[name].items())) for name in ("_user_attrs", "_system_attrs")}
    shown["intermediate_values"] = sorted(map(repr, trial.intermediate_values.items()))
    return [f"{name}={shown.get(name, value)!r}" for name, value in vars(trial).items()]


def both(storages: Storages, study_id: int, *given: Any) -> tuple[list[list[str]], ...]:
    """Trials as Optuna reads them, and as we do."""
    return tuple([told(trial) for trial in storage._get_trials(study_id, *given)] for storage in storages)


def make_study(storage: RDBStorage, *directions: Direction) -> int:
    return optuna.create_study(storage=storage, directions=list(directions))._study_id


def fill(storage: RDBStorage) -> tuple[int, int]:
    """Two studies, of one and of two objectives, whose trials came in turn."""
    first, second = make_study(storage, "maximize"), make_study(storage, "maximize", "minimize")
    waiting = template(TrialState.WAITING, system_attrs={"fixed_params": {"width": 24}})
    for one, several in zip([*TEMPLATES.values(), waiting, None], [*SEVERAL.values()] * 4, strict=False):
        storage.create_new_trial(first, one)
        storage.create_new_trial(second, several)
    return first, second


@pytest.mark.usefixtures("_at_once")
def test_trials_of_all_states_are_read_as_optuna_reads_them(storages: Storages) -> None:
    for study_id in fill(storages[0]):
        optunas, ours = both(storages, study_id, None, set(), -1)
        assert len(ours) == len(TEMPLATES) + 2
        assert ours == optunas
        for states in ((TrialState.COMPLETE,), UNFINISHED, (TrialState.PRUNED, TrialState.FAIL), ()):
            optunas, ours = both(storages, study_id, states, set(), -1)
            assert ours == optunas


@pytest.mark.usefixtures("_at_once")
def test_new_trials_and_some_others_are_read_as_optuna_reads_them(storages: Storages) -> None:
    for study_id in fill(storages[0]):
        ids = [trial._trial_id for trial in storages[0].get_all_trials(study_id)]
        for after in (-1, ids[0], ids[4], ids[-1]):
            for others in (set(), set(ids[:1]), {*ids[1:4], ids[-1]}, set(ids), {ids[0] + 1, ids[-1] + 100}):
                optunas, ours = both(storages, study_id, None, others, after)
                assert ours == optunas


@pytest.mark.usefixtures("in_time_zone")
def test_times_are_local_times_as_optuna_reads_them(tmp_path: Path) -> None:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    study_id = make_study(storage, "maximize")
    for name in ("complete", "running"):
        storage.create_new_trial(study_id, TEMPLATES[name])
    ended, running = storage.get_all_trials(study_id)
    assert (ended.datetime_start, ended.datetime_complete) == (BEGUN, ENDED)
    assert (running.datetime_start, running.datetime_complete) == (BEGUN, None)
    optunas = RDBStorage(storage.url)
    assert list(map(told, optunas.get_all_trials(study_id))) == list(map(told, (ended, running)))
    optunas.engine.dispose()


def test_a_study_without_trials_has_none_and_no_study_is_an_error(storages: Storages) -> None:
    storage = storages[1]
    assert storage.get_all_trials(make_study(storage, "maximize")) == []
    with pytest.raises(KeyError):
        storage.get_all_trials(10**6)


def test_trials_share_nothing_that_can_be_written_to(storages: Storages) -> None:
    storage = storages[1]
    first, _, other, *_ = storage.get_all_trials(fill(storage)[0], deepcopy=False)
    before = told(other)
    for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
        getattr(first, name).clear()
    assert told(other) == before


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["new", "begin", "wait", "attribute", "epoch", "end", "read"]),
        st.integers(0, 1),
        st.integers(0, 20),
    ),
    max_size=12,
)


@given(ACTS)
@settings(max_examples=15)
def test_a_cache_reads_what_is_new_whoever_wrote_it(storages: Storages, acts: list[tuple[str, int, int]]) -> None:
    writer, cached = storages[0], get_storage(storages[1])
    studies = [make_study(writer, "maximize"), make_study(writer, "minimize", "maximize")]
    for act, which, number in [*acts, ("read", 0, 0), ("read", 1, 0)]:
        if act == "read":
            kept = cached.get_all_trials(studies[which], deepcopy=False)
            assert list(map(told, kept)) == list(map(told, writer.get_all_trials(studies[which])))
        else:
            write(writer, studies[which], act, number, objectives=1 + which)


def write(storage: RDBStorage, study_id: int, act: str, number: int, objectives: int) -> None:
    """Begin a trial, or do something to one that has begun."""
    templates = list((TEMPLATES if objectives == 1 else SEVERAL).values())
    begun = {"new": templates[number % len(templates)], "wait": template(TrialState.WAITING), "begin": None}
    if act in begun:
        storage.create_new_trial(study_id, begun[act])
        return
    running = storage.get_all_trials(study_id, states=(TrialState.RUNNING,))
    if not running:
        return
    trial_id = running[number % len(running)]._trial_id
    if act == "attribute":
        storage.set_trial_user_attr(trial_id, f"key {number % 3}", {"number": number})
    elif act == "epoch":
        storage.set_trial_intermediate_value(trial_id, number % 4, float("nan") if number % 5 == 0 else number / 7)
    else:
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [number / 3] * objectives)


def test_many_trials_take_few_statements(tmp_path: Path) -> None:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    study_id = make_study(storage, "maximize")
    for _ in range(30):
        storage.create_new_trial(study_id, TEMPLATES["complete"])
    seen: list[object] = []
    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    assert len(storage.get_all_trials(study_id)) == 30
    assert len(seen) <= 8


def test_a_broken_database_is_told_as_optuna_tells_it(tmp_path: Path) -> None:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    study_id = make_study(storage, "maximize")
    storage.create_new_trial(study_id, TEMPLATES["complete"])
    with storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE trial_params"))
    with pytest.raises(optuna.exceptions.StorageInternalError):
        storage.get_all_trials(study_id)
