"""What one process of a study does at a time: its beginning and its end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from attrs import frozen
from optuna.exceptions import StorageInternalError
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from nas.studies.bulk_storage import BulkStorage
from nas.studies.heartbeats import Heartbeat
from nas.studies.process_identity import shown
from nas.studies.tables import LOCKS, at_once, in_transaction

AGAIN_S = 0.5


@frozen
class Lock:
    """The right to do something of a study; ends with the process that has it.

    Attributes:
        heartbeat: of this process.
        study_id: Optuna's.
        name: of what is done.
    """

    heartbeat: Heartbeat
    study_id: int
    name: str

    def holder(self) -> str:
        """Take it where it is free, or was that of a process that is gone; who has it now."""
        try:
            return in_transaction(self.heartbeat.storage, self._take)
        except IntegrityError:  # another one was faster
            return in_transaction(self.heartbeat.storage, self._read)

    def end(self, way: Callable[[BulkStorage, Callable[[Session], object]], object]) -> None:
        """Give it back, in one of the two ways of a transaction."""
        mine = LOCKS.c.runner == self.heartbeat.token
        way(self.heartbeat.storage, lambda session: session.execute(delete(LOCKS).where(*self._row, mine)))

    def _take(self, session: Session) -> str:
        held = self._read(session)
        if not held:
            session.execute(insert(LOCKS).values(study_id=self.study_id, name=self.name, runner=self.heartbeat.token))
        elif held != self.heartbeat.token and self.heartbeat.dead([held]):
            session.execute(update(LOCKS).where(*self._row, LOCKS.c.runner == held).values(runner=self.heartbeat.token))
        return self._read(session)

    def _read(self, session: Session) -> str:
        return session.execute(select(LOCKS.c.runner).where(*self._row)).scalar() or ""

    @property
    def _row(self) -> tuple[ColumnElement[bool], ...]:
        return LOCKS.c.study_id == self.study_id, LOCKS.c.name == self.name


@contextmanager
def alone(lock: Lock, say: Callable[[str], None], check_interrupts: Callable[[], None]) -> Iterator[None]:
    """Nobody else is inside with the same lock; waits for who is.

    Args:
        lock: of what is done.
        say: is told once who is waited for.
        check_interrupts: called while it waits; may raise.
    """
    told = ""
    while (holder := lock.holder()) != lock.heartbeat.token:
        if holder and not told:
            told = holder
            say(f"{shown(holder)} is at the {lock.name} of the study; it is waited for")
        check_interrupts()
        time.sleep(AGAIN_S)
    try:
        yield
    except BaseException:
        with suppress(StorageInternalError, SQLAlchemyError):  # it ends with this process anyway
            lock.end(at_once)
        raise
    lock.end(in_transaction)
