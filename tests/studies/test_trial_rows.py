"""Trials are read in few statements as the same trials that Optuna's own storage reads."""

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
from nas.optuna_private.identity import study_id as id_of_study
from nas.optuna_private.identity import trial_id as id_of_trial
from nas.studies import trial_rows as trial_rows
from nas.studies.bulk_storage import BulkStorage
from tests.search.fake_trials import BEGUN, ENDED, SEVERAL, TEMPLATES, template

UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


Storages = tuple[RDBStorage, BulkStorage]


@contextmanager
def schema(database: str) -> Iterator[str]:
    """Make a schema, yield its URL and drop it at the end."""
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
    """Yield Optuna's storage and ours for the same database."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = f"sqlite:///{tmp_path_factory.mktemp('reading') / 'nas.db'}"
    own = request.param == "PostgreSQL"
    with schema(request.getfixturevalue("server").url) if own else nullcontext(file) as url:
        read_by_both = RDBStorage(url), BulkStorage(url)
        yield read_by_both
        for storage in read_by_both:
            storage.scoped_session.remove()
            storage.engine.dispose()


@pytest.fixture(params=[2, trial_rows.TRIALS_PER_STATEMENT])
def _trials_per_statement(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_rows, "TRIALS_PER_STATEMENT", request.param)


def parts_of(trial: FrozenTrial) -> list[str]:
    """Return all that a trial holds as texts, so that NaN equals itself; attributes and steps have no order."""
    shown = {name: sorted(map(repr, vars(trial)[name].items())) for name in ("_user_attrs", "_system_attrs")}
    shown["intermediate_values"] = sorted(map(repr, trial.intermediate_values.items()))
    return [f"{name}={shown.get(name, value)!r}" for name, value in vars(trial).items()]


def read_by_both(storages: Storages, study_id: int, *given: Any) -> tuple[list[list[str]], ...]:
    """Return trials as Optuna's storage reads them, and as ours does."""
    return tuple([parts_of(trial) for trial in storage._get_trials(study_id, *given)] for storage in storages)


def make_study(storage: RDBStorage, *directions: Direction) -> int:
    return id_of_study(optuna.create_study(storage=storage, directions=list(directions)))


def fill(storage: RDBStorage) -> tuple[int, int]:
    """Make two studies, of one and of two objectives, whose trials were written in turn; return their numbers."""
    first, second = make_study(storage, "maximize"), make_study(storage, "maximize", "minimize")
    waiting = template(TrialState.WAITING, system_attrs={"fixed_params": {"width": 24}})
    for one, several in zip([*TEMPLATES.values(), waiting, None], [*SEVERAL.values()] * 4, strict=False):
        storage.create_new_trial(first, one)
        storage.create_new_trial(second, several)
    return first, second


@pytest.mark.usefixtures("_trials_per_statement")
def test_trials_of_all_states_are_read_as_optuna_reads_them(storages: Storages) -> None:
    for study_id in fill(storages[0]):
        optunas, ours = read_by_both(storages, study_id, None, set(), -1)
        assert len(ours) == len(TEMPLATES) + 2
        assert ours == optunas
        for states in ((TrialState.COMPLETE,), UNFINISHED, (TrialState.PRUNED, TrialState.FAIL), ()):
            optunas, ours = read_by_both(storages, study_id, states, set(), -1)
            assert ours == optunas


@pytest.mark.usefixtures("_trials_per_statement")
def test_newer_trials_and_chosen_older_ones_are_read_as_optuna_reads_them(storages: Storages) -> None:
    for study_id in fill(storages[0]):
        ids = [id_of_trial(trial) for trial in storages[0].get_all_trials(study_id)]
        for after in (-1, ids[0], ids[4], ids[-1]):
            for others in (set(), set(ids[:1]), {*ids[1:4], ids[-1]}, set(ids), {ids[0] + 1, ids[-1] + 100}):
                optunas, ours = read_by_both(storages, study_id, None, others, after)
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
    assert list(map(parts_of, optunas.get_all_trials(study_id))) == list(map(parts_of, (ended, running)))
    optunas.engine.dispose()


def test_an_empty_study_has_no_trials_and_a_missing_one_raises(storages: Storages) -> None:
    storage = storages[1]
    assert storage.get_all_trials(make_study(storage, "maximize")) == []
    with pytest.raises(KeyError):
        storage.get_all_trials(10**6)


def test_trials_share_no_mutable_values(storages: Storages) -> None:
    storage = storages[1]
    first, _, other, *_ = storage.get_all_trials(fill(storage)[0], deepcopy=False)
    before = parts_of(other)
    for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
        getattr(first, name).clear()
    assert parts_of(other) == before


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["new", "begin", "wait", "attribute", "epoch", "end", "read"]),
        st.integers(0, 1),
        st.integers(0, 20),
    ),
    max_size=12,
)


@given(ACTIONS)
@settings(max_examples=15)
def test_a_cache_reads_the_changes_of_other_processes(storages: Storages, actions: list[tuple[str, int, int]]) -> None:
    writer, cached = storages[0], get_storage(storages[1])
    studies = [make_study(writer, "maximize"), make_study(writer, "minimize", "maximize")]
    for action, which, number in [*actions, ("read", 0, 0), ("read", 1, 0)]:
        if action == "read":
            kept = cached.get_all_trials(studies[which], deepcopy=False)
            assert list(map(parts_of, kept)) == list(map(parts_of, writer.get_all_trials(studies[which])))
        else:
            write(writer, studies[which], action, number, objectives=1 + which)


def write(storage: RDBStorage, study_id: int, action: str, number: int, objectives: int) -> None:
    """Begin a trial, or change one that has begun."""
    templates = list((TEMPLATES if objectives == 1 else SEVERAL).values())
    begun = {"new": templates[number % len(templates)], "wait": template(TrialState.WAITING), "begin": None}
    if action in begun:
        storage.create_new_trial(study_id, begun[action])
        return
    running = storage.get_all_trials(study_id, states=(TrialState.RUNNING,))
    if not running:
        return
    trial_id = id_of_trial(running[number % len(running)])
    if action == "attribute":
        storage.set_trial_user_attr(trial_id, f"key {number % 3}", {"number": number})
    elif action == "epoch":
        storage.set_trial_intermediate_value(trial_id, number % 4, float("nan") if number % 5 == 0 else number / 7)
    else:
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [number / 3] * objectives)


def test_many_trials_are_read_in_few_statements(tmp_path: Path) -> None:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    study_id = make_study(storage, "maximize")
    for _ in range(30):
        storage.create_new_trial(study_id, TEMPLATES["complete"])
    seen: list[object] = []
    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    assert len(storage.get_all_trials(study_id)) == 30
    assert len(seen) <= 8


def test_a_broken_database_raises_the_error_of_optuna(tmp_path: Path) -> None:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    study_id = make_study(storage, "maximize")
    storage.create_new_trial(study_id, TEMPLATES["complete"])
    with storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE trial_params"))
    with pytest.raises(optuna.exceptions.StorageInternalError):
        storage.get_all_trials(study_id)
