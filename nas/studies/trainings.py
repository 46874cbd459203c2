"""Training runs of networks that a search found: their learning curves and results, kept in the study."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.errors import StudyError
from nas.studies.failures import explained
from nas.studies.opening import Storage, open_storage
from nas.studies.study import storage_url

# The beginning of the user attributes of a study that hold one training run each, so that two commands can write at
# the same time.
PREFIX = "nas:training:"
# Databases limit the length of a text, so a longer curve is stored with fewer points.
MOST_POINTS = 400


def store_training(url: str, study: str, trial: int, folder: str, training: Mapping[str, Any]) -> None:
    """Store a training run in a study; a former one of the same trial and folder is replaced.

    Args:
        url: Optuna URL of the database.
        study: Name of the study.
        trial: Number of the trial whose network was trained.
        folder: Folder of the training run.
        training: Plain JSON values by name; the list "curve" has the values of each epoch.

    Raises:
        StudyError: The study cannot be written.
    """
    storage = open_storage(url, create=False)
    digest = hashlib.sha256(folder.encode()).hexdigest()[:8]
    value = {**training, "trial": trial, "folder": folder, "curve": thinned(training["curve"])}
    with explained(url):
        try:
            number = storage.get_study_id_from_name(study)
        except KeyError:
            raise StudyError(f"there is no study {study!r} any more", "give another --storage") from None
        storage.set_study_user_attr(number, f"{PREFIX}{trial}:{digest}", value)


def read_trainings(storage: Storage, study: str) -> tuple[Mapping[str, Any], ...]:
    """Return the training runs that a study holds, by trial.

    Raises:
        StudyError: There is no such study, or it cannot be read.
    """
    with explained(storage_url(storage)):
        try:
            kept = storage.get_study_user_attrs(storage.get_study_id_from_name(study))
        except KeyError:
            raise StudyError(f"there is no study {study!r}", "`nas studies` lists the studies") from None
    found = [value for key, value in kept.items() if key.startswith(PREFIX) and _is_training(value)]
    return tuple(sorted(found, key=lambda value: (value["trial"], value["folder"])))


def _is_training(value: object) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("curve"), list):
        return False
    return isinstance(value.get("trial"), int) and isinstance(value.get("folder"), str)


def thinned(curve: Sequence[Any]) -> list[Any]:
    """Return at most `MOST_POINTS` of the points of a curve, evenly spread, the last one among them.

    >>> thinned(range(1, 1001))[-2:]
    [997, 1000]
    """
    distance = math.ceil(len(curve) / MOST_POINTS)
    return [*curve[::-1][::distance]][::-1] if curve else []
