"""Optuna's relational storage, with a new trial written in a few statements, and many trials read in a few.

Optuna looks up and adds every parameter and attribute by itself, some 200 statements for a trial of 42 parameters. The
same rows are written here in one statement a table, in one transaction. See `reading` for the way back.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy
from optuna.distributions import BaseDistribution, check_distribution_compatibility, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.optuna_private.identity import trial_id as id_of
from nas.optuna_private.storage import CachedStorage, HookedStorage, backend_of, transaction
from nas.optuna_private.tables import (
    PARAMS,
    STUDY_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
    attribute_rows,
    content_rows,
    end_trial_row,
    insert_study,
)
from nas.studies.journal import Journal, open_journal
from nas.studies.journal_files import journal_folder
from nas.studies.outage import patiently
from nas.studies.trial_rows import read_trials

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def _nothing(_message: str) -> None:
    return


def _patient_engine(url: str) -> dict[str, Any]:
    """SQLite waits for other processes; a server may have closed a connection that lay idle, or be gone silently."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    silent = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
    return {"pool_pre_ping": True, **({"connect_args": silent} if url.startswith("postgresql") else {})}


class BulkStorage(HookedStorage):
    """An `RDBStorage` that makes trials from templates and reads many for little, and keeps journals of its studies.

    Attributes:
        say: is told, in a sentence, what the user should know of the database.
        check_interrupts: called while the database is waited for; may raise.
    """

    def __init__(self, url: str, say: Callable[[str], None] = _nothing) -> None:
        super().__init__(url, engine_kwargs=_patient_engine(url))
        self.say = say
        self.check_interrupts: Callable[[], None] = lambda: None

    def read_trials(
        self,
        session: "Session",
        study_id: int,
        after: int,
        others: Collection[int],
        states: Container[TrialState] | None,
    ) -> list[FrozenTrial]:
        """See `HookedStorage`."""
        return read_trials(session, study_id, after, others, states)

    def write_contents(self, session: "Session", study_id: int, trial_id: int, template: FrozenTrial) -> None:
        """See `HookedStorage`; one statement a table."""
        self._check_params(study_id, template, session)
        for table, rows in content_rows(template):
            if rows:
                session.execute(sqlalchemy.insert(table), [{"trial_id": trial_id, **row} for row in rows])

    def trial_was_created(self, study_id: int, trial: FrozenTrial) -> None:
        """See `HookedStorage`; a trial that has ended already goes to the journal."""
        if trial.state.is_finished() and (journal := self._journal(study_id)):
            journal.trial(trial)

    def __getstate__(self) -> dict[Any, Any]:
        """Without what a process holds for itself."""
        return {name: value for name, value in super().__getstate__().items() if name != "_journals"}

    def _journal(self, study_id: int) -> Journal | None:
        journals: dict[int, Journal | None] = self.__dict__.setdefault("_journals", {})
        if study_id not in journals:
            journals[study_id] = open_journal(self, study_id)
        return journals[study_id]

    def catch_up(self, study_id: int) -> None:
        """Append what the journal of a study lacks."""
        if journal := self._journal(study_id):
            journal.catch_up()

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """See `RDBStorage`."""
        study_id = super().create_new_study(directions, study_name)
        if journal := self._journal(study_id):
            journal.begin()
        return study_id

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `RDBStorage`."""
        super().set_study_user_attr(study_id, key, value)
        if journal := self._journal(study_id):
            journal.note(key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See `RDBStorage`."""
        done = super().set_trial_state_values(trial_id, state, values)
        if done and state.is_finished():
            self.keep(trial_id)
        return done

    def keep(self, trial_id: int) -> None:
        """Append a trial that has just finished to its study's journal."""
        if journal_folder(self.url) is None:
            return
        study_id, trial = self.trial_with_study_id(trial_id)
        if journal := self._journal(study_id):
            journal.trial(trial)

    def add_study(
        self,
        name: str,
        directions: Sequence[StudyDirection],
        attributes: Mapping[str, Any],
        trials: Iterable[FrozenTrial],
    ) -> None:
        """Add a whole study in one transaction; its trials are numbered as they come.

        Raises:
            sqlalchemy.exc.IntegrityError: there is one of that name.
        """
        with transaction(self) as session:
            study_id = insert_study(session, name, directions)
            kept = [{"study_id": study_id, **row} for row in attribute_rows(attributes)]
            if kept:
                session.execute(sqlalchemy.insert(STUDY_ATTRIBUTES), kept)
            for trial in trials:
                self.insert_trial(session, study_id, trial)

    def _check_params(self, study_id: int, trial: FrozenTrial, session: "Session") -> None:
        """A parameter must have the kind of distribution that the study's first trial with it had.

        What was once let in is not looked up again: nothing else can have come in since.
        """
        checked: set[tuple[int, str, BaseDistribution]] = self.__dict__.setdefault("_checked", set())
        new = {name for name, kind in trial.distributions.items() if (study_id, name, kind) not in checked}
        if not new:
            return
        firsts = (
            sqlalchemy.select(sqlalchemy.func.min(PARAMS.c.param_id))
            .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
            .where(TRIALS.c.study_id == study_id, PARAMS.c.param_name.in_(sorted(new)))
            .group_by(PARAMS.c.param_name)
        )
        wanted = sqlalchemy.select(PARAMS.c.param_name, PARAMS.c.distribution_json)
        for name, text in session.execute(wanted.where(PARAMS.c.param_id.in_(firsts))):
            check_distribution_compatibility(json_to_distribution(text), trial.distributions[name])
        checked.update((study_id, name, trial.distributions[name]) for name in new)


class PatientStorage(CachedStorage):
    """A storage that waits for its database where that goes away; what is done twice gives the same."""


def _patient(name: str) -> Callable[..., Any]:
    def method(self: PatientStorage, *arguments: Any, **named: Any) -> Any:
        backend = cast(BulkStorage, backend_of(self))
        return patiently(
            lambda: getattr(CachedStorage, name)(self, *arguments, **named), backend.say, backend.check_interrupts
        )

    return method


for _name in (
    "get_all_trials",
    "get_trial",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "set_study_user_attr",
    "set_study_system_attr",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "set_trial_intermediate_value",
):
    setattr(PatientStorage, _name, _patient(_name))


def write_end(session: "Session", trial: FrozenTrial) -> None:
    """Write how a running trial ended: its state, its values, and those attributes that have come since it began."""
    trial_id = id_of(trial)
    end_trial_row(session, trial_id, trial.state, trial.datetime_complete)
    known = sqlalchemy.select(USER_ATTRIBUTES.c.key).where(USER_ATTRIBUTES.c.trial_id == trial_id)
    old = {*session.scalars(known)}
    new = {key: value for key, value in trial.user_attrs.items() if key not in old}
    values = next(rows for table, rows in content_rows(trial) if table is VALUES)
    for table, rows in ((VALUES, values), (USER_ATTRIBUTES, attribute_rows(new))):
        if rows:
            session.execute(sqlalchemy.insert(table), [{"trial_id": trial_id, **row} for row in rows])
