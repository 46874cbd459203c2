"""Trials written in few statements: the same rows as Optuna's own storage writes, in one transaction."""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nas.objective import Direction
from nas.samplers.base import distributions
from nas.space.files import find_space
from nas.studies.bulk_storage import BulkStorage
from tests.search.fake_trials import SEVERAL, TEMPLATES, template
from tests.search.fakes import make_space


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def contents(storage: RDBStorage) -> dict[str, list[tuple[object, ...]]]:
    """Every table by raw SQL, but for rows' own numbers; rows of one table in an order of their own."""
    found: dict[str, list[tuple[object, ...]]] = {}
    own = {"param_id", "trial_value_id", "trial_user_attribute_id", "trial_system_attribute_id"}
    own |= {"trial_intermediate_value_id", "study_user_attribute_id", "study_system_attribute_id"}
    for table in sqlalchemy.inspect(storage.engine).get_table_names():
        columns = [c["name"] for c in sqlalchemy.inspect(storage.engine).get_columns(table) if c["name"] not in own]
        query = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 -- names of Optuna's own tables
        with storage.engine.connect() as connection:
            found[table] = sorted((tuple(row) for row in connection.execute(sqlalchemy.text(query))), key=repr)
    return found


def pair(directions: Sequence[Direction]) -> tuple[tuple[RDBStorage, int], tuple[RDBStorage, int]]:
    """Optuna's storage and ours, a study in each."""
    storages = RDBStorage("sqlite://"), BulkStorage("sqlite://")
    studies = [optuna.create_study(storage=s, study_name="demo", directions=list(directions)) for s in storages]
    return (storages[0], studies[0]._study_id), (storages[1], studies[1]._study_id)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_trial_has_the_same_rows(name: str) -> None:
    before = repr(TEMPLATES[name])
    ours = []
    for storage, study_id in pair(["maximize"]):
        storage.create_new_trial(study_id, TEMPLATES[name])
        ours.append(contents(storage))
    assert ours[0] == ours[1]
    assert len(ours[1]["trials"]) == 1
    assert repr(TEMPLATES[name]) == before


@pytest.mark.parametrize(("templates", "directions"), [(TEMPLATES, ["maximize"]), (SEVERAL, ["maximize", "minimize"])])
def test_many_trials_have_the_same_rows_and_are_read_alike(
    templates: dict[str, FrozenTrial], directions: list[Direction]
) -> None:
    found, read = [], []
    for storage, study_id in pair(directions):
        for each in (*templates.values(), None, *templates.values()):
            if each is not None:
                storage.create_new_trial(study_id, each)
        found.append(contents(storage))
        read.append([repr(trial) for trial in storage.get_all_trials(study_id)])
    assert found[0] == found[1]
    assert read[0] == read[1]
    assert len(found[1]["trials"]) == 2 * len(templates)


def test_a_trial_without_a_template_is_optunas() -> None:
    _, (storage, study_id) = pair(["maximize"])
    numbers = [storage.get_trial(storage.create_new_trial(study_id)).number for _ in range(3)]
    assert numbers == [0, 1, 2]
    assert {trial.state for trial in storage.get_all_trials(study_id)} == {TrialState.RUNNING}


def test_numbers_are_those_of_each_study() -> None:
    _, (storage, first) = pair(["maximize"])
    second = optuna.create_study(storage=storage, study_name="other")._study_id
    numbers = [
        storage.get_trial_number_from_id(storage.create_new_trial(study, TEMPLATES["complete"]))
        for study in (first, second, second, first, second)
    ]
    assert numbers == [0, 0, 1, 1, 2]


def test_a_running_trial_can_be_written_to_and_an_ended_one_cannot() -> None:
    _, (storage, study_id) = pair(["maximize"])
    running = storage.create_new_trial(study_id, TEMPLATES["running"])
    storage.set_trial_user_attr(running, "later", 1)
    storage.set_trial_intermediate_value(running, 1, 0.5)
    storage.set_trial_state_values(running, TrialState.COMPLETE, [0.5])
    assert storage.get_trial(running).user_attrs["later"] == 1
    ended = storage.create_new_trial(study_id, TEMPLATES["complete"])
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_user_attr(ended, "later", 1)


def one(kind: BaseDistribution, value: Any, name: str = "x") -> FrozenTrial:
    return template(TrialState.COMPLETE, [0.5], params={name: value}, distributions={name: kind}, user_attrs={})


SETS = CategoricalDistribution(("a", "b"))
WAYS = [
    (one(SETS, "a"), one(CategoricalDistribution(("a", "c")), "a")),
    (one(SETS, "a"), one(FloatDistribution(0, 1), 0.5)),
    (one(FloatDistribution(0.1, 1), 0.5), one(FloatDistribution(0.1, 1, log=True), 0.5)),
    (one(IntDistribution(0, 4), 1), one(FloatDistribution(0, 4), 1.0)),
    # These are compatible:
    (one(FloatDistribution(0, 1), 0.5), one(FloatDistribution(0, 9), 5.0)),
    (one(SETS, "a"), one(CategoricalDistribution(("a", "c")), "a", "y")),
]


def refusals(trials: Sequence[FrozenTrial]) -> list[tuple[list[str], int]]:
    """For Optuna's storage and ours: what each said, and how many trials there are then."""
    told = []
    for storage, study_id in pair(["maximize"]):
        said = []
        for trial in trials:
            try:
                storage.create_new_trial(study_id, trial)
                said.append("")
            except ValueError as error:
                said.append(str(error))
        rows = contents(storage)
        assert len(rows["trials"]) == said.count("")
        assert [trial.number for trial in storage.get_all_trials(study_id)] == list(range(said.count("")))
        told.append((said, len(rows["trial_params"])))
    return told


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_what_optuna_refuses_is_refused_and_leaves_nothing_behind(way: int) -> None:
    optunas, ours = refusals([*WAYS[way], WAYS[way][0]])
    assert ours == optunas
    assert (ours[0][1] == "") == (way >= 4)


@pytest.mark.parametrize(
    "first",
    [
        template(TrialState.FAIL, params={}, distributions={}),
        one(SETS, "a", "other"),
    ],
)
def test_what_optuna_refuses_is_refused_whichever_trial_had_it_first(first: FrozenTrial) -> None:
    optunas, ours = refusals([first, *WAYS[0]])
    assert optunas[0][2] != ""
    assert ours == optunas


def large() -> FrozenTrial:
    space = find_space("mnasnet")
    params = space.params([0] * len(space.all_choices))
    return template(TrialState.COMPLETE, [0.5], params=params, distributions=distributions(space))


def test_a_trial_is_one_transaction_of_few_statements() -> None:
    counts = []
    for storage, study_id in pair(["maximize"]):
        storage.create_new_trial(study_id, large())
        commits: list[object] = []
        statements: list[object] = []
        sqlalchemy.event.listen(storage.engine, "commit", commits.append)
        sqlalchemy.event.listen(
            storage.engine, "before_cursor_execute", lambda *given, seen=statements: seen.append(given[2])
        )
        storage.create_new_trial(study_id, large())
        counts.append((len(commits), len(statements)))
    (_, optunas), (commits_of_ours, ours) = counts
    assert commits_of_ours == 1
    assert ours <= 12 < optunas / 5


def test_nothing_is_left_of_a_trial_that_cannot_be_written(tmp_path: Path) -> None:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    study_id = optuna.create_study(storage=storage)._study_id
    broken = template(TrialState.COMPLETE, [0.5], user_attrs={"ok": 1})
    broken.user_attrs["object"] = object()
    with pytest.raises(TypeError):
        storage.create_new_trial(study_id, broken)
    assert contents(storage)["trials"] == contents(storage)["trial_params"] == []
    assert storage.get_trial(storage.create_new_trial(study_id, TEMPLATES["complete"])).number == 0


def _create(url: str, count: int, barrier: Any) -> None:
    storage = BulkStorage(url)
    study_id = storage.get_study_id_from_name("demo")
    space = make_space()
    params = space.params([0] * len(space.all_choices))
    trial = template(TrialState.COMPLETE, [0.5], params=params, distributions=distributions(space))
    barrier.wait(120)
    for _ in range(count):
        storage.create_new_trial(study_id, trial)


@pytest.mark.slow
def test_two_processes_at_once_get_distinct_numbers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    storage = BulkStorage(url)
    study_id = optuna.create_study(storage=storage, study_name="demo")._study_id
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_create, args=(url, 40, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(150)
    assert [process.exitcode for process in processes] == [0, 0]
    trials = storage.get_all_trials(study_id)
    assert sorted(trial.number for trial in trials) == list(range(80))
    assert all(len(trial.params) == len(trials[0].params) > 0 for trial in trials)
