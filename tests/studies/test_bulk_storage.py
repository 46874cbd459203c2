"""Trials are written in few statements and one transaction, as the same rows that Optuna's own storage writes."""

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
from nas.optuna_private.identity import study_id as id_of_study
from nas.samplers.base import distributions
from nas.space.files import find_space
from nas.studies.bulk_storage import BulkStorage
from tests.search.fake_trials import SEVERAL, TEMPLATES, template
from tests.search.fakes import make_space


@pytest.fixture(autouse=True)
def _without_messages_of_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def contents(storage: RDBStorage) -> dict[str, list[tuple[object, ...]]]:
    """Return every table by raw SQL, without the rows' own numbers, and the rows of each table sorted."""
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
    """Return Optuna's storage and ours, each with the number of a study in it."""
    storages = RDBStorage("sqlite://"), BulkStorage("sqlite://")
    studies = [optuna.create_study(storage=s, study_name="demo", directions=list(directions)) for s in storages]
    return (storages[0], id_of_study(studies[0])), (storages[1], id_of_study(studies[1]))


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
def test_many_trials_have_the_same_rows_and_are_read_as_the_same_trials(
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


def test_a_trial_without_a_template_is_made_as_optuna_makes_it() -> None:
    _, (storage, study_id) = pair(["maximize"])
    numbers = [storage.get_trial(storage.create_new_trial(study_id)).number for _ in range(3)]
    assert numbers == [0, 1, 2]
    assert {trial.state for trial in storage.get_all_trials(study_id)} == {TrialState.RUNNING}


def test_trials_are_numbered_within_their_study() -> None:
    _, (storage, first) = pair(["maximize"])
    second = id_of_study(optuna.create_study(storage=storage, study_name="other"))
    numbers = [
        storage.get_trial_number_from_id(storage.create_new_trial(study, TEMPLATES["complete"]))
        for study in (first, second, second, first, second)
    ]
    assert numbers == [0, 0, 1, 1, 2]


def test_a_running_trial_can_be_changed_and_an_ended_one_cannot() -> None:
    _, (storage, study_id) = pair(["maximize"])
    running = storage.create_new_trial(study_id, TEMPLATES["running"])
    storage.set_trial_user_attr(running, "later", 1)
    storage.set_trial_intermediate_value(running, 1, 0.5)
    storage.set_trial_state_values(running, TrialState.COMPLETE, [0.5])
    assert storage.get_trial(running).user_attrs["later"] == 1
    ended = storage.create_new_trial(study_id, TEMPLATES["complete"])
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_user_attr(ended, "later", 1)


def trial_with(kind: BaseDistribution, value: Any, name: str = "x") -> FrozenTrial:
    return template(TrialState.COMPLETE, [0.5], params={name: value}, distributions={name: kind}, user_attrs={})


SETS = CategoricalDistribution(("a", "b"))
PAIRS = [
    (trial_with(SETS, "a"), trial_with(CategoricalDistribution(("a", "c")), "a")),
    (trial_with(SETS, "a"), trial_with(FloatDistribution(0, 1), 0.5)),
    (trial_with(FloatDistribution(0.1, 1), 0.5), trial_with(FloatDistribution(0.1, 1, log=True), 0.5)),
    (trial_with(IntDistribution(0, 4), 1), trial_with(FloatDistribution(0, 4), 1.0)),
    # These are compatible:
    (trial_with(FloatDistribution(0, 1), 0.5), trial_with(FloatDistribution(0, 9), 5.0)),
    (trial_with(SETS, "a"), trial_with(CategoricalDistribution(("a", "c")), "a", "y")),
]


def refusals(trials: Sequence[FrozenTrial]) -> list[tuple[list[str], int]]:
    """Return for Optuna's storage and ours the error of each trial, and the number of parameter rows after all."""
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


@pytest.mark.parametrize("pair_number", range(len(PAIRS)))
def test_trials_that_optuna_refuses_are_refused_and_leave_no_rows(pair_number: int) -> None:
    optunas, ours = refusals([*PAIRS[pair_number], PAIRS[pair_number][0]])
    assert ours == optunas
    assert (ours[0][1] == "") == (pair_number >= 4)


def test_the_distributions_of_another_programs_trials_stop_no_trial_of_nas() -> None:
    storage, study_id = pair(["maximize"])[1]
    other, own = PAIRS[1]
    own = template(TrialState.COMPLETE, [0.5], params=own.params, distributions=own.distributions)
    storage.create_new_trial(study_id, other)
    storage.create_new_trial(study_id, own)
    for refused in (PAIRS[1][1], template(TrialState.FAIL, params=other.params, distributions=other.distributions)):
        with pytest.raises(ValueError, match="distribution"):
            storage.create_new_trial(study_id, refused)
    assert [trial.params for trial in storage.get_all_trials(study_id)] == [other.params, own.params]


@pytest.mark.parametrize(
    "first",
    [
        template(TrialState.FAIL, params={}, distributions={}),
        trial_with(SETS, "a", "other"),
    ],
)
def test_parameters_are_compared_with_the_first_trial_that_has_them(first: FrozenTrial) -> None:
    optunas, ours = refusals([first, *PAIRS[0]])
    assert optunas[0][2] != ""
    assert ours == optunas


def large() -> FrozenTrial:
    space = find_space("mnasnet")
    params = space.params([0] * len(space.all_choices))
    return template(TrialState.COMPLETE, [0.5], params=params, distributions=distributions(space))


def test_a_trial_is_written_in_one_transaction_of_few_statements() -> None:
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


def test_a_trial_that_cannot_be_written_leaves_no_rows(tmp_path: Path) -> None:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    study_id = id_of_study(optuna.create_study(storage=storage))
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
def test_trials_of_two_processes_at_once_get_distinct_numbers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    storage = BulkStorage(url)
    study_id = id_of_study(optuna.create_study(storage=storage, study_name="demo"))
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
