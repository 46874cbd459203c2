"""Who is at work: every process says so in the database now and then, and who does not for long is given up."""

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
from nas.studies.process_identity import is_alive, runner
from nas.studies.tables import RUNNERS, at_once, in_transaction, is_in_memory, make_tables, now

BEAT_S = 5.0
GRACE_S = 60.0  # of silence, after which a process of another machine is taken for dead


@define(eq=False)
class Heartbeat:
    """Says every few seconds that this process is at work; used as a context manager.

    Attributes:
        storage: where it says so.
        token: of this process.
        grace_s: of silence, after which others are given up.
    """

    storage: BulkStorage
    token: str = field(factory=runner)
    grace_s: float = GRACE_S
    _ended: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _steady_since: float = field(factory=time.monotonic, init=False)

    def __enter__(self) -> Self:
        """Beating."""
        make_tables(self.storage)
        self._beat()
        if not is_in_memory(self.storage):
            self._thread = threading.Thread(target=self._go_on, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Silent; others know at once."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(BEAT_S)  # a database that is away may hold it up
        with suppress(StorageInternalError, SQLAlchemyError):  # others will find out by the silence
            at_once(self.storage, lambda session: session.execute(delete(RUNNERS).where(self._is_own)))

    def dead(self, tokens: Iterable[str]) -> set[str]:
        """Those of some runners that are gone: seen to be on this machine, silent for long on others.

        While the database was away nobody could beat, so for a while afterwards silence says nothing.
        """
        told = {token: is_alive(token) for token in tokens}
        afar = [token for token, alive in told.items() if alive is None]
        return {token for token, alive in told.items() if alive is False} | self._silent(afar)

    def _silent(self, tokens: list[str]) -> set[str]:
        if not tokens or time.monotonic() - self._steady_since < self.grace_s:
            return set()
        since = sqlalchemy.literal_column(f"{now(self.storage)} - {self.grace_s}", Float)
        recent = select(RUNNERS.c.runner).where(RUNNERS.c.runner.in_(tokens), RUNNERS.c.beat > since)
        return {*tokens} - in_transaction(self.storage, lambda session: {*session.execute(recent).scalars()})

    @property
    def _is_own(self) -> "sqlalchemy.ColumnElement[bool]":
        return RUNNERS.c.runner == self.token

    def _beat(self) -> None:
        beat = sqlalchemy.literal_column(str(now(self.storage)), Float)

        def write(session: Session) -> None:
            if session.execute(select(RUNNERS.c.runner).where(self._is_own)).first() is None:
                session.execute(insert(RUNNERS).values(runner=self.token, beat=beat))
            else:
                session.execute(update(RUNNERS).where(self._is_own).values(beat=beat))

        at_once(self.storage, write)

    def _go_on(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._beat()
            except (StorageInternalError, SQLAlchemyError):
                self._steady_since = time.monotonic()
        self.storage.remove_session()
