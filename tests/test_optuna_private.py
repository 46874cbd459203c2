"""What `nas.optuna_private` assumes of Optuna's private interface, and that no other module uses that interface.

A new version of Optuna that breaks an assumption fails here, with a message that names it.
"""

import ast
import importlib
import inspect
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseGASampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.optuna_private import tables
from nas.optuna_private.identity import name_metrics, set_trial_id, storage_of, study_id, trial_id, validate
from nas.optuna_private.in_memory import clear_trial_cache, generation_key, remove_last_trial
from nas.optuna_private.storage import CachedStorage, HookedStorage, backend_of, transaction
from tests.test_imports import modules

_NAS = Path(__file__).parent.parent / "nas"
_TOLD = f"Optuna {optuna.__version__} differs from what nas.optuna_private assumes"


@pytest.fixture(autouse=True)
def _without_messages_of_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


_SIGNATURES: list[tuple[Callable[..., Any], str]] = [
    (RDBStorage._get_trials, "self, study_id, states, included_trial_ids, trial_id_greater_than"),
    (RDBStorage._create_new_trial, "self, study_id, template_trial"),
    (RDBStorage._get_prepared_new_trial, "self, study_id, template_trial, session"),
    (RDBStorage._build_frozen_trial_from_trial_model, "self, trial"),
    (RDBStorage.remove_session, "self"),
    (_CachedStorage.__init__, "self, backend"),
    (_create_scoped_session, "scoped_session, ignore_integrity_error"),
    (models.StudyModel.find_or_raise_by_id, "study_id, session, for_update"),
    (models.TrialModel.find_or_raise_by_id, "trial_id, session, for_update"),
    (models.TrialModel.count_past_trials, "self, session"),
    (models.TrialValueModel.value_to_stored_repr, "value"),
    (models.TrialValueModel.stored_repr_to_value, "value, float_type"),
    (models.TrialIntermediateValueModel.intermediate_value_to_stored_repr, "value"),
    (models.TrialIntermediateValueModel.stored_repr_to_intermediate_value, "value, float_type"),
    (FrozenTrial._validate, "self"),
    (BaseGASampler._get_generation_key, ""),
    (Trial.__init__, "self, study, trial_id"),
]


@pytest.mark.parametrize(("function", "expected"), _SIGNATURES, ids=lambda given: getattr(given, "__qualname__", ""))
def test_private_functions_have_the_expected_parameters(function: Callable[..., Any], expected: str) -> None:
    found = ", ".join(inspect.signature(function).parameters)
    assert found == expected, f"{_TOLD}: {function.__qualname__} takes ({found}), not ({expected})"


_COLUMNS: Mapping[str, tuple[sqlalchemy.Table, Mapping[str, type[Any]]]] = {
    "study_user_attributes": (
        tables.STUDY_ATTRIBUTES,
        {
            "study_user_attribute_id": sqlalchemy.Integer,
            "study_id": sqlalchemy.Integer,
            "key": sqlalchemy.String,
            "value_json": sqlalchemy.Text,
        },
    ),
    "study_system_attributes": (
        tables.STUDY_SYSTEM_ATTRIBUTES,
        {
            "study_system_attribute_id": sqlalchemy.Integer,
            "study_id": sqlalchemy.Integer,
            "key": sqlalchemy.String,
            "value_json": sqlalchemy.Text,
        },
    ),
    "trials": (
        tables.TRIALS,
        {
            "trial_id": sqlalchemy.Integer,
            "number": sqlalchemy.Integer,
            "study_id": sqlalchemy.Integer,
            "state": sqlalchemy.Enum,
            "datetime_start": sqlalchemy.DateTime,
            "datetime_complete": sqlalchemy.DateTime,
        },
    ),
    "trial_params": (
        tables.PARAMS,
        {
            "param_id": sqlalchemy.Integer,
            "trial_id": sqlalchemy.Integer,
            "param_name": sqlalchemy.String,
            "param_value": sqlalchemy.Float,
            "distribution_json": sqlalchemy.Text,
        },
    ),
    "trial_values": (
        tables.VALUES,
        {
            "trial_value_id": sqlalchemy.Integer,
            "trial_id": sqlalchemy.Integer,
            "objective": sqlalchemy.Integer,
            "value": sqlalchemy.Float,
            "value_type": sqlalchemy.Enum,
        },
    ),
    "trial_intermediate_values": (
        tables.STEPS,
        {
            "trial_intermediate_value_id": sqlalchemy.Integer,
            "trial_id": sqlalchemy.Integer,
            "step": sqlalchemy.Integer,
            "intermediate_value": sqlalchemy.Float,
            "intermediate_value_type": sqlalchemy.Enum,
        },
    ),
    "trial_user_attributes": (
        tables.USER_ATTRIBUTES,
        {
            "trial_user_attribute_id": sqlalchemy.Integer,
            "trial_id": sqlalchemy.Integer,
            "key": sqlalchemy.String,
            "value_json": sqlalchemy.Text,
        },
    ),
    "trial_system_attributes": (
        tables.SYSTEM_ATTRIBUTES,
        {
            "trial_system_attribute_id": sqlalchemy.Integer,
            "trial_id": sqlalchemy.Integer,
            "key": sqlalchemy.String,
            "value_json": sqlalchemy.Text,
        },
    ),
}


@pytest.mark.parametrize("name", _COLUMNS)
def test_tables_have_the_expected_columns(name: str) -> None:
    table, expected = _COLUMNS[name]
    found = {column.name: type(column.type) for column in table.columns}
    assert table.name == name, f"{_TOLD}: the table {name} is called {table.name}"
    assert found == dict(expected), f"{_TOLD}: the columns of the table {name} are {found}"


def test_no_table_holds_parts_of_a_trial_that_are_not_known_here() -> None:
    """A part of a trial that is neither written nor read would be lost without a message."""
    known = {name for name in _COLUMNS if name.startswith("trial")} | {"trial_heartbeats"}
    found = {name for name in models.BaseModel.metadata.tables if name.startswith("trial")}
    assert found == known, f"{_TOLD}: the tables of trials are {sorted(found)}"


_PARTS = ["number", "state", "values", "datetime_start", "datetime_complete", "params", "distributions"]
_PARTS += ["user_attrs", "system_attrs", "intermediate_values", "trial_id"]


def test_a_trial_has_the_expected_parts() -> None:
    found = [name for name in inspect.signature(FrozenTrial).parameters if name != "value"]
    assert sorted(found) == sorted(_PARTS), f"{_TOLD}: a FrozenTrial is made of {found}"


BEGUN, ENDED = datetime(2026, 7, 2, 3, 4, 5, 678901), datetime(2026, 7, 2, 3, 4, 6)


def finished_trial(**given: Any) -> FrozenTrial:
    rest: dict[str, Any] = {
        "params": {"rate": 0.5, "kind": "b"},
        "distributions": {"rate": FloatDistribution(0, 1), "kind": CategoricalDistribution(("a", "b"))},
        "user_attrs": {"arch": "text", "list": [1, None]},
        "system_attrs": {"generation": 1},
        "intermediate_values": {1: 0.25, 2: float("nan"), 3: float("-inf")},
    }
    trial = create_trial(values=[0.75], **(rest | given))
    trial.datetime_start, trial.datetime_complete = BEGUN, ENDED
    return trial


class RecordingStorage(HookedStorage):
    """A storage whose hooks record that they were called, and then do what Optuna does, as rows show it."""

    def __init__(self, url: str) -> None:
        self.calls: list[str] = []
        super().__init__(url)

    def read_trials(
        self,
        session: Any,
        study_id: int,
        after: int,
        others: Collection[int],
        states: Container[TrialState] | None,
    ) -> list[FrozenTrial]:
        self.calls.append(f"read after {after} and {sorted(others)}")
        wanted = session.query(models.TrialModel).filter(models.TrialModel.study_id == study_id)
        rows = wanted.order_by(models.TrialModel.trial_id).all()
        chosen = [row for row in rows if row.trial_id > after or row.trial_id in others]
        return [self._build_frozen_trial_from_trial_model(row) for row in chosen if not states or row.state in states]

    def write_contents(self, session: Any, study_id: int, trial_id: int, template: FrozenTrial) -> None:  # noqa: ARG002
        self.calls.append(f"write {trial_id}")
        for table, rows in tables.content_rows(template):
            if rows:
                session.execute(sqlalchemy.insert(table), [{"trial_id": trial_id, **row} for row in rows])

    def trial_was_created(self, study_id: int, trial: FrozenTrial) -> None:  # noqa: ARG002
        with self.engine.connect() as connection:
            count = connection.execute(sqlalchemy.select(sqlalchemy.func.count(tables.TRIALS.c.trial_id))).scalar_one()
        self.calls.append(f"created {trial.number} of {count}")


@pytest.fixture(name="storage")
def _storage(tmp_path: Path) -> Iterator[RecordingStorage]:
    storage = RecordingStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def new_study(storage: BaseStorage | None = None) -> Study:
    return optuna.create_study(storage=storage, direction="maximize", sampler=RandomSampler(0))


@pytest.mark.parametrize("cached", [True, False])
def test_every_way_to_create_a_trial_calls_the_hooks(storage: RecordingStorage, cached: bool) -> None:
    study = new_study(storage)
    used = storage_of(study) if cached else storage
    storage.calls.clear()
    used.create_new_trial(study_id(study), finished_trial())
    assert storage.calls == ["write 1", "created 0 of 1"], _TOLD
    storage.calls.clear()
    used.create_new_trial(study_id(study))
    assert storage.calls == ["created 1 of 2"], _TOLD
    storage.calls.clear()
    study.add_trial(finished_trial())
    assert storage.calls == ["write 3", "created 2 of 3"], _TOLD


def test_every_reading_of_several_trials_calls_the_hook(storage: RecordingStorage) -> None:
    study = new_study(storage)
    study.add_trial(finished_trial())
    running = study.ask()
    for read in (
        lambda: storage.get_all_trials(study_id(study)),
        lambda: storage.get_n_trials(study_id(study)),
        lambda: study.trials,
        lambda: study.get_trials(states=(TrialState.COMPLETE,)),
    ):
        storage.calls.clear()
        read()
        assert len(storage.calls) == 1, f"{_TOLD}: trials were read by {storage.calls}"
    # The cache asks for running trials again, and for those behind the last one that has ended.
    assert storage.calls == [f"read after 1 and {[] if trial_id(running) > 1 else [trial_id(running)]}"], _TOLD


def test_the_cache_reads_a_running_trial_again_until_it_has_ended(storage: RecordingStorage) -> None:
    study = new_study(storage)
    running = study.ask()
    study.add_trial(finished_trial())
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "COMPLETE"]
    storage.calls.clear()
    storage.set_trial_user_attr(trial_id(running), "by another process", 1)
    assert study.trials[0].user_attrs == {"by another process": 1}
    assert storage.calls == ["read after 2 and [1]"], _TOLD


def test_a_trial_is_read_as_it_was_written(storage: RecordingStorage) -> None:
    study, written = new_study(storage), finished_trial()
    number = storage.create_new_trial(study_id(study), written)
    plain = RDBStorage(storage.url)
    for read in (plain.get_trial(number), storage.get_trial(number), storage.get_all_trials(study_id(study))[0]):
        set_trial_id(written, number)
        written.number = 0
        assert repr(read) == repr(written), _TOLD
    assert repr(storage.trial_with_study_id(number)) == repr((study_id(study), written))
    plain.engine.dispose()


@pytest.mark.usefixtures("in_time_zone")
def test_times_are_stored_as_utc_and_read_as_local_time(storage: RecordingStorage) -> None:
    study = new_study(storage)
    study.add_trial(finished_trial())
    columns = tables.TRIALS.c.datetime_start, tables.TRIALS.c.datetime_complete
    with storage.engine.connect() as connection:
        begun, ended = connection.execute(sqlalchemy.select(*columns)).one()
    utc = (BEGUN.timestamp(), ENDED.timestamp())
    assert ((begun - datetime(1970, 1, 1)).total_seconds(), (ended - datetime(1970, 1, 1)).total_seconds()) == utc, (
        f"{_TOLD}: the table of trials does not hold times as UTC"
    )
    assert (tables.local_time(begun), tables.local_time(ended)) == (BEGUN, ENDED)
    assert tables.local_time(None) is None
    read = storage.get_trial(1)
    assert (read.datetime_start, read.datetime_complete) == (BEGUN, ENDED), _TOLD


@pytest.mark.parametrize("value", [0.1 + 0.2, float("inf"), float("-inf")])
def test_values_and_steps_are_read_as_they_were_stored(storage: RecordingStorage, value: float) -> None:
    new_study(storage).add_trial(finished_trial(intermediate_values={1: value}))
    with transaction(storage) as session:
        session.execute(sqlalchemy.delete(tables.VALUES))
        session.execute(
            sqlalchemy.insert(tables.VALUES),
            [{"trial_id": 1} | row for row in tables.content_rows(create_trial(values=[value]))[0][1]],
        )
    with storage.engine.connect() as connection:
        row = connection.execute(sqlalchemy.select(tables.VALUES.c.value, tables.VALUES.c.value_type)).one()
        columns = tables.STEPS.c.intermediate_value, tables.STEPS.c.intermediate_value_type
        step = connection.execute(sqlalchemy.select(*columns)).one()
    assert (tables.read_value(*row), tables.read_step(*step)) == (value, value), _TOLD
    assert storage.get_trial(1).values == [value], _TOLD


def test_a_trial_is_written_in_one_transaction_or_not_at_all(
    storage: RecordingStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(storage)
    commits: list[object] = []
    sqlalchemy.event.listen(storage.engine, "commit", commits.append)
    storage.create_new_trial(study_id(study), finished_trial())
    assert len(commits) == 1, f"{_TOLD}: a trial is written in {len(commits)} transactions"

    def fail(*_given: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(RecordingStorage, "write_contents", fail)
    with pytest.raises(RuntimeError, match="broken"):
        storage.create_new_trial(study_id(study), finished_trial())
    assert len(storage.get_all_trials(study_id(study))) == 1, _TOLD


def test_trials_of_a_callers_transaction_are_numbered_in_order(storage: RecordingStorage) -> None:
    first, second = study_id(new_study(storage)), study_id(new_study(storage))
    with transaction(storage) as session:
        tables.lock_study(session, first)
        numbers = [storage.insert_trial(session, study, finished_trial()) for study in (first, second, first)]
    assert numbers == [(1, 0), (2, 0), (3, 1)], _TOLD
    assert [trial.number for trial in storage.get_all_trials(first)] == [0, 1]


def test_a_trial_that_was_written_into_a_row_has_ended(storage: RecordingStorage) -> None:
    study = new_study(storage)
    running = study.ask()
    with transaction(storage) as session:
        tables.end_trial_row(session, trial_id(running), TrialState.FAIL, ENDED)
    (ended,) = storage.get_all_trials(study_id(study))
    assert (ended.state, ended.datetime_complete) == (TrialState.FAIL, ENDED), _TOLD
    with pytest.raises(StorageInternalError), transaction(storage) as session:
        tables.end_trial_row(session, 99, TrialState.FAIL, ENDED)


def test_a_study_that_was_written_into_tables_is_one_of_optuna(storage: RecordingStorage) -> None:
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    with transaction(storage) as session:
        number = tables.insert_study(session, "demo", directions)
        rows = [{"study_id": number, **row} for row in tables.attribute_rows({"owner": {"name": "ß"}})]
        session.execute(sqlalchemy.insert(tables.STUDY_ATTRIBUTES), rows)
    study = optuna.load_study(study_name="demo", storage=storage)
    assert (study_id(study), study.directions, study.user_attrs) == (number, directions, {"owner": {"name": "ß"}})


def test_values_are_named_once(storage: RecordingStorage) -> None:
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    name_metrics(study, ["accuracy", "macs"])
    name_metrics(study, ["other", "names"])
    assert optuna.load_study(storage=storage, study_name=study.study_name).metric_names == ["accuracy", "macs"]
    study.add_trial(optuna.trial.create_trial(values=[0.5, 2.0]))
    assert {"values_accuracy", "values_macs"} <= set(study.trials_dataframe().columns)


@pytest.mark.parametrize("check", [tables.require_study, tables.lock_study])
def test_a_study_that_is_not_there_is_a_key_error(storage: RecordingStorage, check: Callable[..., None]) -> None:
    for read in (lambda: storage.get_all_trials(99), lambda: storage.trial_with_study_id(99)):
        with pytest.raises(KeyError):
            read()
    with pytest.raises(KeyError), transaction(storage) as session:
        check(session, 99)


def test_a_transaction_is_committed_rolled_back_or_explained(storage: RecordingStorage) -> None:
    study = new_study(storage)
    with transaction(storage) as session:
        tables.insert_study(session, "demo", [StudyDirection.MAXIMIZE])
    with pytest.raises(ZeroDivisionError), transaction(storage) as session:
        tables.insert_study(session, "other", [StudyDirection.MAXIMIZE]) / 0
    with pytest.raises(sqlalchemy.exc.IntegrityError), transaction(storage) as session:
        tables.insert_study(session, "demo", [StudyDirection.MAXIMIZE])
    with pytest.raises(StorageInternalError) as error, transaction(storage) as session:
        session.execute(sqlalchemy.text("SELECT nothing FROM nowhere"))
    assert isinstance(error.value.__cause__, sqlalchemy.exc.OperationalError), f"{_TOLD}: the cause is lost"
    assert sorted(optuna.get_all_study_names(storage)) == sorted(["demo", study.study_name])


@pytest.mark.parametrize("column", ["distribution_json", "param_value"])
def test_rows_that_are_no_trial_are_a_failure_of_the_storage(storage: RecordingStorage, column: str) -> None:
    study = new_study(storage)
    study.add_trial(finished_trial())
    broken = {"distribution_json": "{}", "param_value": 99.0}
    with transaction(storage) as session:
        session.execute(sqlalchemy.update(tables.PARAMS).values({column: broken[column]}))
    for read in (lambda: storage.get_trial(1), lambda: storage.get_all_trials(study_id(study))):
        with pytest.raises(StorageInternalError, match="cannot be read"):
            read()


def test_a_storage_is_found_behind_the_cache_and_in_front_of_none(storage: RecordingStorage) -> None:
    study, in_memory = new_study(storage), InMemoryStorage()
    assert isinstance(storage_of(study), CachedStorage), f"{_TOLD}: a relational storage has another cache"
    assert backend_of(storage_of(study)) is storage
    assert backend_of(get_storage(storage)) is storage
    assert backend_of(storage) is storage
    assert backend_of(in_memory) is in_memory


def test_numbers_in_the_storage_are_the_same_by_every_way(storage: RecordingStorage) -> None:
    new_study(storage).add_trial(finished_trial())
    study = new_study(storage)
    asked = study.ask()
    assert trial_id(asked) == trial_id(study.trials[0]) == 2, _TOLD
    assert study_id(study) == study_id(storage.get_all_studies()[1]) == 2, _TOLD


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"values": None}, ValueError),
        ({"params": {"rate": 2.0, "kind": "b"}}, ValueError),
        ({"params": {"rate": None, "kind": "b"}}, ValueError),
        ({"params": {"rate": 0.5}}, ValueError),
    ],
)
def test_a_trial_that_breaks_a_rule_is_not_valid(changes: dict[str, Any], error: type[Exception]) -> None:
    trial = finished_trial()
    validate(trial)
    for name, value in changes.items():
        setattr(trial, name, value)
    with pytest.raises(error):
        validate(trial)


def in_memory_state(study: Study) -> dict[str, Any]:
    """Return everything that a storage in memory holds, except for what a trial that was removed may change.

    That is the lock, the next number, and the number from which the search for waiting trials begins: none waits here.
    """
    storage = storage_of(study)
    changing = ("_lock", "_max_trial_id", "_prev_waiting_trial_number", "_studies")
    return {name: repr(value) for name, value in vars(storage).items() if name not in changing} | {
        f"study {number} {name}": repr(value)
        for number, held in vars(storage)["_studies"].items()
        for name, value in vars(held).items()
        if name != "param_distribution"
    }


@pytest.mark.parametrize("sampler", [RandomSampler, TPESampler, NSGAIISampler])
def test_a_trial_that_was_removed_leaves_nothing_in_a_study_in_memory(sampler: type[Any]) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(seed=0))
    kinds: dict[str, BaseDistribution] = {"rate": FloatDistribution(0, 1)}
    for _ in range(3):
        study.tell(study.ask(kinds), 0.5)
    before = in_memory_state(study)
    trial = study.ask(kinds)
    remove_last_trial(study, trial_id(trial))
    assert in_memory_state(study) == before, _TOLD
    with pytest.raises(KeyError):
        storage_of(study).get_trial(trial_id(trial))
    again = study.ask(kinds)
    assert again.number == 3, _TOLD
    study.tell(again, 0.5)
    assert [each.number for each in study.trials] == [0, 1, 2, 3]


def test_a_study_reads_its_trials_anew_after_its_cache_was_cleared() -> None:
    study = new_study()
    study.ask()
    assert len(study._get_trials(use_cache=True)) == 1, _TOLD
    study.add_trial(finished_trial())
    assert len(study._get_trials(use_cache=True)) == 1, _TOLD
    clear_trial_cache(study)
    assert len(study._get_trials(use_cache=True)) == 2, _TOLD


def test_genetic_samplers_keep_the_generation_under_the_expected_key() -> None:
    sampler = NSGAIISampler(seed=0, population_size=2)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=5)
    generations = [trial.system_attrs.get(generation_key(NSGAIISampler)) for trial in study.trials]
    assert generations == [0, 0, 1, 1, 2], _TOLD
    assert sampler.population_size == 2


# The methods of the cache that are repeated while a database does not answer.
_REPEATED = ["get_all_trials", "get_trial", "get_study_user_attrs", "get_study_system_attrs", "set_study_user_attr"]
_REPEATED += ["set_study_system_attr", "set_trial_user_attr", "set_trial_system_attr", "set_trial_intermediate_value"]


@pytest.mark.parametrize("name", _REPEATED)
def test_the_cache_has_the_methods_that_are_repeated(name: str) -> None:
    cached, public = getattr(_CachedStorage, name, None), getattr(BaseStorage, name)
    assert cached is not None, f"{_TOLD}: the cache has no {name}"
    assert [*inspect.signature(cached).parameters] == [*inspect.signature(public).parameters], _TOLD


# Private names of Optuna's objects that a module may not use even where a class of its own has the same name.
_ALWAYS_REFUSED = frozenset({"_storage", "_study_id", "_trial_id", "_backend", "_thread_local", "_studies"})


def private_names_used(tree: ast.Module) -> Iterator[str]:
    """Yield imports of private names, and accesses to private attributes that the module does not define."""
    own = {*defined_names(tree)} - _ALWAYS_REFUSED
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            whole = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (name for name in whole if any(is_private(part) for part in name.split(".")))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield f".{node.attr}"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr"):
            texts = (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
            yield from (f"getattr {text}" for text in texts if is_private(text) and text not in own)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Yield functions, variables and attributes that a module defines or assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def uses_optuna(tree: ast.Module) -> bool:
    """Return whether a module imports Optuna, or a module of `nas` that hands out objects of Optuna."""
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    sources = ("optuna", "nas.optuna_private", "nas.samplers", "nas.studies", "nas.search")
    return any(name == source or name.startswith(f"{source}.") for name in names for source in sources)


def outside() -> dict[str, ast.Module]:
    trees = modules(_NAS)
    return {name: tree for name, tree in trees.items() if not name.startswith("nas.optuna_private")}


def test_no_other_module_uses_private_names_of_optuna() -> None:
    found = {name: [*private_names_used(tree)] for name, tree in outside().items() if uses_optuna(tree)}
    assert {name: used for name, used in found.items() if used} == {}, "only nas.optuna_private may use private names"
    assert len(found) > 20


@pytest.mark.parametrize(
    "source",
    [
        "from optuna.storages._rdb import models",
        "from optuna.storages.x import _create_scoped_session",
        "import optuna.storages._cached_storage",
        "def f(study):\n    return study._storage",
        "class A:\n    def f(self):\n        return self._backend",
        "def f(study):\n    return getattr(study, '_storage')",
        "def f(trial):\n    trial._trial_id = 1",
    ],
)
def test_a_use_of_a_private_name_is_found(source: str) -> None:
    assert [*private_names_used(ast.parse(source))]


@pytest.mark.parametrize(
    "source", ["class A:\n    _own: int = 0\n    def f(self):\n        return self._own", "from optuna import Study"]
)
def test_a_modules_own_private_names_are_left_alone(source: str) -> None:
    assert [*private_names_used(ast.parse(source))] == []


def test_no_class_outside_replaces_a_private_method_of_optuna() -> None:
    """A method of our own would silently replace one that a new version of Optuna calls by the same name."""
    found, seen = [], 0
    for name, tree in outside().items():
        if not uses_optuna(tree):
            continue
        for each in vars(importlib.import_module(name)).values():
            if isinstance(each, type) and each.__module__ == name:
                bases = [base for base in each.__mro__ if base.__module__.startswith("optuna.")]
                seen += bool(bases)
                private = {attribute for attribute in vars(each) if is_private(attribute)} - {"_abc_impl"}
                found += [(each, attribute) for attribute in private for base in bases if attribute in vars(base)]
    assert found == []
    assert seen >= 3
