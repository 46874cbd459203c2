"""Studies in an Optuna storage: making and opening them, and reading what they hold.

A study holds its settings under `SETTINGS` and its baseline under `BASELINE`. A trial holds the canonical text of its
architecture, its costs (each by its name, and all together), its seed and the versions from its start, and its
accuracies and seconds from its end. All of these are user attributes, which any tool for Optuna shows.
"""

import logging
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from attrs import asdict, evolve
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyError
from nas.noise import ValidationSplit, unpack
from nas.objective import Direction
from nas.optuna_private.identity import study_id
from nas.optuna_private.storage import backend_of
from nas.studies.failures import explained
from nas.studies.records import (
    BASELINE,
    CONFIRMED_CORRECT,
    CORRECT,
    EXPECTED,
    KILLED,
    MEASUREMENTS,
    SETTINGS,
    SPLIT,
    DeviceMeasurement,
    Expected,
    Record,
    StudyView,
    from_stored,
)
from nas.studies.validation import check, check_costs, check_settings, fits
from nas.version import __version__

_LOG = logging.getLogger(__name__)


def versions_now() -> dict[str, str]:
    """Return the versions of software that the result of a trial may depend on."""
    return {"nas": __version__, "optuna": optuna.__version__, "python": platform.python_version()}


def study_names(storage: BaseStorage) -> tuple[str, ...]:
    """Return the names of the studies of searches, the oldest first."""
    return names_with(storage, SETTINGS)


def names_with(storage: BaseStorage, key: str) -> tuple[str, ...]:
    """Return the names of the studies that have a user attribute, the oldest first."""
    with explained(_url(storage)):
        studies = sorted(storage.get_all_studies(), key=study_id)
    return tuple(study.study_name for study in studies if key in study.user_attrs)


def _url(storage: BaseStorage) -> str:
    return str(getattr(backend_of(storage), "url", ""))


def open_study(
    storage: BaseStorage,
    name: str,
    directions: Sequence[Direction],
    settings: Mapping[str, Any],
    kept_as: str = SETTINGS,
) -> optuna.Study:
    """Open a study, or make it if it does not exist.

    Args:
        storage: Storage of the study.
        name: Name of the study.
        directions: Directions of the values of its trials.
        settings: Settings that make its trials comparable; an existing study must have the same.
        kept_as: User attribute that holds the settings.

    Raises:
        StudyError: The study was made with other settings, or by another tool.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=list(directions),
        load_if_exists=True,
        # Trials have all parameters when they are created, so the sampler has no work; this one reads no trials.
        sampler=optuna.samplers.RandomSampler(),
    )
    known = study.user_attrs.get(kept_as)
    if known is None and _is_untouched(study, directions):
        study.set_user_attr(kept_as, dict(settings))
        _LOG.debug("Made study %s.", name)
    else:
        # Another process may have written its settings since `known` was read.
        _check_same(name, known or study.user_attrs.get(kept_as), settings)
        _LOG.debug("Continuing study %s.", name)
    return study


def _is_untouched(study: optuna.Study, directions: Sequence[Direction]) -> bool:
    """Return whether a study holds nothing yet: it was made a moment ago, or by a process that was killed then."""
    own = [direction.name.lower() for direction in study.directions] == list(directions)
    return own and not study.user_attrs and not study.get_trials(deepcopy=False)


def _check_same(name: str, known: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> None:
    if known is None:
        raise StudyError(f"study {name} was not made by nas for this command", "choose another name with --study")
    if known.get("format") != settings.get("format"):
        raise StudyError(f"study {name} was made by another version of nas", "choose another name with --study")
    old, new = _flat(known), _flat(settings)
    for key in sorted({*old, *new}, key=lambda key: (key.count("."), key)):
        if old.get(key) != new.get(key):
            raise StudyError(
                f"study {name} was made with {key} {_brief(old.get(key))}, not {_brief(new.get(key))}",
                "choose another name with --study, or repeat the settings that it was made with",
            )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names, so that a message can name the one that differs."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = {str(i): each for i, each in enumerate(value, 1)} if key == "limits" else value
        flat |= _flat(nested, f"{prefix}{key}.") if isinstance(nested, Mapping) else {f"{prefix}{key}": value}
    return flat


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:150]}…"


def read_study(storage: BaseStorage, name: str) -> StudyView:
    """Read a study as it is now.

    Raises:
        StudyError: There is no study of that name, or it holds what this version cannot read.
    """
    names = study_names(storage)
    if name not in names:
        raise StudyError(
            f"there is no study {name!r}", f"name one of: {', '.join(names)}" if names else "run `nas search` first"
        )
    with explained(_url(storage)):
        study = optuna.load_study(storage=storage, study_name=name)
        attrs, trials = study.user_attrs, study.get_trials(deepcopy=False)
    try:
        return _view(name, attrs, trials)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise StudyError(
            f"study {name} holds what nas does not write: {reason}",
            "it was changed by hand or damaged; use a backup of the database",
        ) from None


def store_split(study: optuna.Study, split: ValidationSplit) -> None:
    """Store the validation split of a study, unless it holds one."""
    if SPLIT not in study.user_attrs:
        study.set_user_attr(SPLIT, asdict(split))


def read_split(study: optuna.Study) -> ValidationSplit | None:
    """Return the validation split of a study; None where it is not known."""
    return _split(study.user_attrs)


def read_baseline(study: optuna.Study) -> Record | None:
    """Return the baseline of a study; None where it has none."""
    return _baseline(study.user_attrs)


def _split(attrs: Mapping[str, Any]) -> ValidationSplit | None:
    return ValidationSplit(**attrs[SPLIT]) if attrs.get(SPLIT) else None


def _baseline(attrs: Mapping[str, Any]) -> Record | None:
    return from_stored(Record, attrs[BASELINE]) if attrs.get(BASELINE) else None


def _view(name: str, attrs: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> StudyView:
    """Return a study's records from its attributes and trials, which any program may have written."""
    check_settings(attrs[SETTINGS])
    baseline = _baseline(attrs)
    created = next((str(trial.datetime_start)[:19] for trial in trials), "")
    measurements = {
        int(number): from_stored(DeviceMeasurement, row) for number, row in attrs.get(MEASUREMENTS, {}).items()
    }
    view = StudyView(name, attrs[SETTINGS], tuple(map(read_trial, trials)), baseline, created, measurements)
    view = evolve(view, split=_split(attrs))
    known = attrs.get(EXPECTED, {})
    # Expected accuracies are of the model of all trials; further trials would change that model.
    if known.get("trials") == view.counted:
        expected = {int(number): from_stored(Expected, row) for number, row in known["rows"].items()}
        confirmed = {int(number): tuple(readings) for number, readings in known.get("confirmed", {}).items()}
        bits = {int(number): tuple(by_seed.values()) for number, by_seed in attrs.get(CONFIRMED_CORRECT, {}).items()}
        view = evolve(view, expected=expected, confirmed=confirmed, confirmed_correct=bits)
    _check(view)
    return view


def _check(view: StudyView) -> None:
    own = (view.baseline,) if view.baseline else ()
    for record in (*view.records, *own, *view.measurements.values(), *view.expected.values()):
        check(record)
    for record in (*view.records, *own):
        check_costs(record.costs)
    if not fits(view.confirmed, Mapping[int, tuple[float, ...]]):
        raise ValueError(f"confirmed are {_brief(view.confirmed)}")
    if view.split is not None:
        check(view.split)
    correct = [record.correct for record in (*view.records, *own)]
    correct += [text for texts in view.confirmed_correct.values() for text in texts]
    if len(counts := {len(unpack(text)) for text in correct if text}) > 1:
        raise ValueError(f"correct images are of {_brief(counts)} images")


def read_trial(trial: FrozenTrial) -> Record:
    """Return a trial as reports show it."""
    kept = trial.user_attrs
    accuracies = tuple(kept.get("accuracy_by_epoch", ()))
    single = trial.values is not None and len(trial.values) == 1
    return Record(
        number=trial.number,
        state=_state(trial),
        arch=kept.get("arch", ""),
        costs=kept.get("costs", {}),
        accuracy=accuracies[-1] if accuracies else None,
        accuracies=accuracies,
        score=trial.value if single else None,
        seconds=kept.get("seconds"),
        reason=kept.get("reason", ""),
        seed=kept.get("seed"),
        spreads=kept.get("cost_spreads", {}),
        metadata=kept.get("remarks", {}),
        correct=kept.get(CORRECT, ""),
    )


def _state(trial: FrozenTrial) -> str:
    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return KILLED if KILLED in trial.user_attrs else names.get(trial.state, "running")
