"""Reservations: which process evaluates which architecture, decided by the database.

Any number of processes can work on a study. To make a reservation, to begin its trial and to end both are one
transaction each, so that a process which is killed leaves either all of a step or nothing. A study has as many
reservations as trials were asked for, and no two with the same key: the table itself forbids that. Other processes take
over the reservations of a process that has ended. After a few attempts the trial of a reservation fails instead.
"""

import logging
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from attrs import define, field, frozen
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.optuna_private.identity import set_trial_id
from nas.optuna_private.identity import trial_id as id_of
from nas.studies.bulk_storage import BulkStorage, write_end
from nas.studies.reservation_keys import reservation_key, trial_key
from nas.studies.reservation_rows import (
    ReservationRows,
    StoredTrial,
    fail_trial,
    is_running,
    kill_trial,
    number_in_study,
)
from nas.studies.tables import at_once, in_transaction, make_tables

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class AlreadyReserved(Exception):  # noqa: N818 -- no error: the caller suggests another architecture
    """Raised when another reservation has the key."""


class NoneLeft(Exception):  # noqa: N818 -- no error: all trials are reserved
    """Raised when there are as many reservations as trials were asked for."""


@frozen
class Reservation:
    """Represent a reservation and its latest trial as they were when they were read.

    Attributes:
        number: Number of the reservation in its study, from 0.
        trial_id: Number of its latest trial in the database.
        process: Token of the process that evaluates it; "" where no process does.
        attempts: Number of trials that were started for it, without those that their processes released.
        key: Key that no other reservation of the study has; see `reservation_key`.
    """

    number: int
    trial_id: int
    process: str
    attempts: int
    key: str = ""


@define(eq=False)
class Reservations:
    """Make, end and take over the reservations of a study for one process.

    Attributes:
        storage: Database of the study.
        study_id: Number of the study in the database.
        process: Token of this process.
    """

    storage: BulkStorage
    study_id: int
    process: str
    _rows: ReservationRows = field(init=False)
    _own: set[int] = field(factory=set, init=False)  # database numbers of the trials that this object started

    @_rows.default
    def _rows_of_study(self) -> ReservationRows:
        return ReservationRows(self.study_id)

    def __attrs_post_init__(self) -> None:
        make_tables(self.storage)

    def reconcile(self, uncounted: Collection[int] = (), foreign: Collection[int] = ()) -> None:
        """Make the reservations fit the trials: every trial that counts has one, and each leads to its trial.

        Trials without reservations are those of a restored study or of an older version. Reservations without a trial
        are those of a deleted study, since its number may be given to the next study, and so may the numbers of its
        trials. Where no reservation leads to a running trial, no process will ever end it.

        Args:
            uncounted: Numbers of trials in the study that do not count and get no reservation.
            foreign: Numbers of trials of other programs, which are left as they are and get no reservation.
        """

        def write(session: Session) -> None:
            self._rows.lock(session)
            trials = [trial for trial in self._rows.trials(session) if trial.number not in foreign]
            reserved = self._drop_stale(session, trials)
            number, known = self._rows.next_number(session), self._rows.keys(session)
            for trial in trials:
                if trial.trial_id in reserved:
                    continue
                if trial.state == TrialState.RUNNING:
                    kill_trial(session, trial.trial_id, "its process ended before it did")
                elif not trial.is_killed and trial.number not in uncounted:
                    key = trial.own_key if trial.key in known else trial.key
                    known.add(key)
                    self._rows.insert(session, number, key, trial.trial_id, process="", ended=True)
                    number += 1

        in_transaction(self.storage, write)
        # Trials that were killed above were written by plain statements, which append nothing to the journal.
        self.storage.catch_up(self.study_id)

    def _drop_stale(self, session: Session, trials: Iterable[StoredTrial]) -> set[int]:
        """Delete the reservations that do not belong to these trials, and return the trials of the others."""
        fitting = {trial.trial_id: trial for trial in trials}
        reserved: set[int] = set()
        for row in self._rows.all(session):
            trial = fitting.get(row.trial_id)
            if trial is not None and trial.is_reserved_by(row.arch, ended=row.ended):
                reserved.add(row.trial_id)
            else:
                self._rows.delete(session, row.slot)
        return reserved

    def begin(self, trial: FrozenTrial, total: int | None) -> Reservation:
        """Write a trial that runs or has ended together with a reservation for it; set the trial's numbers.

        Args:
            trial: Trial that is not in the database yet.
            total: Number of reservations that the study may have; None for any number.

        Returns:
            The new reservation.

        Raises:
            AlreadyReserved: Another reservation has the trial's key.
            NoneLeft: There are `total` reservations.
        """
        key = reservation_key(trial.user_attrs)

        def write(session: Session) -> tuple[int, int, int]:
            self._rows.lock(session)
            row = self._rows.with_key(session, key)
            if row is not None:
                raise AlreadyReserved(row)
            if total is not None and self._rows.count(session) >= total:
                raise NoneLeft
            number = self._rows.next_number(session)
            trial_id, trial_number = self.storage.insert_trial(session, self.study_id, trial)
            has_ended = trial.state.is_finished()
            self._rows.insert(session, number, key, trial_id, process=self.process, ended=has_ended)
            return trial_id, trial_number, number

        try:
            trial_id, trial_number, number = in_transaction(self.storage, write)
        # Two processes can insert the same key at the same moment: the unique key of the table rejects the second one.
        except IntegrityError:
            raise AlreadyReserved from None
        except AlreadyReserved as found:
            trial_id, trial_number, number = self._recognize(found)
        self._set_numbers(trial, trial_id, trial_number)
        _LOG.debug("Reserved number %d for trial %d.", number, trial_number)
        # After the commit, so that a journal never holds a trial that the database has rolled back.
        if trial.state.is_finished():
            self.storage.keep(trial_id)
        return Reservation(number, trial_id, self.process, 1, key)

    def end(self, trial: FrozenTrial) -> bool:
        """Write how a running trial ended; return False, and write nothing, if another process has taken it over.

        The same happens if another program has ended the trial: then its reservation stays open.
        """
        trial_id = id_of(trial)

        def write(session: Session) -> bool:
            self._rows.lock(session)
            # No row: a process that took the trial over has put its own trial into the row.
            row = self._rows.of_trial(session, trial_id)
            if row is None or row.runner != self.process:
                return False
            # The second of two tries, after a connection was lost, finds that the first one took effect.
            if not row.ended:
                if not is_running(session, trial_id):
                    return False
                write_end(session, trial)
                self._rows.change(session, row.slot, ended=True)
            return True

        return self._append_if(in_transaction(self.storage, write), trial_id)

    def take_over(self, reservation: Reservation, trial: FrozenTrial, reason: str) -> Reservation | None:
        """End the trial of a reservation and begin another one for it in this process.

        Args:
            reservation: The reservation as it was read.
            trial: Trial that is not in the database yet; its numbers are set.
            reason: Why the trial before has ended.

        Returns:
            The reservation after that, or None if it has changed since it was read: another process was faster.
        """

        def write(session: Session) -> tuple[int, int] | None:
            self._rows.lock(session)
            if not _is_unchanged(self._rows.of_trial(session, reservation.trial_id), reservation):
                return None
            # In one transaction: a process that is killed here leaves the old trial open, which others find and take
            # over.
            kill_trial(session, reservation.trial_id, reason)
            trial_id, number = self.storage.insert_trial(session, self.study_id, trial)
            attempts = reservation.attempts + 1
            self._rows.change(session, reservation.number, trial_id=trial_id, runner=self.process, attempts=attempts)
            return trial_id, number

        numbers = self._append_if(in_transaction(self.storage, write), reservation.trial_id)
        if numbers is None:
            return None
        self._set_numbers(trial, *numbers)
        _LOG.debug("Took reservation %d over for trial %d: %s.", reservation.number, trial.number, reason)
        return Reservation(reservation.number, numbers[0], self.process, reservation.attempts + 1, reservation.key)

    def fail(self, reservation: Reservation, reason: str) -> bool:
        """Let the trial of a reservation fail for good; return False if another process has taken it over."""

        def write(session: Session) -> bool:
            self._rows.lock(session)
            if not _is_unchanged(self._rows.of_trial(session, reservation.trial_id), reservation):
                return False
            fail_trial(session, reservation.trial_id, {"reason": reason})
            self._rows.change(session, reservation.number, ended=True)
            return True

        return self._append_if(in_transaction(self.storage, write), reservation.trial_id)

    def release(self, reason: str, trial_id: int | None = None) -> None:
        """End running trials of this process that were interrupted, so that other processes can start them again.

        The interruption does not count as an attempt. Nothing is retried: this process is about to end, and if the
        database does not answer, others notice by the missing heartbeat.

        Args:
            reason: Why the trials were interrupted.
            trial_id: Number of one trial in the database; None for all of this process.
        """

        def write(session: Session) -> None:
            self._rows.lock(session)
            for row in self._rows.open(session):
                if row.runner != self.process or trial_id not in (None, row.trial_id):
                    continue
                kill_trial(session, row.trial_id, reason)
                self._rows.change(session, row.slot, runner="", attempts=row.attempts - 1)

        # The journal is not written here: the next search appends what it lacks; see `reconcile`. A process that ends
        # does not wait for an absent database, but one that continues after a single release does.
        (at_once if trial_id is None else in_transaction)(self.storage, write)

    def free(self, trial_ids: Collection[int]) -> None:
        """Free the keys of the reservations with these latest trials, so that their jobs can be started again.

        The rows stay, under keys that no trial reserves. A reservation that has a newer trial by now is left unchanged,
        so any process may do this at any time.

        Args:
            trial_ids: Numbers of trials in the database.
        """

        def write(session: Session) -> None:
            self._rows.lock(session)
            for trial_id in trial_ids:
                row = self._rows.of_trial(session, trial_id)
                if row is not None:
                    self._rows.change(session, row.slot, arch=trial_key(trial_id))

        in_transaction(self.storage, write)

    def open(self) -> list[Reservation]:
        """Return the reservations that have not ended, by number."""
        rows = in_transaction(self.storage, self._rows.open)
        return [Reservation(row.slot, row.trial_id, row.runner, row.attempts, row.arch) for row in rows]

    def count(self) -> int:
        """Return how many reservations the study has, with those that have ended."""
        return in_transaction(self.storage, self._rows.count)

    def _append_if(self, result: T, trial_id: int) -> T:
        """Append a trial that ended in a transaction to the journal if the transaction changed anything."""
        if result:
            self.storage.keep(trial_id)
        return result

    def _set_numbers(self, trial: FrozenTrial, trial_id: int, number: int) -> None:
        set_trial_id(trial, trial_id)
        trial.number = number
        self._own.add(trial_id)

    def _recognize(self, found: AlreadyReserved) -> tuple[int, int, int]:
        """Return the numbers of a reservation that this process made without learning of it.

        The database may have committed just before the connection was lost. The second try then finds the key reserved
        by this process, for a trial that it does not know.

        Returns:
            The trial's number in the database and in the study, and the number of the reservation.

        Raises:
            AlreadyReserved: The reservation is another one.
        """
        (row,) = found.args or (None,)
        if row is None or row.runner != self.process or row.trial_id in self._own:
            raise AlreadyReserved
        trial_number = in_transaction(self.storage, lambda session: number_in_study(session, row.trial_id))
        return row.trial_id, trial_number, row.slot


def _is_unchanged(row: "Row[Any] | None", reservation: Reservation) -> bool:
    """Return whether a reservation is as it was read: of processes that take it over at once only one succeeds."""
    known = reservation.number, reservation.process, reservation.attempts, False
    return row is not None and (row.slot, row.runner, row.attempts, row.ended) == known
