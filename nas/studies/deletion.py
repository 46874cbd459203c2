"""Deletion of studies from their database: never one that a process is using, never one of another tool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from sqlalchemy import Float, delete, literal_column, select, union, update
from sqlalchemy.orm import Session

from nas.errors import StudyError
from nas.studies.bulk_storage import BulkStorage
from nas.studies.failures import explained
from nas.studies.heartbeats import GRACE_S
from nas.studies.journal_files import journal_folder, journal_path
from nas.studies.opening import open_uncached
from nas.studies.process_identity import describe_process, is_alive
from nas.studies.tables import LOCKS, PROCESSES, RESERVATIONS, in_transaction, make_tables, now
from nas.studies.urls import mask

_OWN = "nas:"  # beginning of the names of attributes that nas gives to its studies


@frozen
class Deletable:
    """Represent a study that can be deleted.

    Attributes:
        storage: Storage that holds the study.
        study_id: Optuna's number of the study.
        name: Name of the study.
        trials: Number of its trials, unfinished ones included.
        journal: File of its journal, None where there is none.
    """

    storage: BulkStorage
    study_id: int
    name: str
    trials: int
    journal: Path | None

    def delete(self, *, with_journal: bool) -> None:
        """Delete the study with its reservations and locks.

        Args:
            with_journal: Whether the journal is deleted too; without it the study cannot be restored.

        Raises:
            StudyError: A process has started to use the study, or the database or the journal cannot be written.
        """
        with explained(self.storage.url):
            in_transaction(self.storage, self._delete_unused)
            self.storage.delete_study(self.study_id)
            # A process that reserved something between the two has left a row, for a study that no longer exists.
            in_transaction(self.storage, self._delete_rows)
        if with_journal and self.journal is not None:
            _delete_file(self.journal)

    def _delete_unused(self, session: Session) -> None:
        # SQLite shuts out other writers from the first write on, so a write that changes nothing comes before the
        # reading: nobody can reserve anything between the check and the deletion.
        nothing = (
            update(RESERVATIONS)
            .where(RESERVATIONS.c.study_id == self.study_id, RESERVATIONS.c.slot == -1)
            .values(ended=False)
        )
        session.execute(nothing)
        _check_unused(self.storage, session, self.study_id, self.name)
        self._delete_rows(session)

    def _delete_rows(self, session: Session) -> None:
        for table in (RESERVATIONS, LOCKS):
            session.execute(delete(table).where(table.c.study_id == self.study_id))


def find_deletable(url: str, name: str) -> Deletable:
    """Return a study that can be deleted.

    Args:
        url: Optuna URL of the database.
        name: Name of the study.

    Raises:
        StudyError: There is no such study, another tool made it, or a process is using it.
    """
    storage = open_uncached(url, create=False)
    with explained(url):
        studies = {study.study_name: study for study in storage.get_all_studies()}
        own = [study.study_name for study in studies.values() if _is_own(study.user_attrs)]
        if name not in studies:
            raise StudyError(
                f"there is no study {name!r} in {mask(url)}", f"its studies are {', '.join(own) or 'none'}"
            )
        if name not in own:
            raise StudyError(
                f"study {name} in {mask(url)} was not made by nas, which deletes its own studies alone",
                "delete it with the tool that made it, for example `optuna delete-study`",
            )
        study_id = storage.get_study_id_from_name(name)
        make_tables(storage)
        in_transaction(storage, lambda session: _check_unused(storage, session, study_id, name))
        return Deletable(storage, study_id, name, storage.get_n_trials(study_id), _journal(url, name))


def _is_own(attributes: Mapping[str, Any]) -> bool:
    return any(key.startswith(_OWN) for key in attributes)


def _journal(url: str, name: str) -> Path | None:
    folder = journal_folder(url)
    path = None if folder is None else journal_path(folder, name)
    return path if path is not None and path.is_file() else None


def _delete_file(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(
            f"the study is deleted, but its journal {path} cannot be: {error.strerror or error}", "delete the file"
        ) from None


def _check_unused(storage: BulkStorage, session: Session, study_id: int, name: str) -> None:
    """Raise an error if a process that has reserved or locked something of the study is still at work.

    A process has a heartbeat exactly while it searches, so one whose trials have all ended is found too, while it
    chooses the next. On this machine the process itself is looked for; of others a recent heartbeat counts.
    """
    rows = (select(table.c.runner).where(table.c.study_id == study_id) for table in (RESERVATIONS, LOCKS))
    tokens = {*session.execute(union(*rows)).scalars()}
    since = literal_column(f"{now(storage)} - {GRACE_S}", Float)
    beating = select(PROCESSES.c.runner, PROCESSES.c.beat > since).where(PROCESSES.c.runner.in_(tokens))
    for token, is_recent in session.execute(beating):
        alive = is_alive(token)
        if alive or (alive is None and is_recent):
            raise _in_use(name, token)


def _in_use(name: str, token: str) -> StudyError:
    return StudyError(
        f"{describe_process(token)} is using study {name}, and a study in use cannot be deleted",
        "stop that process, or wait until it has ended",
    )
