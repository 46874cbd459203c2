"""Which architecture is evaluated by whom: decided by the database, so that any number of processes can take part.

Reserving a slot, beginning its trial, and ending both are a transaction each. A study has as many slots as trials are
asked for, and no two for the same architecture: that is a key of the table. Slots of processes that are gone are taken
over a few times, and then their trial fails.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from attrs import define, field, frozen
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.optuna_private.identity import set_trial_id
from nas.optuna_private.identity import trial_id as id_of
from nas.optuna_private.tables import TRIALS, USER_ATTRIBUTES, lock_study
from nas.studies.bulk_storage import BulkStorage, write_end
from nas.studies.tables import SLOTS, at_once, in_transaction, make_tables

KILLED = "killed"
ARCH = "arch"  # user attribute of a trial: its architecture's text


class AlreadyReserved(Exception):  # noqa: N818 -- no error: try another one
    """Another slot has the architecture."""


class NoneLeft(Exception):  # noqa: N818 -- no error: all is taken
    """There are as many slots as were asked for."""


@frozen
class Reservation:
    """A slot and its trial so far.

    Attributes:
        number: from 0.
        trial_id: of its last trial.
        runner: who evaluates it; "" for nobody.
        attempts: trials that were begun in it, but for those that were given back.
    """

    number: int
    trial_id: int
    runner: str
    attempts: int


def digest(arch: str) -> str:
    """Of an architecture's text: equal for equal ones, and short enough for any database."""
    return hashlib.sha256(arch.encode()).hexdigest()


T = TypeVar("T")


@define(eq=False)
class Reservations:
    """The slots of a study.

    Attributes:
        storage: of the study.
        study_id: Optuna's.
        runner: this process.
    """

    storage: BulkStorage
    study_id: int
    runner: str
    _own: set[int] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        make_tables(self.storage)

    def settle(self) -> None:
        """Slots for trials that count and have none: of a study that was restored, or filled by other tools.

        Trials that run without a slot are ended: nobody knows of them.
        """

        def write(session: Session) -> None:
            self._lock(session)
            trials = session.execute(self._without()).all()
            if not self._has_trials(session):
                session.execute(delete(SLOTS).where(SLOTS.c.study_id == self.study_id))  # of a study that was deleted
            number = self._count(session)
            known = {*session.execute(select(SLOTS.c.arch).where(SLOTS.c.study_id == self.study_id)).scalars()}
            for trial_id, state, arch, killed in trials:
                if state == TrialState.RUNNING:
                    self._kill(session, trial_id, "its process ended before it did")
                elif killed is None:
                    # What other tools added may be the same architecture twice, or none.
                    key = digest(json.loads(arch)) if arch else ""
                    key = digest(f"trial {trial_id}") if not key or key in known else key
                    known.add(key)
                    row = self._row(number, key, trial_id, ended=True) | {"runner": ""}
                    session.execute(insert(SLOTS).values(**row))
                    number += 1

        in_transaction(self.storage, write)
        self.storage.catch_up(self.study_id)

    def begin(self, trial: FrozenTrial, total: int) -> Reservation:
        """Write a trial, running or ended, into a slot of its own, which is given back; the trial gets its number.

        Raises:
            AlreadyReserved: its architecture has a slot.
            NoneLeft: there are `total` slots.
        """
        key = digest(trial.user_attrs[ARCH])

        def write(session: Session) -> tuple[int, int, int]:
            self._lock(session)
            trial_id, trial_number = self.storage.insert_trial(session, self.study_id, trial)
            number, row = self._count(session), self._of_arch(session, key)
            if row is not None:
                raise AlreadyReserved(row)
            if number >= total:
                raise NoneLeft
            values = self._row(number, key, trial_id, ended=trial.state.is_finished())
            session.execute(insert(SLOTS).values(**values))
            return trial_id, trial_number, number

        try:
            trial_id, number, slot = in_transaction(self.storage, write)
        except IntegrityError:
            raise AlreadyReserved from None
        except AlreadyReserved as taken:
            # A database that goes away may have written what it could not say any more.
            trial_id, number, slot = self._adopt(taken)
        self._number(trial, trial_id, number)
        if trial.state.is_finished():
            self.storage.keep(trial_id)
        return Reservation(slot, trial_id, self.runner, 1)

    def _number(self, trial: FrozenTrial, trial_id: int, number: int) -> None:
        set_trial_id(trial, trial_id)
        trial.number = number
        self._own.add(trial_id)

    def end(self, trial: FrozenTrial) -> bool:
        """Write what became of a running trial; false where it was taken from this process meanwhile."""
        trial_id = id_of(trial)

        def write(session: Session) -> bool:
            self._lock(session)
            row = self._of_trial(session, trial_id)
            if row is None or row.runner != self.runner:
                return False
            if not row.ended:
                write_end(session, trial)
                self._update(session, row.slot, ended=True)
            return True

        return self._kept(trial_id, in_transaction(self.storage, write))

    def take_over(self, slot: Reservation, trial: FrozenTrial, reason: str) -> Reservation | None:
        """Begin a slot's trial anew, here; the slot as it is then, None where another process was faster.

        Args:
            slot: as it was read.
            trial: to be begun; it gets its number.
            reason: why the trial before is over.
        """

        def write(session: Session) -> tuple[int, int] | None:
            self._lock(session)
            if not self._is_as_read(session, slot):
                return None
            self._kill(session, slot.trial_id, reason)
            trial_id, number = self.storage.insert_trial(session, self.study_id, trial)
            self._update(session, slot.number, trial_id=trial_id, runner=self.runner, attempts=slot.attempts + 1)
            return trial_id, number

        numbers = self._kept(slot.trial_id, in_transaction(self.storage, write))
        if numbers is None:
            return None
        self._number(trial, *numbers)
        return Reservation(slot.number, numbers[0], self.runner, slot.attempts + 1)

    def give_up(self, slot: Reservation, reason: str) -> bool:
        """Fail a slot's trial; false where another process was faster."""

        def write(session: Session) -> bool:
            self._lock(session)
            if not self._is_as_read(session, slot):
                return False
            _fail(session, slot.trial_id, {"reason": reason})
            self._update(session, slot.number, ended=True)
            return True

        return self._kept(slot.trial_id, in_transaction(self.storage, write))

    def give_back(self, reason: str, trial_id: int | None = None) -> None:
        """End one trial of this process, or all, cut short; their slots wait for another attempt, and lose none."""
        mine = [SLOTS.c.study_id == self.study_id, SLOTS.c.runner == self.runner, SLOTS.c.ended.is_(False)]
        mine += [] if trial_id is None else [SLOTS.c.trial_id == trial_id]

        def write(session: Session) -> None:
            self._lock(session)
            for row in session.execute(select(SLOTS).where(*mine)).all():
                self._kill(session, row.trial_id, reason)
                self._update(session, row.slot, runner="", attempts=row.attempts - 1)

        at_once(self.storage, write)

    def _kept(self, trial_id: int, done: T) -> T:
        """What a transaction gave; a trial that ended in it is appended to the journal."""
        if done:
            self.storage.keep(trial_id)
        return done

    def open(self) -> list[Reservation]:
        """Slots that have not ended, in order."""
        wanted = select(SLOTS).where(SLOTS.c.study_id == self.study_id, SLOTS.c.ended.is_(False)).order_by(SLOTS.c.slot)
        rows = in_transaction(self.storage, lambda session: session.execute(wanted).all())
        return [Reservation(row.slot, row.trial_id, row.runner, row.attempts) for row in rows]

    def count(self) -> int:
        """How many there are."""
        return in_transaction(self.storage, self._count)

    def _lock(self, session: Session) -> None:
        """Nobody else changes slots of this study until the transaction is over.

        SQLite locks with the first write alone, and that has to come before what is decided by is read.
        """
        none = SLOTS.c.study_id == self.study_id, SLOTS.c.slot == -1
        session.execute(update(SLOTS).where(*none).values(ended=False))
        lock_study(session, self.study_id)

    def _count(self, session: Session) -> int:
        return session.execute(select(func.count()).where(SLOTS.c.study_id == self.study_id)).scalar_one()

    def _row(self, number: int, key: str, trial_id: int, *, ended: bool) -> dict[str, Any]:
        return {
            "study_id": self.study_id,
            "slot": number,
            "arch": key,
            "trial_id": trial_id,
            "runner": self.runner,
            "attempts": 1,
            "ended": ended,
        }

    def _has_trials(self, session: Session) -> bool:
        wanted = select(TRIALS.c.trial_id).where(TRIALS.c.study_id == self.study_id).limit(1)
        return session.execute(wanted).first() is not None

    def _without(self) -> Any:
        """Trials that no slot knows: number, state, architecture, whether they were killed."""
        kept = USER_ATTRIBUTES.c

        def attribute(name: str) -> Any:
            return (
                select(kept.value_json)
                .where(kept.trial_id == TRIALS.c.trial_id, kept.key == name)
                .correlate(TRIALS)
                .scalar_subquery()
            )

        known = select(SLOTS.c.trial_id).where(SLOTS.c.study_id == self.study_id)
        return (
            select(TRIALS.c.trial_id, TRIALS.c.state, attribute(ARCH), attribute(KILLED))
            .where(TRIALS.c.study_id == self.study_id, TRIALS.c.trial_id.not_in(known))
            .order_by(TRIALS.c.number)
        )

    def _of_arch(self, session: Session, key: str) -> "Row[Any] | None":
        return session.execute(select(SLOTS).where(SLOTS.c.study_id == self.study_id, SLOTS.c.arch == key)).first()

    def _of_trial(self, session: Session, trial_id: int) -> "Row[Any] | None":
        wanted = select(SLOTS).where(SLOTS.c.study_id == self.study_id, SLOTS.c.trial_id == trial_id)
        return session.execute(wanted.with_for_update()).first()

    def _is_as_read(self, session: Session, slot: Reservation) -> bool:
        row = self._of_trial(session, slot.trial_id)
        if row is None or row.slot != slot.number:
            return False
        return (row.runner, row.attempts, row.ended) == (slot.runner, slot.attempts, False)

    def _update(self, session: Session, number: int, **values: Any) -> None:
        where = (SLOTS.c.study_id == self.study_id, SLOTS.c.slot == number)
        session.execute(update(SLOTS).where(*where).values(**values))

    def _kill(self, session: Session, trial_id: int, reason: str) -> None:
        _fail(session, trial_id, {"reason": reason, KILLED: True})

    def _adopt(self, taken: AlreadyReserved) -> tuple[int, int, int]:
        (row,) = taken.args or (None,)
        if row is None or row.runner != self.runner or row.trial_id in self._own:
            raise AlreadyReserved
        number = select(TRIALS.c.number).where(TRIALS.c.trial_id == row.trial_id)
        numbered = in_transaction(self.storage, lambda session: session.execute(number).scalar_one())
        return row.trial_id, numbered, row.slot


def _fail(session: Session, trial_id: int, kept: Mapping[str, Any]) -> None:
    """End a trial that runs without a value."""
    state = select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id)
    if session.execute(state).scalar() == TrialState.RUNNING:
        ended = FrozenTrial(
            number=-1,
            state=TrialState.FAIL,
            value=None,
            datetime_start=None,
            datetime_complete=datetime.now(),
            params={},
            distributions={},
            user_attrs=dict(kept),
            system_attrs={},
            intermediate_values={},
            trial_id=trial_id,
        )
        write_end(session, ended)
