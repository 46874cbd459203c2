"""Reading of trials from Optuna's tables by a few plain selects.

Optuna makes an object of every row and parses the distribution of every parameter again: over a hundred objects and 42
distributions for a trial of 42 parameters. Here the same trials are built from plain rows, and each distinct
distribution is parsed once.
"""

import json
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from nas.optuna_private.identity import trial_id as id_of
from nas.optuna_private.tables import (
    PARAMS,
    STEPS,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
    local_time,
    read_step,
    read_value,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Trials = Mapping[int, FrozenTrial]
# Trials that one statement names: SQLite allowed 999 values in a statement until version 3.32.
TRIALS_PER_STATEMENT = 500


def read_trials(
    session: "Session",
    study_id: int,
    after: int,
    others: Collection[int],
    states: Container[TrialState] | None,
    *,
    only: Collection[str] | None = None,
) -> list[FrozenTrial]:
    """Return trials of a study, ordered by their numbers in the database.

    Args:
        session: The transaction in which the trials are read.
        study_id: Number of the study in the database.
        after: Trials with a higher number in the database than this one are read.
        others: Trials with these numbers, none of them higher than `after`, are read as well.
        states: Trials in other states are left out; None for all states.
        only: Names of the user attributes to read; parameters, intermediate values and system attributes, which are
            most of all rows, are then left out. None reads everything.
    """
    found = [*_newer(session, study_id, after), *_named(session, study_id, sorted(others))]
    trials = {id_of(trial): trial for trial in found if states is None or trial.state in states}
    _fill_values(session, trials)
    _fill_user_attributes(session, trials, only)
    if only is None:
        for fill in (_fill_params, _fill_steps, _fill_system_attributes):
            fill(session, trials)
    return [trials[trial_id] for trial_id in sorted(trials)]


def _newer(session: "Session", study_id: int, after: int) -> Iterator[FrozenTrial]:
    yield from map(_without_contents, session.execute(_heads(study_id).where(TRIALS.c.trial_id > after)))


def _named(session: "Session", study_id: int, trial_ids: Sequence[int]) -> Iterator[FrozenTrial]:
    for some in _portions(trial_ids):
        yield from map(_without_contents, session.execute(_heads(study_id).where(TRIALS.c.trial_id.in_(some))))


def _heads(study_id: int) -> sqlalchemy.Select[Any]:
    columns = ("trial_id", "number", "state", "datetime_start", "datetime_complete")
    return sqlalchemy.select(*(TRIALS.c[name] for name in columns)).where(TRIALS.c.study_id == study_id)


def _without_contents(row: Sequence[Any]) -> FrozenTrial:
    """Return a trial without the contents that other tables hold."""
    trial_id, number, state, start, end = row
    return FrozenTrial(number, state, None, local_time(start), local_time(end), {}, {}, {}, {}, {}, trial_id)


def _rows(
    session: "Session", table: sqlalchemy.Table, trials: Trials, *columns: str, keys: Collection[str] | None = None
) -> Iterator[Sequence[Any]]:
    """Yield `trial_id` and these columns of the trials' rows, those of one trial ordered by the first column.

    Args:
        session: The transaction in which the rows are read.
        table: Table of the rows.
        trials: The trials.
        columns: Names of the columns.
        keys: Values of the column "key" of the rows to read; None reads all rows.
    """
    chosen = [table.c[name] for name in ("trial_id", *columns)]
    query = sqlalchemy.select(*chosen).order_by(*chosen[:2])
    if keys is not None:
        query = query.where(table.c.key.in_(keys))
    for some in _portions(list(trials)):
        # All rows of a portion at once: one by one they take twice as long.
        yield from session.execute(query.where(table.c.trial_id.in_(some))).all()


def _portions(trial_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    yield from (
        trial_ids[start : start + TRIALS_PER_STATEMENT] for start in range(0, len(trial_ids), TRIALS_PER_STATEMENT)
    )


def _fill_params(session: "Session", trials: Trials) -> None:
    read = cache(json_to_distribution)
    columns = ("param_id", "param_name", "param_value", "distribution_json")
    for trial_id, _, name, value, text in _rows(session, PARAMS, trials, *columns):
        trial, kind = trials[trial_id], read(text)
        trial.params[name], trial.distributions[name] = kind.to_external_repr(value), kind


def _fill_values(session: "Session", trials: Trials) -> None:
    for trial_id, _, value, kind in _rows(session, VALUES, trials, "objective", "value", "value_type"):
        trials[trial_id].values = [*(trials[trial_id].values or ()), read_value(value, kind)]


def _fill_steps(session: "Session", trials: Trials) -> None:
    columns = ("step", "intermediate_value", "intermediate_value_type")
    for trial_id, step, value, kind in _rows(session, STEPS, trials, *columns):
        trials[trial_id].intermediate_values[step] = read_step(value, kind)


def _fill_user_attributes(session: "Session", trials: Trials, only: Collection[str] | None) -> None:
    for trial_id, key, text in _rows(session, USER_ATTRIBUTES, trials, "key", "value_json", keys=only):
        trials[trial_id].user_attrs[key] = json.loads(text)


def _fill_system_attributes(session: "Session", trials: Trials) -> None:
    for trial_id, key, text in _rows(session, SYSTEM_ATTRIBUTES, trials, "key", "value_json"):
        trials[trial_id].system_attrs[key] = json.loads(text)
