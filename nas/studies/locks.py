"""Locks of a study: what only one of its processes may do at a time, such as its beginning and its end."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from attrs import frozen
from optuna.exceptions import StorageInternalError
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from nas.errors import StudyError
from nas.studies.bulk_storage import BulkStorage
from nas.studies.heartbeats import Heartbeat
from nas.studies.process_identity import describe_process
from nas.studies.tables import LOCKS, at_once, in_transaction

POLL_S = 0.5
_SEARCH = "search"


@frozen
class Lock:
    """Represent a lock of a study, which ends with the process that holds it.

    It is a row in a table and no lock of the database, which would end with a connection that is lost for a moment, and
    which SQLite does not have.

    Attributes:
        heartbeat: Heartbeat of this process.
        study_id: Number of the study in its database.
        name: What the lock is for, as messages show it.
    """

    heartbeat: Heartbeat
    study_id: int
    name: str

    def acquire(self) -> str:
        """Take the lock if it is free or its holder has ended, and return the token of the holder after that."""
        try:
            return in_transaction(self.heartbeat.storage, self._take)
        except IntegrityError:
            # Between the read and the insert another process inserted its row. The key of the table allows one row
            # for a lock, so exactly one of both inserts succeeded.
            return in_transaction(self.heartbeat.storage, self._read)

    def claim(self) -> bool:
        """Take the lock, and return whether this process did not hold it before."""

        def write(session: Session) -> bool:
            if self._read(session) == self.heartbeat.token:
                return False
            self._take(session)
            return True

        try:
            return in_transaction(self.heartbeat.storage, write)
        except IntegrityError:  # another thread of this process has inserted the row
            return False

    def release(self, transaction: Callable[[BulkStorage, Callable[[Session], object]], object]) -> None:
        """Release the lock if this process holds it.

        Args:
            transaction: `in_transaction`, or `at_once` where this process must not wait for the database.
        """
        own = LOCKS.c.runner == self.heartbeat.token
        transaction(self.heartbeat.storage, lambda session: session.execute(delete(LOCKS).where(*self._row, own)))

    def _take(self, session: Session) -> str:
        holder = self._read(session)
        if not holder:
            session.execute(insert(LOCKS).values(study_id=self.study_id, name=self.name, runner=self.heartbeat.token))
        elif holder != self.heartbeat.token and self.heartbeat.dead([holder]):
            # The condition on the old holder lets only one of several processes take the lock over: the update of the
            # second one finds no row any more.
            taken = update(LOCKS).where(*self._row, LOCKS.c.runner == holder).values(runner=self.heartbeat.token)
            session.execute(taken)
        # Read again: of several processes that tried to take the lock over, the row names the one that succeeded.
        return self._read(session)

    def _read(self, session: Session) -> str:
        return session.execute(select(LOCKS.c.runner).where(*self._row)).scalar() or ""

    @property
    def _row(self) -> tuple[ColumnElement[bool], ...]:
        return LOCKS.c.study_id == self.study_id, LOCKS.c.name == self.name


def work_name(token: str) -> str:
    """Return the name of the lock by which one process shows that it works at a study; no other process takes it."""
    return f"work {hashlib.sha256(token.encode()).hexdigest()[:32]}"


def search_name(token: str) -> str:
    """Return the name of the lock by which one process shows that it has begun and so has counted the trials."""
    return work_name(token).replace("work", _SEARCH, 1)


def living_searches(heartbeat: Heartbeat, study_id: int) -> set[str]:
    """Return the other processes that hold the lock of `search_name` in a study and are still alive."""
    wanted = select(LOCKS.c.runner).where(LOCKS.c.study_id == study_id, LOCKS.c.name.startswith(f"{_SEARCH} "))
    holders = in_transaction(heartbeat.storage, lambda session: {*session.execute(wanted).scalars()})
    others = holders - {heartbeat.token}
    return others - heartbeat.dead(others)


@contextmanager
def claimed(lock: Lock) -> Iterator[None]:
    """Hold inside the context a lock that this process must not hold already, whose name is that of `work_name`.

    Raises:
        StudyError: Another search of this process, in another thread, holds it. All reservations of a process have one
            token, so the two would take each other's trials for abandoned ones.
    """
    if not lock.claim():
        raise StudyError(
            "this process already works at the study, in another thread",
            "use more workers in one search, or start the second search in a process of its own",
        )
    try:
        yield
    finally:
        # The lock ends with this process anyway, so an absent database must not hide an error or delay the end.
        with suppress(StorageInternalError, SQLAlchemyError):
            lock.release(at_once)


@contextmanager
def exclusive(lock: Lock, say: Callable[[str], None], check_interrupts: Callable[[], None]) -> Iterator[None]:
    """Hold a lock inside the context; wait for it as long as another process that is alive holds it.

    Args:
        lock: The lock.
        say: Called once with a sentence that names the holder, if this process has to wait.
        check_interrupts: Called before every pause; may raise.
    """
    has_said = False
    while (holder := lock.acquire()) != lock.heartbeat.token:
        if holder and not has_said:
            has_said = True
            holding = f"{describe_process(holder)}, which holds the lock for the {lock.name} of the study"
            say(f"this process waits for {holding}")
        check_interrupts()
        time.sleep(POLL_S)
    try:
        yield
    except BaseException:
        # The lock ends with this process anyway, so an absent database must not hide the error or delay the end.
        with suppress(StorageInternalError, SQLAlchemyError):
            lock.release(at_once)
        raise
    lock.release(in_transaction)
