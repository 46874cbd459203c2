"""Deletion of studies: all of one study, nothing of another, and none that is in use or of another tool."""

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from attrs import frozen
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import StudyError
from nas.search.run import search
from nas.search.settings import Settings
from nas.studies.bulk_storage import BulkStorage
from nas.studies.deletion import find_deletable
from nas.studies.heartbeats import GRACE_S, Heartbeat
from nas.studies.locks import Lock
from nas.studies.opening import open_storage
from nas.studies.process_identity import number_space, this_process
from nas.studies.reservations import Reservations
from nas.studies.restore import restore
from nas.studies.tables import LOCKS, META, PROCESSES, RESERVATIONS, backend, in_transaction, make_tables, now
from tests.search.fakes import FakeEvaluator, make_space

ELSEWHERE = "another-machine/1 7 1.00"


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nas.db'}"
    url: str = request.getfixturevalue("server").url
    for name in optuna.get_all_study_names(url):
        optuna.delete_study(storage=url, study_name=name)
    META.drop_all(backend(open_storage(url)).engine)
    return url


def make_study(url: str, name: str = "demo", trials: int = 2, runner: str = "") -> optuna.Study:
    """A study as a search leaves it, with a reservation for each trial."""
    study = optuna.create_study(storage=open_storage(url), study_name=name, direction="maximize")
    study.set_user_attr("nas:settings", {"format": 1})
    reservations = Reservations(backend(study._storage), study._study_id, runner or f"{number_space()} 999999999 1")
    for number in range(trials):
        reservations.begin(complete(f"{name} {number}"), trials)
    return study


def complete(arch: str) -> FrozenTrial:
    trial = create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs={"arch": arch})
    trial.datetime_start = trial.datetime_complete = datetime.now()
    return trial


def rows(storage: BulkStorage, table: sqlalchemy.Table) -> list[int]:
    """The studies that rows of a table belong to."""
    query = sqlalchemy.select(table.c.study_id)
    return list(in_transaction(storage, lambda session: session.execute(query).scalars().all()))


def beat(storage: BulkStorage, token: str, seconds_ago: float) -> None:
    make_tables(storage)
    moment = sqlalchemy.literal_column(f"{now(storage)} - {seconds_ago}", sqlalchemy.Float)
    in_transaction(
        storage, lambda session: session.execute(sqlalchemy.insert(PROCESSES).values(runner=token, beat=moment))
    )


@frozen
class PreparingEvaluator(FakeEvaluator):
    """An evaluator that does something before all evaluations."""

    during: Callable[[], object] = bool

    def prepare(self) -> None:
        """See `Preparing`."""
        self.during()

    def seconds_to_prepare(self) -> float:
        return 0.0

    def seconds_prepared(self) -> float:
        return 0.0


def delete(url: str, *, with_journal: bool = False) -> None:
    find_deletable(url, "demo").delete(with_journal=with_journal)


def test_a_study_goes_with_its_reservations_and_locks_and_no_other_study_does(url: str) -> None:
    demo, other = make_study(url), make_study(url, "other")
    storage = backend(demo._storage)
    lock = {"name": "end", "runner": f"{number_space()} 999999999 1"}
    held = [{**lock, "study_id": study._study_id} for study in (demo, other)]
    in_transaction(storage, lambda session: session.execute(sqlalchemy.insert(LOCKS), held))
    found = find_deletable(url, "demo")
    assert (found.name, found.trials) == ("demo", 2)
    found.delete(with_journal=False)
    assert optuna.get_all_study_names(url) == ["other"]
    assert rows(storage, RESERVATIONS) == [other._study_id] * 2
    assert rows(storage, LOCKS) == [other._study_id]
    assert len(optuna.load_study(storage=url, study_name="other").trials) == 2


def test_a_study_of_the_same_name_begins_anew(url: str) -> None:
    make_study(url)
    delete(url)
    again = make_study(url, trials=1)
    assert [trial.number for trial in again.trials] == [0]
    assert rows(backend(again._storage), RESERVATIONS) == [again._study_id]


def test_a_study_comes_back_from_the_journal_that_was_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    make_study(url)
    journal = find_deletable(url, "demo").journal
    assert journal == tmp_path / "nas-trials" / "demo.jsonl"
    delete(url)
    restore([journal], url)
    back = optuna.load_study(storage=url, study_name="demo")
    assert [trial.user_attrs["arch"] for trial in back.trials] == ["demo 0", "demo 1"]


def test_the_journal_can_go_too_and_those_of_other_studies_stay(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    make_study(url)
    make_study(url, "other")
    delete(url, with_journal=True)
    assert [path.name for path in (tmp_path / "nas-trials").iterdir()] == ["other.jsonl"]


def test_an_absent_study_is_told_with_those_there_are(url: str) -> None:
    make_study(url, "other")
    with pytest.raises(StudyError, match="there is no study 'demo'") as raised:
        find_deletable(url, "demo")
    assert raised.value.remedy == "its studies are other"


def test_a_study_of_another_tool_is_refused(url: str) -> None:
    study = optuna.create_study(storage=url, study_name="demo")
    study.set_user_attr("note", "nas: not ours")
    with pytest.raises(StudyError, match=r"study demo in .* was not made by nas"):
        find_deletable(url, "demo")
    assert optuna.get_all_study_names(url) == ["demo"]


def test_a_study_is_refused_while_a_process_of_this_machine_searches_it(url: str) -> None:
    study = make_study(url, runner=this_process())
    with Heartbeat(backend(study._storage)), pytest.raises(StudyError, match=r"process \d+ on .* is using study demo"):
        find_deletable(url, "demo")
    delete(url)  # the search has ended, though its process has not


def test_a_study_is_refused_while_a_process_holds_a_lock_of_it(url: str) -> None:
    study = make_study(url, trials=0)
    with Heartbeat(backend(study._storage)) as heartbeat:
        assert Lock(heartbeat, study._study_id, "beginning").acquire() == heartbeat.token
        with pytest.raises(StudyError, match="is using study demo"):
            find_deletable(url, "demo")


def test_a_study_is_refused_while_a_process_prepares_before_its_first_trial(url: str) -> None:
    """The training of a supernet can take hours, and no trial is reserved during that."""
    evaluator = PreparingEvaluator(during=lambda: find_deletable(url, "demo"))
    settings = Settings([parse_target("flops=1.2M")], trials=2, epochs=1, confirm=0)
    with pytest.raises(StudyError, match="is using study demo"):
        search(make_space(), evaluator, settings, COUNTED, study_name="demo", storage=url)
    search(make_space(), FakeEvaluator(), settings, COUNTED, study_name="demo", storage=url)
    delete(url)


def test_a_process_that_begins_after_the_question_is_not_overlooked(url: str) -> None:
    study = make_study(url, runner=this_process())
    found = find_deletable(url, "demo")
    with Heartbeat(backend(study._storage)), pytest.raises(StudyError, match="is using study demo"):
        found.delete(with_journal=True)
    assert len(study.trials) == 2
    assert rows(backend(study._storage), RESERVATIONS) == [study._study_id] * 2
    if found.journal is not None:
        assert found.journal.is_file()


def test_a_study_is_refused_while_another_machine_was_heard_of_lately(url: str) -> None:
    study = make_study(url, runner=ELSEWHERE)
    beat(backend(study._storage), ELSEWHERE, GRACE_S / 2)
    with pytest.raises(StudyError, match="process 7 on another-machine is using study demo"):
        find_deletable(url, "demo")


def test_a_machine_that_was_silent_for_long_holds_nothing_up(url: str) -> None:
    study = make_study(url, runner=ELSEWHERE)
    beat(backend(study._storage), ELSEWHERE, 2 * GRACE_S)
    delete(url)
    assert optuna.get_all_study_names(url) == []


def test_a_process_that_was_killed_holds_nothing_up(url: str) -> None:
    code = (
        "import time; from nas.studies.process_identity import this_process; "
        "print(this_process(), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        study = make_study(url, runner=token)
        beat(backend(study._storage), token, 0)
        with pytest.raises(StudyError, match=f"process {process.pid} on .* is using study demo"):
            find_deletable(url, "demo")
        process.kill()
    delete(url)


def test_a_process_that_works_at_another_study_holds_nothing_up(url: str) -> None:
    make_study(url)
    other = make_study(url, "other", runner=this_process())
    with Heartbeat(backend(other._storage)):
        delete(url)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no study database"):
        find_deletable(f"sqlite:///{tmp_path / 'nas.db'}", "demo")
    assert list(tmp_path.iterdir()) == []
