"""Optuna's relational storage with its internal steps as public methods, and the cache that Optuna puts before it."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState

from nas.optuna_private.tables import require_study

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

CachedStorage = _CachedStorage


def backend_of(storage: BaseStorage) -> BaseStorage:
    """Return the storage behind Optuna's cache, or the storage itself where there is no cache."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def read_again(storage: BaseStorage, study_id: int, trial_ids: Iterable[int]) -> None:
    """Have Optuna's cache, where there is one, read some trials afresh with its next read, although they have ended."""
    if isinstance(storage, _CachedStorage):
        with storage._lock:
            storage._studies[study_id].unfinished_trial_ids.update(trial_ids)


def transaction(storage: RDBStorage) -> "AbstractContextManager[Session]":
    """Return the session of one transaction, which is committed at the end of the context or rolled back.

    Raises:
        StorageInternalError: The database refuses, for another reason than an `IntegrityError`.
        sqlalchemy.exc.IntegrityError: A row with the same key exists.
    """
    return _create_scoped_session(storage.scoped_session)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Report rows that are no trial as a failure of the storage: any program may have written them."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageInternalError(f"{what} cannot be read: {error}") from None


class HookedStorage(RDBStorage):
    """Store studies as `RDBStorage` does; a subclass reads trials and writes their contents in its own way."""

    @abstractmethod
    def read_trials(
        self,
        session: "Session",
        study_id: int,
        after: int,
        others: Collection[int],
        states: Container[TrialState] | None,
    ) -> list[FrozenTrial]:
        """Read trials of a study in a transaction, by rising number in the database.

        All trials are read through this method, except for single ones.

        Args:
            session: The transaction.
            study_id: Number of the study.
            after: Trials with a higher number in the database than this one are read.
            others: Trials with these numbers, none of them higher than `after`, are read as well.
            states: Trials in other states are left out; None for all states.
        """

    @abstractmethod
    def write_contents(self, session: "Session", study_id: int, trial_id: int, template: FrozenTrial) -> None:
        """Write all that a new trial holds, except for its own row, in the transaction that makes it.

        Args:
            session: The transaction.
            study_id: Number of the study.
            trial_id: Number of the trial, whose own row is there already.
            template: What is to be written.
        """

    @abstractmethod
    def trial_was_created(self, study_id: int, trial: FrozenTrial) -> None:
        """Do what follows the transaction in which `create_new_trial` made a trial."""

    def insert_trial(self, session: "Session", study_id: int, template: FrozenTrial) -> tuple[int, int]:
        """Write a new trial in a transaction of the caller, who has locked the study.

        Returns:
            The trial's number in the database, and its number in the study.
        """
        row = self._get_prepared_new_trial(study_id, template, session)
        return int(row.trial_id), int(row.number)

    def trial_with_study_id(self, trial_id: int) -> tuple[int, FrozenTrial]:
        """Read a trial and the number of its study in one transaction.

        Raises:
            KeyError: There is no trial of that number.
        """
        with transaction(self) as session:
            row = models.TrialModel.find_or_raise_by_id(trial_id, session)
            return int(row.study_id), self._build_frozen_trial_from_trial_model(row)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        # Optuna's cache asks for trials that are newer than those it holds, and by number for those that were
        # unfinished.
        others = {trial_id for trial_id in included_trial_ids if trial_id <= trial_id_greater_than}
        return self.read_at_once(
            study_id, lambda session: self.read_trials(session, study_id, trial_id_greater_than, others, states)
        )

    def read_at_once(self, study_id: int, read: "Callable[[Session], list[FrozenTrial]]") -> list[FrozenTrial]:
        """Return trials of a study that a function reads in one transaction.

        Args:
            study_id: Number of the study in the database.
            read: Function that reads them.

        Raises:
            KeyError: There is no such study.
            ValueError: The rows hold what Optuna does not write.
        """
        with transaction(self) as session:
            require_study(session, study_id)
            with _readable("a trial"):
                return read(session)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        self.trial_was_created(study_id, trial)
        return trial

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: "Session"
    ) -> models.TrialModel:
        if template_trial is None:
            return super()._get_prepared_new_trial(study_id, None, session)
        row = models.TrialModel(
            study_id=study_id,
            number=None,
            state=template_trial.state,
            datetime_start=template_trial.datetime_start,
            datetime_complete=template_trial.datetime_complete,
        )
        session.add(row)
        session.flush()  # gives the row its number, which the rows of all other tables need
        self.write_contents(session, study_id, int(row.trial_id), template_trial)
        # Numbers have no gaps and no duplicates, because the caller has locked the study.
        row.number = row.count_past_trials(session)
        session.add(row)
        return row

    def _build_frozen_trial_from_trial_model(self, trial: models.TrialModel) -> FrozenTrial:
        with _readable(f"trial {trial.number}"):
            return super()._build_frozen_trial_from_trial_model(trial)

    def trials_after(self, study_id: int, after: int, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """Read a study's trials in some states whose number in the database is higher than `after`."""
        return self._get_trials(study_id, states, set(), after)
