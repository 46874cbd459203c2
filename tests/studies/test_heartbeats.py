"""Heartbeats of processes: one row for each that is at work, and none of those that are gone."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy

from nas.studies.bulk_storage import BulkStorage
from nas.studies.heartbeats import FORGOTTEN_S, Heartbeat
from nas.studies.process_identity import number_space, this_process
from nas.studies.tables import make_tables


@pytest.fixture(name="storage")
def _storage(tmp_path: Path) -> BulkStorage:
    storage = BulkStorage(f"sqlite:///{tmp_path / 'nas.db'}")
    make_tables(storage)
    return storage


@pytest.fixture(name="ended")
def _ended() -> str:
    """The token of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return f"{number_space()} {process.pid} 1"


def rows(storage: BulkStorage) -> set[str]:
    with storage.engine.connect() as connection:
        return {*connection.execute(sqlalchemy.text("select runner from nas_runners")).scalars()}


def add(storage: BulkStorage, token: str, age_s: float = 0.0) -> None:
    beat = f"(julianday('now') - 2440587.5) * 86400.0 - {age_s}"
    with storage.engine.begin() as connection:
        query = sqlalchemy.text(f"insert into nas_runners values (:token, {beat})")  # noqa: S608 -- a number
        connection.execute(query, {"token": token})


def test_rows_of_dead_processes_are_deleted_by_the_next_one(storage: BulkStorage, ended: str) -> None:
    for token, age_s in (
        (ended, 0),
        ("elsewhere 1 1", 0),
        ("elsewhere 2 1", 3600),
        ("elsewhere 3 1", FORGOTTEN_S + 60),
    ):
        add(storage, token, age_s)
    with Heartbeat(storage) as heartbeat:
        assert rows(storage) == {heartbeat.token, "elsewhere 1 1", "elsewhere 2 1"}
    assert rows(storage) == {"elsewhere 1 1", "elsewhere 2 1"}


def test_searches_in_threads_of_one_process_keep_the_row_until_the_last_one_ends(storage: BulkStorage) -> None:
    other = BulkStorage(storage.url)
    with Heartbeat(storage):
        with Heartbeat(other):
            assert rows(storage) == {this_process()}
        assert rows(storage) == {this_process()}
    assert rows(storage) == set()


def test_a_search_of_another_database_keeps_no_row_here(storage: BulkStorage, tmp_path: Path) -> None:
    other = BulkStorage(f"sqlite:///{tmp_path / 'other.db'}")
    with Heartbeat(other):
        with Heartbeat(storage):
            pass
        assert rows(storage) == set()
        assert rows(other) == {this_process()}
