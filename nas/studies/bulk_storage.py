"""Optuna's relational storage, with a new trial written in a few statements and journals of its studies.

Optuna looks up and adds every parameter and attribute by itself, some 200 statements for a trial of 42 parameters. Here
the same rows are written with one statement for each table, in one transaction: 2 ms instead of 30 in
`benchmarks/overhead.py`. `trial_rows` reads them in the same way.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy
from optuna.distributions import BaseDistribution, check_distribution_compatibility, json_to_distribution
from optuna.storages import BaseStorage
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
from nas.studies.outage import retry_while_away
from nas.studies.reservation_keys import ARCH
from nas.studies.trial_rows import read_trials

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def _say_nothing(_message: str) -> None:
    return


def _engine_options(url: str) -> dict[str, Any]:
    """Return options with which connections wait for other processes and notice that a server is gone."""
    if url.startswith("sqlite"):
        # One process writes at a time; the others wait up to a minute for it instead of the usual 5 seconds.
        return {"connect_args": {"timeout": 60}}
    # A server may close a connection that is idle, so each is checked before use. A server that vanishes without
    # closing its connections is noticed within a minute instead of the two hours that TCP waits by default.
    silence = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
    return {"pool_pre_ping": True, **({"connect_args": silence} if url.startswith("postgresql") else {})}


class BulkStorage(HookedStorage):
    """Store studies as `RDBStorage` does, with few statements for each trial, and keep journals of them.

    Attributes:
        say: Called with a sentence that the user should read, for example that the database does not answer.
        check_interrupts: Called while this process waits for the database; may raise.
    """

    def __init__(self, url: str, say: Callable[[str], None] = _say_nothing) -> None:
        super().__init__(url, engine_kwargs=_engine_options(url))
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
        """See `HookedStorage`; one statement for each table."""
        self._check_params(study_id, template, session)
        for table, rows in content_rows(template):
            if rows:
                session.execute(sqlalchemy.insert(table), [{"trial_id": trial_id, **row} for row in rows])

    def trial_was_created(self, study_id: int, trial: FrozenTrial) -> None:
        """See `HookedStorage`; append a trial that has ended already to the journal."""
        if trial.state.is_finished() and (journal := self._journal(study_id)):
            journal.trial(trial)

    def __getstate__(self) -> dict[Any, Any]:
        """Return what another process needs; it opens the journals again."""
        return {name: value for name, value in super().__getstate__().items() if name != "_journals"}

    def _journal(self, study_id: int) -> Journal | None:
        # In another process the attribute is missing, because `__getstate__` leaves it out.
        journals: dict[int, Journal | None] = self.__dict__.setdefault("_journals", {})
        if study_id not in journals:
            journals[study_id] = open_journal(self, study_id)
        return journals[study_id]

    def catch_up(self, study_id: int) -> None:
        """Append to the journal of a study all that it lacks."""
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
        # The database first: a journal may lack lines, which `catch_up` appends, but never holds more than the
        # database.
        super().set_study_user_attr(study_id, key, value)
        if journal := self._journal(study_id):
            journal.attribute(key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See `RDBStorage`."""
        done = super().set_trial_state_values(trial_id, state, values)
        if done and state.is_finished():
            self.keep(trial_id)
        return done

    def keep(self, trial_id: int) -> None:
        """Append a trial that has just ended to the journal of its study."""
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
        """Add a whole study in one transaction; trials get their numbers in the order in which they are given.

        Raises:
            sqlalchemy.exc.IntegrityError: There is a study of that name.
        """
        with transaction(self) as session:
            study_id = insert_study(session, name, directions)
            kept = [{"study_id": study_id, **row} for row in attribute_rows(attributes)]
            if kept:
                session.execute(sqlalchemy.insert(STUDY_ATTRIBUTES), kept)
            for trial in trials:
                self.insert_trial(session, study_id, trial)

    def _check_params(self, study_id: int, trial: FrozenTrial, session: "Session") -> None:
        """Check that each parameter has a distribution compatible with that of the study's first trial that has it.

        Trials with an architecture are compared with each other alone, and so are those without: the trials of another
        program must not stop a search. Distributions that passed are remembered. The first trial with a parameter never
        changes, so the answer does not either, and a search of thousands of trials looks each parameter up once.

        Raises:
            ValueError: A distribution is not compatible.
        """
        checked: set[tuple[int, bool, str, BaseDistribution]] = self.__dict__.setdefault("_checked", set())
        is_own = ARCH in trial.user_attrs
        new = {name for name, kind in trial.distributions.items() if (study_id, is_own, name, kind) not in checked}
        if not new:
            return
        having = sqlalchemy.select(USER_ATTRIBUTES.c.trial_id).where(USER_ATTRIBUTES.c.key == ARCH)
        of_kind = PARAMS.c.trial_id.in_(having) if is_own else PARAMS.c.trial_id.not_in(having)
        firsts = (
            sqlalchemy.select(sqlalchemy.func.min(PARAMS.c.param_id))
            .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
            .where(TRIALS.c.study_id == study_id, PARAMS.c.param_name.in_(sorted(new)), of_kind)
            .group_by(PARAMS.c.param_name)
        )
        wanted = sqlalchemy.select(PARAMS.c.param_name, PARAMS.c.distribution_json)
        for name, text in session.execute(wanted.where(PARAMS.c.param_id.in_(firsts))):
            check_distribution_compatibility(json_to_distribution(text), trial.distributions[name])
        checked.update((study_id, is_own, name, trial.distributions[name]) for name in new)


def read_attributes(storage: BaseStorage, study_id: int, only: Collection[str]) -> list[FrozenTrial]:
    """Return all trials of a study, ordered by their numbers, with their values and some of their user attributes.

    What else a trial holds is there too where leaving it out is not faster. The trials bypass Optuna's cache, whose
    trials must be complete.

    Args:
        storage: Storage of the study.
        study_id: Number of the study in the database.
        only: Names of the user attributes.
    """
    backend = backend_of(storage)
    if not isinstance(backend, BulkStorage):
        return storage.get_all_trials(study_id, deepcopy=False)

    def read() -> list[FrozenTrial]:
        return backend.read_at_once(study_id, lambda session: read_trials(session, study_id, -1, (), None, only=only))

    return sorted(retry_while_away(read, backend.say, backend.check_interrupts), key=lambda trial: trial.number)


class RetryingStorage(CachedStorage):
    """Cache trials as Optuna does, and repeat reads and writes while the database is away.

    Only methods that may be repeated after they took effect are here: creating a trial twice would make two trials.
    """


def _retrying(name: str) -> Callable[..., Any]:
    def method(self: RetryingStorage, *arguments: Any, **named: Any) -> Any:
        backend = cast(BulkStorage, backend_of(self))
        return retry_while_away(
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
    setattr(RetryingStorage, _name, _retrying(_name))


def write_end(session: "Session", trial: FrozenTrial) -> None:
    """Write how a running trial ended: its state, its values, and the attributes that it did not have yet."""
    trial_id = id_of(trial)
    end_trial_row(session, trial_id, trial.state, trial.datetime_complete)
    # Attributes from the start of the trial never change, so only new ones are written.
    known = sqlalchemy.select(USER_ATTRIBUTES.c.key).where(USER_ATTRIBUTES.c.trial_id == trial_id)
    old = {*session.scalars(known)}
    new = {key: value for key, value in trial.user_attrs.items() if key not in old}
    values = next(rows for table, rows in content_rows(trial) if table is VALUES)
    for table, rows in ((VALUES, values), (USER_ATTRIBUTES, attribute_rows(new))):
        if rows:
            session.execute(sqlalchemy.insert(table), [{"trial_id": trial_id, **row} for row in rows])
