"""What a database holds before a command opens its own study; nothing is made, and failures are left to the opening."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from optuna.storages import BaseStorage

from nas.errors import StudyError
from nas.studies.failures import explained
from nas.studies.journal_files import database_file
from nas.studies.opening import open_storage


def existing_storage(url: str) -> BaseStorage | None:
    """Return a database that exists and can be opened, or None.

    Args:
        url: Optuna URL of the database.
    """
    file = database_file(url)
    if file is not None and not file.is_file():
        return None
    with suppress(StudyError):
        return open_storage(url, create=False)
    return None


def stored_settings(name: str, key: str, url: str) -> Mapping[str, Any]:
    """Return the settings of a study; they are empty if there is no such study, or if it cannot be read.

    Args:
        name: Name of the study.
        key: User attribute that holds the settings.
        url: Optuna URL of the database.
    """
    storage = existing_storage(url)
    if storage is None:
        return {}
    with suppress(StudyError, KeyError), explained(url):
        settings = storage.get_study_user_attrs(storage.get_study_id_from_name(name)).get(key)
        return settings if isinstance(settings, Mapping) else {}
    return {}
