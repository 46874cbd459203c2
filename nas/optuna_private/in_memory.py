"""Studies in memory that are asked for suggestions and keep no trace of them."""

import optuna
from optuna.samplers import BaseGASampler
from optuna.storages import InMemoryStorage

from nas.optuna_private.identity import study_id


def remove_last_trial(study: optuna.Study, trial_id: int) -> None:
    """Remove the newest trial of a study in memory, as if it had never been asked for.

    Args:
        study: A study whose storage is an `InMemoryStorage` that holds nothing else.
        trial_id: Number that the storage gave to the study's newest trial.
    """
    storage = study._storage
    assert isinstance(storage, InMemoryStorage)  # noqa: S101 -- what `create_study` without a storage makes
    storage._studies[study_id(study)].trials.pop()
    # The next trial counts from the length of this list and gets a new, higher number; nothing refers to the old one.
    del storage._trial_id_to_study_id_and_number[trial_id]


def clear_trial_cache(study: optuna.Study) -> None:
    """Make a study read its trials again; it caches those that it read for the last suggestion."""
    study._thread_local.cached_all_trials = None


def generation_key(sampler: type[BaseGASampler]) -> str:
    """Return the system attribute under which a genetic sampler keeps a trial's generation."""
    return sampler._get_generation_key()
