"""Opening of storages, which are checked before anything is written to them."""

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import StudyError
from nas.studies.bulk_storage import BulkStorage, RetryingStorage
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.failures import damaged, refusal
from nas.studies.journal_files import database_file, journal_folder, journals, restore_command
from nas.studies.new_database import make_database
from nas.studies.outage import is_starting, retry_creation, retry_while_away
from nas.studies.urls import is_ambiguous, is_in_memory, mask

_LOG = logging.getLogger(__name__)
Storage = BaseStorage
"""The class of opened storages, for packages that do not import Optuna."""


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
    check_url(url)
    if is_in_memory(url):
        _check_in_memory(url, create=create)
    try:
        file = database_file(url)
        if file is not None:
            _check_exists(url, file, create=create)
            check_is_database(file, create=create)
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


def absolute_url(url: str) -> str:
    """Return the URL of a SQLite file by its whole path, and the URL of any other storage as it is."""
    file = database_file(url)
    if file is None or file.is_absolute() or "?" in str(Path.cwd()):  # a ? would end the path in a URL
        return url
    known = make_url(url)
    prefix = "file:" if str(known.database).startswith("file:") else ""
    return known.set(database=f"{prefix}{file.absolute()}").render_as_string(hide_password=False)


def check_url(url: str) -> None:
    """Check that the parts of a URL can be told apart.

    Raises:
        StudyError: They cannot.
    """
    if is_ambiguous(url):
        raise StudyError(
            "the storage's URL has more than one @, or a misplaced one: it is unclear where the password ends and the "
            "host begins",
            "write each @ of the password as %40, or leave the password out and set PGPASSWORD",
        )


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


def _check_in_memory(url: str, *, create: bool) -> None:
    """Warn that nothing is kept.

    Raises:
        StudyError: A study is to be read; the memory of another process cannot be read.
    """
    if not create:
        raise StudyError(
            f"storage {url} is in the memory of one process, so it holds no study of an earlier command",
            f"keep studies in a file: --storage {DEFAULT_STORAGE}",
        )
    _LOG.warning("Storage %s is in memory: nothing is kept when this process ends.", url)


def check_is_database(file: Path, *, create: bool) -> None:
    """Check that a file that is only read has tables of Optuna, which would be made in it otherwise.

    Raises:
        StudyError: The file has none and may not be changed, or is a device or a pipe.
    """
    remedy = "run `nas search` first, or give another database with --storage"
    if file.exists() and not file.is_file() and not file.is_dir():
        raise StudyError(f"{file} is a device or a pipe, and a study database is a file", remedy)
    if not create and not has_studies(file):
        raise StudyError(f"{file} is no study database: it has no table of studies", remedy)


def has_studies(file: Path) -> bool:
    """Return whether a SQLite database has a table of studies; true also if it cannot be read in this way."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{quote(os.fsencode(file))}?mode=ro", uri=True)) as database,
    ):
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'").fetchall())
    return True


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
