"""Training runs of the studies of jobs in a database, as reports show them: accuracies by network and seed."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import field, frozen
from optuna.storages import BaseStorage

from nas.errors import NasError
from nas.studies.records import JOB_SETTINGS
from nas.studies.study import names_with


@frozen
class StoredRuns:
    """Hold the training runs of one study of jobs.

    Attributes:
        study: Name of the study.
        kind: "fit", "compare" or "check".
        settings: Settings of the study.
        accuracies: Accuracies of each network, by its text and by seed.
    """

    study: str
    kind: str
    settings: Mapping[str, Any]
    accuracies: Mapping[str, Mapping[int, float]] = field(repr=False)


def stored_runs(storage: BaseStorage) -> list[StoredRuns]:
    """Return the training runs that `nas scale --fit`, `--compare` and `nas check` left in a database.

    Raises:
        StudyError: The database cannot be read.
    """
    found = []
    for name in names_with(storage, JOB_SETTINGS):
        # What another program has changed is left out, as a page shows what it can.
        with suppress(NasError, KeyError, TypeError, ValueError, AttributeError):
            study_id = storage.get_study_id_from_name(name)
            settings = storage.get_study_user_attrs(study_id)[JOB_SETTINGS]
            found.append(StoredRuns(name, str(settings["kind"]), settings, _accuracies(storage, study_id)))
    return found


def _accuracies(storage: BaseStorage, study_id: int) -> dict[str, dict[int, float]]:
    by_network: dict[str, dict[int, float]] = defaultdict(dict)
    for trial in storage.get_all_trials(study_id, deepcopy=False):
        kept = trial.user_attrs
        accuracies, arch, seed = kept.get("accuracy_by_epoch"), kept.get("arch"), kept.get("seed")
        if trial.state.is_finished() and accuracies and isinstance(arch, str) and isinstance(seed, int):
            by_network[arch][seed] = float(accuracies[-1])
    return dict(by_network)
