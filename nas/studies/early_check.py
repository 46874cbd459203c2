"""The check of a storage and a study before long work is done for them, which writes nothing to a file."""

import os
from pathlib import Path

from nas.errors import StudyError
from nas.studies.failures import explained
from nas.studies.journal_files import database_file, journals
from nas.studies.opening import check_is_database, check_url, has_studies, open_storage
from nas.studies.urls import is_in_memory, mask


def check_storage(url: str, study: str = "", kept_as: str = "") -> None:
    """Check that a storage can be opened, and that a study of it can be continued.

    A SQLite file that does not exist yet is not made.

    Args:
        url: URL of the storage.
        study: Name of the study; "" for a new one.
        kept_as: User attribute that holds the settings of a study of the command that will write to it.

    Raises:
        StudyError: The storage cannot be opened, or the study is of something else.
    """
    check_url(url)
    if is_in_memory(url):
        return
    file = database_file(url)
    if file is not None and file.exists():
        check_is_database(file, create=True)
    if file is None or (has_studies(file) if _has_content(file) else journals(url)):
        storage = open_storage(url)
        with explained(url):
            studies = [found for found in storage.get_all_studies() if found.study_name == study]
        if any(found.user_attrs and kept_as not in found.user_attrs for found in studies):
            raise StudyError(f"study {study} was not made by nas for this command", "choose another name with --study")
    elif not file.exists():
        _check_folder(url, file)


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _check_folder(url: str, file: Path) -> None:
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise StudyError(
            f"storage {mask(url)} cannot be opened: its folder does not exist or cannot be written to",
            "make the folder, or give another place with --storage",
        )
