"""Opening of storages, checked before anything is written to them."""

import logging
import os
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import StudyError
from nas.studies.bulk_storage import BulkStorage, PatientStorage
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.failures import damaged, refusal
from nas.studies.journal_files import database_file, journal_folder, journals, restore_command
from nas.studies.outage import made_once
from nas.studies.urls import is_ambiguous, mask

_LOG = logging.getLogger(__name__)


def quiet_optuna() -> None:
    """Keep Optuna's own progress messages off the terminal."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(url: str, *, create: bool = True) -> BaseStorage:
    """Open a storage by its Optuna URL.

    Raises:
        StudyError: it cannot be opened, is damaged, or is absent and `create` is false.
    """
    return PatientStorage(open_rows(url, create=create))


def open_rows(url: str, *, create: bool = True) -> BulkStorage:
    """A storage without a cache; see `open_storage`."""
    if is_ambiguous(url):
        raise StudyError(
            "the storage's URL has more than one @ before its host",
            "write those of the password as %40, or leave it out and set PGPASSWORD",
        )
    try:
        file = database_file(url)
        if file is not None:
            _check_there(url, file, create=create)
        storage = made_once(lambda: BulkStorage(url))
        if file is not None:
            _check_whole(storage)
    except (SQLAlchemyError, StorageInternalError, OSError, ValueError, ImportError, RuntimeError) as error:
        raise refusal(error, url, "cannot be opened", f"give an Optuna URL like {DEFAULT_STORAGE}") from None
    _LOG.debug("Opened storage %s.", mask(url))
    return storage


def _check_there(url: str, file: Path, *, create: bool) -> None:
    if not create and not file.exists():
        remedy = "run `nas search` first, or name one by --storage"
        if journals(url):
            remedy = f"finished trials are in {journal_folder(url)}{os.sep}: {restore_command(url, mask(url))}"
        raise StudyError(f"there is no study database {file}", remedy)
    if file.is_file() and file.stat().st_size == 0 and journals(url):
        raise damaged(url, "it is empty, and there are journals of its studies")


def _check_whole(storage: BulkStorage) -> None:
    """A search that goes on with a damaged file would damage it further.

    Raises:
        StudyError: SQLite finds fault with the file.
    """
    with storage.engine.connect() as connection:
        found = " ".join(str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()).split())
    if found != "ok":
        raise damaged(storage.url, found.removeprefix("*** in database main *** ")[:200])
