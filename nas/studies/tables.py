"""The project's own tables in Optuna's database: reservations, heartbeats of processes, and locks.

Names of tables and columns are those of version 0.1, so that its studies can be continued: `nas_slots` holds
reservations, `nas_runners` processes with their heartbeats, and `runner` the token of a process.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from optuna.storages import BaseStorage
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, TextClause, UniqueConstraint, text
from sqlalchemy.orm import Session

from nas.optuna_private.storage import backend_of, transaction
from nas.studies.bulk_storage import BulkStorage
from nas.studies.outage import retry_creation, retry_while_away

T = TypeVar("T")
_KEY = 255  # characters that every database can index: MySQL allows 767 bytes, of which a character takes up to 3

META = MetaData()
# A study of N trials has N reservations. Each is for one architecture and ends with one trial that counts, which may be
# the last of several attempts. The unique key lets the database decide between processes that reserve the same one.
RESERVATIONS = Table(
    "nas_slots",
    META,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("arch", String(64), nullable=False),
    Column("trial_id", Integer, nullable=False),
    Column("runner", String(_KEY), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("ended", Boolean, nullable=False),
    UniqueConstraint("study_id", "arch"),
)
PROCESSES = Table(
    "nas_runners",
    META,
    Column("runner", String(_KEY), primary_key=True),
    Column("beat", Float, nullable=False),
)
LOCKS = Table(
    "nas_locks",
    META,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Column("runner", String(_KEY), nullable=False),
)

# Seconds since 1970 by the database's own clock, which all processes share: clocks of several machines differ.
# In PostgreSQL now() is the time at which a transaction began, which may have waited for a lock.
_NOW: Mapping[str, str] = MappingProxyType(
    {
        "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
        "postgresql": "extract(epoch from clock_timestamp())",
        "mysql": "unix_timestamp(now(3))",
    }
)


def backend(storage: BaseStorage) -> BulkStorage:
    """Return the storage that talks to the database, behind the cache of a study's storage."""
    found = backend_of(storage)
    assert isinstance(found, BulkStorage)  # noqa: S101 -- what `open_storage` gives
    return found


def make_tables(storage: BulkStorage) -> None:
    """Create those tables that do not exist yet; several processes may do so at the same time."""
    retry_creation(lambda: META.create_all(storage.engine))


def now(storage: BulkStorage) -> TextClause:
    """Return an SQL expression for the seconds since 1970 by the database's clock."""
    return text(_NOW.get(storage.engine.dialect.name, _NOW["mysql"]))


def is_in_memory(storage: BulkStorage) -> bool:
    """Return whether the database is in memory: it ends with its connection, and no other thread can use it."""
    url = storage.engine.url
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def in_transaction(storage: BulkStorage, work: Callable[[Session], T]) -> T:
    """Return the result of work that takes effect as a whole or not at all; wait for a database that is away.

    A connection can be lost after the database has committed and before it could say so. The work is then done again,
    so it has to notice by itself what it has written before.

    Raises:
        StorageInternalError: The database refuses.
        sqlalchemy.exc.IntegrityError: Another process has written a row with the same key.
    """
    return retry_while_away(lambda: at_once(storage, work), storage.say, storage.check_interrupts)


def at_once(storage: BulkStorage, work: Callable[[Session], T]) -> T:
    """Do the same as `in_transaction`, but raise an error where the database is away."""
    with transaction(storage) as session:
        return work(session)
