"""Statements on the table of reservations and on trials with a reservation, inside a transaction of the caller."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.orm import Session

from nas.optuna_private.tables import TRIALS, USER_ATTRIBUTES, lock_study
from nas.studies.bulk_storage import write_end
from nas.studies.records import KILLED
from nas.studies.reservation_keys import KEY_ATTRIBUTES, stored_key, trial_key
from nas.studies.tables import RESERVATIONS

_COLUMNS = RESERVATIONS.c


@frozen
class StoredTrial:
    """Represent a trial as far as its reservation needs it.

    Attributes:
        trial_id: Number in the database.
        number: Number in the study.
        state: State of the trial.
        is_killed: Whether its evaluation was interrupted.
        key: Key that the trial reserves.
    """

    trial_id: int
    number: int
    state: TrialState
    is_killed: bool
    key: str

    @property
    def own_key(self) -> str:
        """Return the key that no other trial reserves."""
        return trial_key(self.trial_id)

    def is_reserved_by(self, key: str, *, ended: bool) -> bool:
        """Return whether a reservation with this trial's number is its own, and not that of a deleted trial."""
        return key in (self.key, self.own_key) and not (ended and self.state == TrialState.RUNNING)


@frozen
class ReservationRows:
    """Read and write the rows of one study's reservations.

    Attributes:
        study_id: Number of the study in the database.
    """

    study_id: int

    def lock(self, session: Session) -> None:
        """Let no other process change reservations of this study until the transaction ends."""
        # SQLite locks only with the first write, and what was read before may have changed by then. So the first
        # statement is a write, which changes no row.
        no_row = self._of_study, _COLUMNS.slot == -1
        session.execute(update(RESERVATIONS).where(*no_row).values(ended=False))
        # PostgreSQL and MySQL lock the row of the study, and no other study of the database.
        lock_study(session, self.study_id)

    def count(self, session: Session) -> int:
        """Return how many reservations there are."""
        return session.execute(select(func.count()).where(self._of_study)).scalar_one()

    def next_number(self, session: Session) -> int:
        """Return the number of the next reservation."""
        last = session.execute(select(func.max(_COLUMNS.slot)).where(self._of_study)).scalar()
        return 0 if last is None else last + 1

    def keys(self, session: Session) -> set[str]:
        """Return the keys that are reserved."""
        return {*session.execute(select(_COLUMNS.arch).where(self._of_study)).scalars()}

    def open(self, session: Session) -> "Sequence[Row[Any]]":
        """Return the rows of reservations that have not ended, by number."""
        wanted = select(RESERVATIONS).where(self._of_study, _COLUMNS.ended.is_(False)).order_by(_COLUMNS.slot)
        return session.execute(wanted).all()

    def with_key(self, session: Session, key: str) -> "Row[Any] | None":
        """Return the row with a key, or None."""
        return session.execute(select(RESERVATIONS).where(self._of_study, _COLUMNS.arch == key)).first()

    def of_trial(self, session: Session, trial_id: int) -> "Row[Any] | None":
        """Return the row whose latest trial is the given one, or None; lock it until the transaction ends."""
        wanted = select(RESERVATIONS).where(self._of_study, _COLUMNS.trial_id == trial_id)
        return session.execute(wanted.with_for_update()).first()

    def insert(self, session: Session, number: int, key: str, trial_id: int, *, process: str, ended: bool) -> None:
        """Write a new reservation.

        Raises:
            sqlalchemy.exc.IntegrityError: The key or the number is reserved.
        """
        row = {"study_id": self.study_id, "slot": number, "arch": key, "trial_id": trial_id}
        session.execute(insert(RESERVATIONS).values(**row, runner=process, attempts=1, ended=ended))

    def change(self, session: Session, number: int, **values: Any) -> None:
        """Write new values of some columns of a reservation."""
        session.execute(update(RESERVATIONS).where(self._of_study, _COLUMNS.slot == number).values(**values))

    def delete(self, session: Session, number: int) -> None:
        """Delete a reservation."""
        session.execute(delete(RESERVATIONS).where(self._of_study, _COLUMNS.slot == number))

    def all(self, session: Session) -> "Sequence[Row[Any]]":
        """Return the rows of all reservations."""
        return session.execute(select(RESERVATIONS).where(self._of_study)).all()

    def trials(self, session: Session) -> "list[StoredTrial]":
        """Return the trials of the study that have a key, by number."""
        stored = USER_ATTRIBUTES.c

        def attribute(name: str) -> Any:
            return (
                select(stored.value_json)
                .where(stored.trial_id == TRIALS.c.trial_id, stored.key == name)
                .correlate(TRIALS)
                .scalar_subquery()
            )

        columns = TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state
        wanted = (
            select(*columns, attribute(KILLED), *map(attribute, KEY_ATTRIBUTES))
            .where(TRIALS.c.study_id == self.study_id)
            .order_by(TRIALS.c.number)
        )
        trials = [
            StoredTrial(trial_id, number, state, killed is not None, stored_key(values))
            for trial_id, number, state, killed, *values in map(tuple, session.execute(wanted).all())
        ]
        return [trial for trial in trials if trial.key]

    @property
    def _of_study(self) -> ColumnElement[bool]:
        return _COLUMNS.study_id == self.study_id


def number_in_study(session: Session, trial_id: int) -> int:
    """Return the number in its study of a trial that has this number in the database."""
    return int(session.execute(select(TRIALS.c.number).where(TRIALS.c.trial_id == trial_id)).scalar_one())


def is_running(session: Session, trial_id: int) -> bool:
    """Return whether a trial with this number in the database runs."""
    return session.execute(select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id)).scalar() == TrialState.RUNNING


def kill_trial(session: Session, trial_id: int, reason: str) -> None:
    """End a trial that was interrupted if it still runs; it does not count."""
    fail_trial(session, trial_id, {"reason": reason, KILLED: True})


def fail_trial(session: Session, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """End a trial without a value if it still runs."""
    # A trial that has ended keeps its result: the process that kills it may have read it while it was still running.
    if is_running(session, trial_id):
        ended = FrozenTrial(
            number=-1,
            state=TrialState.FAIL,
            value=None,
            datetime_start=None,
            datetime_complete=datetime.now(),
            params={},
            distributions={},
            user_attrs=dict(attributes),
            system_attrs={},
            intermediate_values={},
            trial_id=trial_id,
        )
        write_end(session, ended)
