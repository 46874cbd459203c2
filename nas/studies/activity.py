"""Records of the processes at work on the studies of a database, and of the times and software of their trials."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy
from attrs import frozen
from optuna.storages import BaseStorage
from sqlalchemy import Float, select
from sqlalchemy.orm import Session

from nas.errors import StudyError
from nas.studies.failures import explained
from nas.studies.heartbeats import GRACE_S
from nas.studies.process_identity import is_alive
from nas.studies.tables import PROCESSES, at_once, backend, now

THREADS = "nas:threads"
_LONGEST = 200  # characters of a value that any program may have written


def is_active(storage: BaseStorage) -> bool:
    """Return whether any process is at work on a study of a database.

    Processes of this machine are looked up, and those of other machines count for a minute after their last heartbeat.
    A database of an earlier version, or of another program, has no heartbeats.
    """
    database = backend(storage)
    if not sqlalchemy.inspect(database.engine).has_table(PROCESSES.name):
        return False
    recent = PROCESSES.c.beat > sqlalchemy.literal_column(f"{now(database)} - {GRACE_S}", Float)

    def read(session: Session) -> list[tuple[str, bool]]:
        return [(str(token), bool(seen)) for token, seen in session.execute(select(PROCESSES.c.runner, recent)).all()]

    with explained(str(database.engine.url.render_as_string(hide_password=False))):
        rows = at_once(database, read)
    return any(seen if (alive := is_alive(token)) is None else alive for token, seen in rows)


@frozen
class Provenance:
    """Hold with what and when the trials of a study were made.

    Attributes:
        begun: Local time at which the first trial began; None without trials.
        ended: Local time at which the last trial ended; None if none has ended.
        versions: Versions of software, each with the number of trials that were made with it.
        environments: Values such as the device and the number of threads of training runs, with numbers of trials.
        threads: Number of threads of each training run that a probe chose, by the machine and its CPU cores.
    """

    begun: datetime | None
    ended: datetime | None
    versions: tuple[tuple[str, int], ...]
    environments: tuple[tuple[str, int], ...]
    threads: tuple[tuple[str, str], ...]


def read_provenance(storage: BaseStorage, study: str) -> Provenance:
    """Return with what and when the trials of a study were made.

    Raises:
        StudyError: There is no such study, or it cannot be read.
    """
    with explained(""):
        try:
            study_id = storage.get_study_id_from_name(study)
            trials = storage.get_all_trials(study_id, deepcopy=False)
            kept = storage.get_study_user_attrs(study_id)
        except KeyError:
            raise StudyError(f"there is no study {study!r}", "`nas studies` lists the studies") from None
    begun = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ended = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    return Provenance(
        min(begun, default=None),
        max(ended, default=None),
        _counted(trial.user_attrs.get("versions") for trial in trials),
        _counted(trial.user_attrs.get("environment") for trial in trials),
        tuple((key.removeprefix(f"{THREADS}:"), _threads(value)) for key, value in kept.items() if THREADS in key),
    )


def _counted(values: "Any") -> tuple[tuple[str, int], ...]:
    words = Counter(_words(value) for value in values if isinstance(value, Mapping) and value)
    return tuple(words.most_common())


def _words(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {each}" for name, each in sorted(value.items()))[:_LONGEST]


def _threads(value: object) -> str:
    return str(value.get("threads", "unknown"))[:_LONGEST] if isinstance(value, Mapping) else "unknown"
