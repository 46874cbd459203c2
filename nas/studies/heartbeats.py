"""Heartbeats: every process at work on a study renews a time in the database, so that others notice when it has ended.

On the same machine a process is looked up by its token, at once and for certain. Heartbeats are for processes of other
machines, where only their silence can be seen.
"""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Self

import sqlalchemy
from attrs import define, field
from optuna.exceptions import StorageInternalError
from sqlalchemy import Float, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from nas.studies.bulk_storage import BulkStorage
from nas.studies.process_identity import is_alive, this_process
from nas.studies.tables import PROCESSES, at_once, in_transaction, is_in_memory, make_tables, now

INTERVAL_S = 5.0
# Twelve heartbeats may be missed: a busy machine or a slow network delays a few, and an ended process costs a minute.
GRACE_S = 60.0
# A process of another machine that was silent for a day is dead in any case, and its row is of no use any more.
FORGOTTEN_S = 86_400.0


@define(eq=False)
class Heartbeat:
    """Renew the heartbeat of this process, by a thread, as long as the context lasts.

    Attributes:
        storage: Database that holds the heartbeats.
        token: Token of this process; see `this_process`.
        grace_s: Seconds without a heartbeat after which a process of another machine counts as ended.
    """

    storage: BulkStorage
    token: str = field(factory=this_process)
    grace_s: float = GRACE_S
    _ended: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _connected_since: float = field(factory=time.monotonic, init=False)

    def __enter__(self) -> Self:
        """Write the first heartbeat, and start the thread that renews it."""
        make_tables(self.storage)
        self._renew()
        self._delete_dead()
        # A database in memory belongs to one connection, which a second thread cannot use; nor can another process.
        if not is_in_memory(self.storage):
            # A daemon, because `__exit__` may leave the thread behind, and it must not keep the process alive.
            self._thread = threading.Thread(target=self._renew_until_ended, name=self._thread_name, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread and delete the heartbeat, so that others see at once that this process has ended."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(INTERVAL_S)  # a thread that waits for an absent database is left behind
        # Another search of this process, in another thread, has the same token and so the same row.
        if any(thread.name == self._thread_name for thread in threading.enumerate()):
            return
        # Without an answer the row stays, and others notice the end by its age.
        with suppress(StorageInternalError, SQLAlchemyError):
            at_once(self.storage, lambda session: session.execute(delete(PROCESSES).where(self._is_own)))

    def dead(self, tokens: Iterable[str]) -> set[str]:
        """Return the tokens of those processes that have ended.

        A process of this machine has ended when the operating system says so, and one of another machine when its
        heartbeat is older than `grace_s`. While the database is away no process can renew its heartbeat, so the age of
        heartbeats means nothing until all have had `grace_s` seconds to renew theirs.
        """
        alive = {token: is_alive(token) for token in tokens}
        unseen = [token for token, state in alive.items() if state is None]
        return {token for token, state in alive.items() if state is False} | self._without_recent(unseen)

    def _without_recent(self, tokens: list[str]) -> set[str]:
        """Return the tokens without a heartbeat in the last `grace_s` seconds; none if that would mean nothing yet."""
        if not tokens or time.monotonic() - self._connected_since < self.grace_s:
            return set()
        # The database's clock both writes and compares: clocks of several machines differ.
        oldest = sqlalchemy.literal_column(f"{now(self.storage)} - {self.grace_s}", Float)
        recent = select(PROCESSES.c.runner).where(PROCESSES.c.runner.in_(tokens), PROCESSES.c.beat > oldest)
        return {*tokens} - in_transaction(self.storage, lambda session: {*session.execute(recent).scalars()})

    @property
    def _thread_name(self) -> str:
        return f"heartbeat {self.token} {self.storage.engine.url.render_as_string(hide_password=True)}"

    def _delete_dead(self) -> None:
        """Delete the rows of processes that have ended without deleting theirs."""
        time_now = now(self.storage)

        def write(session: Session) -> None:
            forgotten = PROCESSES.c.beat < sqlalchemy.literal_column(f"{time_now} - {FORGOTTEN_S}", Float)
            rows = session.execute(select(PROCESSES.c.runner, forgotten)).all()
            alive = {token: (is_alive(token), is_forgotten) for token, is_forgotten in rows}
            dead = [token for token, (state, old) in alive.items() if state is False or (state is None and old)]
            for token in dead:
                session.execute(delete(PROCESSES).where(PROCESSES.c.runner == token))

        at_once(self.storage, write)

    @property
    def _is_own(self) -> "sqlalchemy.ColumnElement[bool]":
        return PROCESSES.c.runner == self.token

    def _renew(self) -> None:
        """Write the time of the database's clock into this process's row, which is made if it is missing."""
        time_now = sqlalchemy.literal_column(str(now(self.storage)), Float)

        def write(session: Session) -> None:
            # Reading before writing is no race: the token is unique, so no other process writes this row.
            if session.execute(select(PROCESSES.c.runner).where(self._is_own)).first() is None:
                session.execute(insert(PROCESSES).values(runner=self.token, beat=time_now))
            else:
                session.execute(update(PROCESSES).where(self._is_own).values(beat=time_now))

        at_once(self.storage, write)

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            try:
                self._renew()
            except (StorageInternalError, SQLAlchemyError):
                # Other processes could not renew theirs either; see `dead`.
                self._connected_since = time.monotonic()
        self.storage.remove_session()  # sessions belong to threads, and this thread ends
