"""Opening of storages, which are checked before anything is written to them."""

import logging
import os
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import StudyError
from nas.studies.bulk_storage import BulkStorage, RetryingStorage
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.failures import damaged, refusal
from nas.studies.journal_files import database_file, journal_folder, journals, restore_command
from nas.studies.new_database import make_database
from nas.studies.outage import is_starting, retry_creation, retry_while_away
from nas.studies.urls import is_ambiguous, mask

_LOG = logging.getLogger(__name__)


def quiet_optuna() -> None:
    """Keep Optuna's own progress messages off the terminal."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(url: str, *, create: bool = True) -> BaseStorage:
    """Open a storage by its Optuna URL.

    Args:
        url: URL of a database, such as "sqlite:///nas.db".
        create: Whether a SQLite file that does not exist is made.

    Raises:
        StudyError: The storage cannot be opened, is damaged, or does not exist and `create` is false.
    """
    return RetryingStorage(open_uncached(url, create=create))


def open_uncached(url: str, *, create: bool = True) -> BulkStorage:
    """Open a storage without Optuna's cache; see `open_storage`."""
    if is_ambiguous(url):
        raise StudyError(
            "the storage's URL has more than one @, so it is unclear where the password ends and the host begins",
            "write each @ of the password as %40, or leave the password out and set PGPASSWORD",
        )
    try:
        file = database_file(url)
        if file is not None:
            _check_exists(url, file, create=create)
            if not file.exists():
                make_database(url, file)
        # The constructor of Optuna creates its tables, which other processes may be creating as well.
        # A server that is about to answer is waited for, as a search that is running does.
        storage = retry_while_away(lambda: retry_creation(lambda: BulkStorage(url)), _LOG.warning, passes=is_starting)
        if file is not None:
            _check_integrity(storage)
    except (SQLAlchemyError, StorageInternalError, OSError, ValueError, ImportError, RuntimeError) as error:
        raise refusal(error, url, "cannot be opened", f"give an Optuna URL like {DEFAULT_STORAGE}") from None
    _LOG.debug("Opened storage %s.", mask(url))
    return storage


def _check_exists(url: str, file: Path, *, create: bool) -> None:
    """Check that a SQLite file exists, or may be made.

    Raises:
        StudyError: The file does not exist and may not be made, or it is empty although its studies have journals.
    """
    if not create and not file.exists():
        remedy = "run `nas search` first, or give another database with --storage"
        if journals(url):
            remedy = f"finished trials are in {journal_folder(url)}{os.sep}: {restore_command(url, mask(url))}"
        raise StudyError(f"there is no study database {file}", remedy)
    # SQLite takes an empty file for a new database. A crash of the machine can leave one where studies were.
    if file.is_file() and file.stat().st_size == 0 and journals(url):
        anew = "\n  to begin anew, delete the empty file"
        raise damaged(url, "it is empty, and there are journals of its studies", otherwise=anew)


def _check_integrity(storage: BulkStorage) -> None:
    """Have SQLite check its file: a search that writes to a damaged file would damage it further.

    Raises:
        StudyError: The file is damaged.
    """
    # quick_check reads every page but leaves out the comparison of tables with their indices, which takes far longer.
    with storage.engine.connect() as connection:
        found = " ".join(str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()).split())
    if found != "ok":
        raise damaged(storage.url, found.removeprefix("*** in database main *** ")[:200])
