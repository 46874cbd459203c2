"""Failures of a storage as one error message, without passwords."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import NoSuchModuleError, OperationalError, SQLAlchemyError

from nas.errors import StudyError
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.journal_files import journal_folder, journals, restore_command
from nas.studies.urls import first_line, mask, scheme_remedy

_REMEDIES = {
    "SQLITE_FULL": "free some space on its disk and give the same command again; finished trials are kept",
    "SQLITE_CANTOPEN": "check that its folder exists and can be written to, or give another place with --storage",
}


def refusal(error: BaseException, url: str, what: str, remedy: str) -> StudyError:
    """Return the error that says what went wrong with a storage and what to do about it.

    Args:
        error: Error of Optuna or SQLAlchemy.
        url: URL of the storage.
        what: What went wrong, such as "cannot be opened".
        remedy: What to do where the error itself does not suggest anything better.
    """
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    code = str(getattr(getattr(cause, "orig", None), "sqlite_errorname", ""))
    line = first_line(cause, url)
    if isinstance(cause, ImportError | NoSuchModuleError):
        line, remedy = "its scheme is unknown, or the driver of the scheme is not installed", scheme_remedy(url)
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return damaged(url, line, "" if code.startswith("SQLITE_CORRUPT") else remedy)
    remedy = next((better for start, better in _REMEDIES.items() if code.startswith(start)), remedy)
    if isinstance(cause, OperationalError) and not code:
        remedy = (
            f"check that the server runs and accepts this user, or keep studies in a file: --storage {DEFAULT_STORAGE}"
        )
    return StudyError(f"storage {mask(url)} {what}: {line}", remedy)


def damaged(url: str, line: str, remedy: str = "", otherwise: str = "") -> StudyError:
    """Return the error for a file that is no database any more, or never was one.

    Args:
        url: URL of the storage.
        line: What is wrong with it.
        remedy: What to do where there are no journals.
        otherwise: What may be done instead of restoring the studies from their journals.
    """
    if journals(url):
        remedy = f"finished trials are in {journal_folder(url)}{os.sep}: {restore_command(url, mask(url))}{otherwise}"
    return StudyError(
        f"storage {mask(url)} is damaged and cannot be opened: {line}",
        remedy or "put an intact copy in its place, or give another database with --storage",
    )


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Raise failures of a storage inside the context as errors with a message for the user, without passwords.

    Raises:
        StudyError: The storage failed, or holds rows that Optuna cannot read.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        remedy = "check that it can be written to and that no other program locks it; finished trials are kept"
        raise refusal(error, url, "failed", remedy) from None
    except (JSONDecodeError, LookupError, RecursionError) as error:
        # SQLAlchemy reports an unknown state of a trial as a LookupError; any other one is a fault of the program.
        if isinstance(error, LookupError) and "enum values" not in str(error):
            raise
        raise damaged(url, first_line(error, url)) from None
