"""Tables of our own beside Optuna's, in the same database: who is at work, on what, and who must be alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from optuna.storages import BaseStorage
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, TextClause, UniqueConstraint, text
from sqlalchemy.orm import Session

from nas.optuna_private.storage import backend_of, transaction
from nas.studies.bulk_storage import BulkStorage
from nas.studies.outage import made_once, patiently

T = TypeVar("T")
_KEY = 255  # characters that every database can index

META = MetaData()
# A study of N trials has N slots. Each is for one architecture, and ends with one trial that counts.
SLOTS = Table(
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
RUNNERS = Table(
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

# Seconds by the database's own clock: those of several machines differ.
_NOW: Mapping[str, str] = MappingProxyType(
    {
        "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
        "postgresql": "extract(epoch from clock_timestamp())",
        "mysql": "unix_timestamp(now(3))",
    }
)


def backend(storage: BaseStorage) -> BulkStorage:
    """The database behind a study's storage."""
    found = backend_of(storage)
    assert isinstance(found, BulkStorage)  # noqa: S101 -- what `open_storage` gives
    return found


def make_tables(storage: BulkStorage) -> None:
    """Make those that are not there yet."""
    made_once(lambda: META.create_all(storage.engine))


def now(storage: BulkStorage) -> TextClause:
    """An expression for the time, in seconds."""
    return text(_NOW.get(storage.engine.dialect.name, _NOW["mysql"]))


def is_in_memory(storage: BulkStorage) -> bool:
    """Whether it is gone with its connection, so that no second thread can see it."""
    url = storage.engine.url
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def in_transaction(storage: BulkStorage, work: Callable[[Session], T]) -> T:
    """All that is done inside is done, or nothing of it; a database that is away is waited for.

    Work may have been done although that could not be told any more: what is done twice must be noticed by itself.

    Raises:
        StorageInternalError: the database refuses.
        sqlalchemy.exc.IntegrityError: another one has written a row with the same key.
    """
    return patiently(lambda: at_once(storage, work), storage.say, storage.check_interrupts)


def at_once(storage: BulkStorage, work: Callable[[Session], T]) -> T:
    """See `in_transaction`; nothing is waited for."""
    with transaction(storage) as session:
        return work(session)
