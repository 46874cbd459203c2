"""Which architecture is evaluated by whom: decided by the database, so that any number of processes can take part.

Reserving a slot, beginning its trial, and ending both are a transaction each. A study has as many slots as trials are
asked for, and no two for the same architecture: that is a key of the table. Slots of processes that are gone are taken
over a few times, and then their trial fails.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypeVar

from attrs import define, field, frozen
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.studies.bulk_storage import BulkStorage, write_end
from nas.studies.tables import SLOTS, at_once, in_transaction, make_tables

KILLED = "killed"
# User attributes of a trial: its architecture's text; of a job of a fixed list what is trained, and the seed.
ARCH, TRAINED, SEED = "arch", "trained", "seed"
_KEYS = (ARCH, TRAINED, SEED)


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
        key: of its trials, see `reservation_key`.
    """

    number: int
    trial_id: int
    runner: str
    attempts: int
    key: str = ""


def digest(arch: str) -> str:
    """Of an architecture's text: equal for equal ones, and short enough for any database."""
    return hashlib.sha256(arch.encode()).hexdigest()


def reservation_key(attributes: Mapping[str, Any]) -> str:
    """Return what a trial reserves, by its user attributes; no two reservations of a study have the same key.

    A trial of a search reserves its architecture, and a job of a fixed list what it trains together with its seed.
    """
    if TRAINED in attributes:
        return digest(f"{attributes[TRAINED]}\nseed {attributes.get(SEED)}")
    return digest(attributes[ARCH])


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

    def settle(self, repeated: Collection[int] = ()) -> None:
        """Slots for trials that count and have none: of a study that was restored, or filled by other tools.

        Trials that run without a slot are ended: nobody knows of them.

        Args:
            repeated: Numbers of trials that do not count, so that they get no reservation.
        """

        def write(session: Session) -> None:
            self._lock(session)
            trials = session.execute(self._without()).all()
            if not self._has_trials(session):
                session.execute(delete(SLOTS).where(SLOTS.c.study_id == self.study_id))  # of a study that was deleted
            number = self._count(session)
            known = {*session.execute(select(SLOTS.c.arch).where(SLOTS.c.study_id == self.study_id)).scalars()}
            for trial_id, number_of_trial, state, killed, *values in trials:
                if state == TrialState.RUNNING:
                    self._kill(session, trial_id, "its process ended before it did")
                elif killed is None and number_of_trial not in repeated:
                    kept = {name: json.loads(value) for name, value in zip(_KEYS, values, strict=True) if value}
                    # What other tools added may be the same architecture twice, or none.
                    key = reservation_key(kept) if kept.keys() & {ARCH, TRAINED} else ""
                    key = digest(f"trial {trial_id}") if not key or key in known else key
                    known.add(key)
                    row = self._row(number, key, trial_id, ended=True) | {"runner": ""}
                    session.execute(insert(SLOTS).values(**row))
                    number += 1

        in_transaction(self.storage, write)
        self.storage.catch_up(self.study_id)

    def begin(self, trial: FrozenTrial, total: int | None) -> Reservation:
        """Write a trial, running or ended, into a slot of its own, which is given back; the trial gets its number.

        Raises:
            AlreadyReserved: its key has a slot; see `reservation_key`.
            NoneLeft: there are `total` slots; None sets no limit.
        """
        key = reservation_key(trial.user_attrs)

        def write(session: Session) -> tuple[int, int, int]:
            self._lock(session)
            made = self.storage._get_prepared_new_trial(self.study_id, trial, session)
            number, row = self._count(session), self._of_arch(session, key)
            if row is not None:
                raise AlreadyReserved(row)
            if total is not None and number >= total:
                raise NoneLeft
            trial_id, trial_number = _numbers(made)
            values = self._row(number, key, trial_id, ended=trial.state.is_finished())
            session.execute(insert(SLOTS).values(**values))
            return trial_id, trial_number, number

        try:
            trial._trial_id, trial.number, slot = in_transaction(self.storage, write)
        except IntegrityError:
            raise AlreadyReserved from None
        except AlreadyReserved as taken:
            # A database that goes away may have written what it could not say any more.
            trial._trial_id, trial.number, slot = self._adopt(taken)
        self._own.add(trial._trial_id)
        if trial.state.is_finished():
            self.storage.keep(trial._trial_id)
        return Reservation(slot, trial._trial_id, self.runner, 1, key)

    def end(self, trial: FrozenTrial) -> bool:
        """Write what became of a running trial; false where it was taken from this process meanwhile."""

        def write(session: Session) -> bool:
            self._lock(session)
            row = self._of_trial(session, trial._trial_id)
            if row is None or row.runner != self.runner:
                return False
            if not row.ended:
                write_end(session, trial)
                self._update(session, row.slot, ended=True)
            return True

        return self._kept(trial._trial_id, in_transaction(self.storage, write))

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
            made = self.storage._get_prepared_new_trial(self.study_id, trial, session)
            trial_id, number = _numbers(made)
            self._update(session, slot.number, trial_id=trial_id, runner=self.runner, attempts=slot.attempts + 1)
            return trial_id, number

        numbers = self._kept(slot.trial_id, in_transaction(self.storage, write))
        if numbers is None:
            return None
        trial._trial_id, trial.number = numbers
        self._own.add(trial._trial_id)
        return Reservation(slot.number, trial._trial_id, self.runner, slot.attempts + 1, slot.key)

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

    def free(self, trial_ids: Collection[int]) -> None:
        """Free the keys of reservations whose last trials are these, so that their jobs can be begun again.

        The rows stay, under keys that no trial reserves: numbers of reservations have no gaps. One that has a newer
        trial by now is left alone, so any process may do this at any time.
        """

        def write(session: Session) -> None:
            self._lock(session)
            for trial_id in trial_ids:
                row = self._of_trial(session, trial_id)
                if row is not None:
                    self._update(session, row.slot, arch=digest(f"trial {trial_id}"))

        in_transaction(self.storage, write)

    def _kept(self, trial_id: int, done: T) -> T:
        """What a transaction gave; a trial that ended in it is appended to the journal."""
        if done:
            self.storage.keep(trial_id)
        return done

    def open(self) -> list[Reservation]:
        """Slots that have not ended, in order."""
        wanted = select(SLOTS).where(SLOTS.c.study_id == self.study_id, SLOTS.c.ended.is_(False)).order_by(SLOTS.c.slot)
        rows = in_transaction(self.storage, lambda session: session.execute(wanted).all())
        return [Reservation(row.slot, row.trial_id, row.runner, row.attempts, row.arch) for row in rows]

    def count(self) -> int:
        """How many there are."""
        return in_transaction(self.storage, self._count)

    def _lock(self, session: Session) -> None:
        """Nobody else changes slots of this study until the transaction is over.

        SQLite locks with the first write alone, and that has to come before what is decided by is read.
        """
        none = SLOTS.c.study_id == self.study_id, SLOTS.c.slot == -1
        session.execute(update(SLOTS).where(*none).values(ended=False))
        models.StudyModel.find_or_raise_by_id(self.study_id, session, for_update=True)

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
        wanted = select(models.TrialModel.trial_id).where(models.TrialModel.study_id == self.study_id).limit(1)
        return session.execute(wanted).first() is not None

    def _without(self) -> Any:
        """Trials that no slot knows: id, number, state, whether they were killed, what makes their keys."""
        trials, kept = models.TrialModel, models.TrialUserAttributeModel

        def attribute(name: str) -> Any:
            return (
                select(kept.value_json)
                .where(kept.trial_id == trials.trial_id, kept.key == name)
                .correlate(trials)
                .scalar_subquery()
            )

        known = select(SLOTS.c.trial_id).where(SLOTS.c.study_id == self.study_id)
        return (
            select(trials.trial_id, trials.number, trials.state, attribute(KILLED), *map(attribute, _KEYS))
            .where(trials.study_id == self.study_id, trials.trial_id.not_in(known))
            .order_by(trials.number)
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
        number = select(models.TrialModel.number).where(models.TrialModel.trial_id == row.trial_id)
        numbered = in_transaction(self.storage, lambda session: session.execute(number).scalar_one())
        return row.trial_id, numbered, row.slot


def _numbers(made: Any) -> tuple[int, int]:
    """Of a row that was written just now."""
    return made.trial_id, made.number


def _fail(session: Session, trial_id: int, kept: Mapping[str, Any]) -> None:
    """End a trial that runs without a value."""
    state = select(models.TrialModel.state).where(models.TrialModel.trial_id == trial_id)
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
