"""Optuna's tables in a relational database, and the form in which they hold trials.

The tables are for statements of SQLAlchemy's Core: one statement then writes or reads the rows of many parameters or
trials, where Optuna's own mapping needs one for each.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Table

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def _table(model: Any) -> Table:
    return cast(Table, model.__table__)


STUDY_ATTRIBUTES = _table(models.StudyUserAttributeModel)
STUDY_SYSTEM_ATTRIBUTES = _table(models.StudySystemAttributeModel)
TRIALS = _table(models.TrialModel)
PARAMS = _table(models.TrialParamModel)
VALUES = _table(models.TrialValueModel)
STEPS = _table(models.TrialIntermediateValueModel)
USER_ATTRIBUTES = _table(models.TrialUserAttributeModel)
SYSTEM_ATTRIBUTES = _table(models.TrialSystemAttributeModel)


def require_study(session: "Session", study_id: int) -> None:
    """Check that a study exists.

    Raises:
        KeyError: There is no study of that number.
    """
    models.StudyModel.find_or_raise_by_id(study_id, session)


def lock_study(session: "Session", study_id: int) -> None:
    """Lock a study's row until the transaction ends; SQLite ignores this.

    Raises:
        KeyError: There is no study of that number.
    """
    models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)


def insert_study(session: "Session", name: str, directions: Sequence[StudyDirection]) -> int:
    """Write a new study without attributes and trials, and return its number.

    Raises:
        sqlalchemy.exc.IntegrityError: There is a study of that name.
    """
    rows = [models.StudyDirectionModel(objective=i, direction=d) for i, d in enumerate(directions)]
    study = models.StudyModel(study_name=name, directions=rows)
    session.add(study)
    # Gives the study its number, which the caller needs before the commit.
    session.flush()
    return int(study.study_id)


def end_trial_row(session: "Session", trial_id: int, state: TrialState, completed: datetime | None) -> None:
    """Write a trial's last state and the local time at which it ended into its own row.

    Raises:
        sqlalchemy.exc.NoResultFound: There is no trial of that number.
    """
    row = session.get_one(models.TrialModel, trial_id)
    row.state, row.datetime_complete = state, completed


def content_rows(trial: FrozenTrial) -> list[tuple[Table, list[dict[str, Any]]]]:
    """Return a trial's rows by table, without `trial_id` and without the trial's own row."""
    values = [models.TrialValueModel.value_to_stored_repr(value) for value in trial.values or ()]
    steps = [
        (step, *models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value))
        for step, value in trial.intermediate_values.items()
    ]
    return [
        (VALUES, [{"objective": i, "value": v, "value_type": t} for i, (v, t) in enumerate(values)]),
        (PARAMS, [_param_row(trial, name) for name in trial.params]),
        (USER_ATTRIBUTES, attribute_rows(trial.user_attrs)),
        (SYSTEM_ATTRIBUTES, attribute_rows(trial.system_attrs)),
        (STEPS, [{"step": s, "intermediate_value": v, "intermediate_value_type": t} for s, v, t in steps]),
    ]


def _param_row(trial: FrozenTrial, name: str) -> dict[str, Any]:
    distribution = trial.distributions[name]
    return {
        "param_name": name,
        "param_value": distribution.to_internal_repr(trial.params[name]),
        "distribution_json": distribution_to_json(distribution),
    }


def attribute_rows(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of attributes of a study or a trial, without the number of either."""
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def local_time(stored: datetime | None) -> datetime | None:
    """Return the local time without a zone, as trials have it, of a time in `TRIALS`.

    Since Optuna 5.0 the table holds UTC, and trials still hold the local time of the process that reads them.
    """
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def read_value(value: float | None, kind: Any) -> float:
    """Return the value that the columns `value` and `value_type` of `VALUES` stand for."""
    return models.TrialValueModel.stored_repr_to_value(value, kind)


def read_step(value: float | None, kind: Any) -> float:
    """Return the value that `intermediate_value` and `intermediate_value_type` of `STEPS` stand for."""
    return models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(value, kind)
