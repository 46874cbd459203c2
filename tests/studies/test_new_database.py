"""A new SQLite database is never seen half made."""

import multiprocessing
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.errors import StudyError
from nas.studies.journal_text import Head, format_head
from nas.studies.opening import open_storage

ROUNDS, PROCESSES = 12, 3


def _open_each(folder: Path, start: Any, failures: Any) -> None:
    for number in range(ROUNDS):
        start.wait()
        try:
            open_storage(f"sqlite:///{folder / str(number) / 'nas.db'}").get_all_studies()
        except StudyError as error:
            failures.put(str(error))


def put_journal(folder: Path) -> None:
    (folder / "nas-trials").mkdir(parents=True)
    (folder / "nas-trials" / "old.jsonl").write_bytes(format_head(Head("old", ["maximize"], {})))


def test_processes_that_start_at_once_beside_old_journals_share_a_new_database(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        put_journal(tmp_path / str(number))
    spawn = multiprocessing.get_context("spawn")
    start, failures = spawn.Barrier(PROCESSES), spawn.SimpleQueue()
    processes = [spawn.Process(target=_open_each, args=(tmp_path, start, failures)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert failures.empty()
    for number in range(ROUNDS):
        assert {path.name for path in (tmp_path / str(number)).iterdir()} == {"nas.db", "nas-trials"}


@pytest.mark.parametrize(
    "name", ["sqlite:///{}/nas.db", "sqlite:///file:{}/nas.db?uri=true", "sqlite:///{}/./a b%20#.db"]
)
def test_a_new_database_can_be_used(tmp_path: Path, name: str) -> None:
    url = name.format(tmp_path)
    optuna.create_study(storage=open_storage(url), study_name="demo")
    assert [study.study_name for study in open_storage(url, create=False).get_all_studies()] == ["demo"]
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 1


def test_an_empty_file_beside_journals_can_be_deleted_to_begin_anew(tmp_path: Path) -> None:
    put_journal(tmp_path)
    (tmp_path / "nas.db").touch()
    with pytest.raises(StudyError, match="it is empty, and there are journals") as told:
        open_storage(f"sqlite:///{tmp_path / 'nas.db'}")
    assert "nas studies restore" in told.value.remedy
    assert "delete the empty file" in told.value.remedy
