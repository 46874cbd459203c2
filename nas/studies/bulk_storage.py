"""Optuna's relational storage, with a new trial written in a few statements, and many trials read in a few.

Optuna looks up and adds every parameter and attribute by itself, some 200 statements for a trial of 42 parameters. The
same rows are written here in one statement a table, in one transaction. See `reading` for the way back.
"""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.studies.journal import Journal, open_journal
from nas.studies.journal_files import journal_folder
from nas.studies.outage import patiently
from nas.studies.trial_rows import read_trials

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Rows that make no trial are told as the storage's; anyone may have written them."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageInternalError(f"{what} cannot be read: {error}") from None


def _nothing(_message: str) -> None:
    return


def _patient_engine(url: str) -> dict[str, Any]:
    """SQLite waits for other processes; a server may have closed a connection that lay idle, or be gone silently."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    silent = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
    return {"pool_pre_ping": True, **({"connect_args": silent} if url.startswith("postgresql") else {})}


class BulkStorage(RDBStorage):
    """An `RDBStorage` that makes trials from templates and reads many for little, and keeps journals of its studies.

    Attributes:
        say: is told, in a sentence, what the user should know of the database.
        check_interrupts: called while the database is waited for; may raise.
    """

    def __init__(self, url: str, say: Callable[[str], None] = _nothing) -> None:
        super().__init__(url, engine_kwargs=_patient_engine(url))
        self.say = say
        self.check_interrupts: Callable[[], None] = lambda: None

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """See `RDBStorage`; all reading of more than one trial goes through it."""
        others = {trial_id for trial_id in included_trial_ids if trial_id <= trial_id_greater_than}
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            with _readable("a trial"):
                return read_trials(session, study_id, trial_id_greater_than, others, states)

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
        with _create_scoped_session(self.scoped_session) as session:
            model = models.TrialModel.find_or_raise_by_id(trial_id, session)
            study_id, trial = int(model.study_id), self._build_frozen_trial_from_trial_model(model)
        if journal := self._journal(study_id):
            journal.trial(trial)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """See `RDBStorage`."""
        trial = super()._create_new_trial(study_id, template_trial)
        if trial.state.is_finished() and (journal := self._journal(study_id)):
            journal.trial(trial)
        return trial

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: "Session"
    ) -> models.TrialModel:
        """See `RDBStorage`; runs inside its transaction."""
        if template_trial is None:
            return super()._get_prepared_new_trial(study_id, None, session)
        trial = models.TrialModel(
            study_id=study_id,
            number=None,
            state=template_trial.state,
            datetime_start=template_trial.datetime_start,
            datetime_complete=template_trial.datetime_complete,
        )
        session.add(trial)
        session.flush()
        self._check_params(study_id, template_trial, session)
        for model, rows in _rows(template_trial):
            if rows:
                session.execute(sqlalchemy.insert(model), [{"trial_id": trial.trial_id, **row} for row in rows])
        trial.number = trial.count_past_trials(session)
        session.add(trial)
        return trial

    def _build_frozen_trial_from_trial_model(self, trial: models.TrialModel) -> FrozenTrial:
        """See `RDBStorage`; anyone may have written the rows.

        Raises:
            StorageInternalError: they make no trial.
        """
        with _readable(f"trial {trial.number}"):
            return super()._build_frozen_trial_from_trial_model(trial)

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
        with _create_scoped_session(self.scoped_session) as session:
            rows = [models.StudyDirectionModel(objective=i, direction=d) for i, d in enumerate(directions)]
            study = models.StudyModel(study_name=name, directions=rows)
            session.add(study)
            session.flush()
            study_id = int(study.study_id)
            kept = [{"study_id": study_id, **row} for row in _attributes(attributes)]
            if kept:
                session.execute(sqlalchemy.insert(models.StudyUserAttributeModel), kept)
            for trial in trials:
                self._get_prepared_new_trial(study_id, trial, session)

    def _check_params(self, study_id: int, trial: FrozenTrial, session: "Session") -> None:
        """A parameter must have the kind of distribution that the study's first trial with it had.

        What was once let in is not looked up again: nothing else can have come in since.
        """
        checked: set[tuple[int, str, BaseDistribution]] = self.__dict__.setdefault("_checked", set())
        new = {name for name, kind in trial.distributions.items() if (study_id, name, kind) not in checked}
        if not new:
            return
        params, trials = models.TrialParamModel, models.TrialModel
        firsts = (
            sqlalchemy.select(sqlalchemy.func.min(params.param_id))
            .join(trials, trials.trial_id == params.trial_id)
            .where(trials.study_id == study_id, params.param_name.in_(sorted(new)))
            .group_by(params.param_name)
        )
        for row in session.scalars(sqlalchemy.select(params).where(params.param_id.in_(firsts))):
            known = json_to_distribution(str(row.distribution_json))
            check_distribution_compatibility(known, trial.distributions[str(row.param_name)])
        checked.update((study_id, name, trial.distributions[name]) for name in new)


class PatientStorage(_CachedStorage):
    """A storage that waits for its database where that goes away; what is done twice gives the same."""


def _patient(name: str) -> Callable[..., Any]:
    def method(self: PatientStorage, *arguments: Any, **named: Any) -> Any:
        backend = cast(BulkStorage, self._backend)
        return patiently(
            lambda: getattr(_CachedStorage, name)(self, *arguments, **named), backend.say, backend.check_interrupts
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
    row = session.get_one(models.TrialModel, trial._trial_id)
    row.state, row.datetime_complete = trial.state, trial.datetime_complete
    known = sqlalchemy.select(models.TrialUserAttributeModel.key).where(
        models.TrialUserAttributeModel.trial_id == trial._trial_id
    )
    old = {*session.scalars(known)}
    rows = {model: each for model, each in _rows(trial) if model is models.TrialValueModel}
    rows[models.TrialUserAttributeModel] = _attributes({k: v for k, v in trial.user_attrs.items() if k not in old})
    for model, each in rows.items():
        if each:
            session.execute(sqlalchemy.insert(model), [{"trial_id": trial._trial_id, **one} for one in each])


def _rows(trial: FrozenTrial) -> list[tuple[type[Any], list[dict[str, Any]]]]:
    """A trial's rows by table, but for the trial's own."""
    values = [models.TrialValueModel.value_to_stored_repr(value) for value in trial.values or ()]
    steps = [
        (step, *models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value))
        for step, value in trial.intermediate_values.items()
    ]
    return [
        (models.TrialValueModel, [{"objective": i, "value": v, "value_type": t} for i, (v, t) in enumerate(values)]),
        (models.TrialParamModel, [_param(trial, name) for name in trial.params]),
        (models.TrialUserAttributeModel, _attributes(trial.user_attrs)),
        (models.TrialSystemAttributeModel, _attributes(trial.system_attrs)),
        (
            models.TrialIntermediateValueModel,
            [{"step": s, "intermediate_value": v, "intermediate_value_type": t} for s, v, t in steps],
        ),
    ]


def _param(trial: FrozenTrial, name: str) -> dict[str, Any]:
    kind = trial.distributions[name]
    return {
        "param_name": name,
        "param_value": kind.to_internal_repr(trial.params[name]),
        "distribution_json": distribution_to_json(kind),
    }


def _attributes(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in kept.items()]
