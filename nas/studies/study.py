"""Studies in an Optuna storage: making and opening them, and reading what they hold.

A study holds its settings under `SETTINGS` and its baseline under `BASELINE`. A trial holds the canonical text of its
architecture, its costs (each by its name, and all together), its seed and the versions from its start, and its
accuracies and seconds from its end. All of these are user attributes, which any tool for Optuna shows.
"""

import logging
import platform
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import optuna
from attrs import asdict, evolve
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from nas.errors import StudyError
from nas.noise import ValidationSplit, packed_count, unpack
from nas.objective import Direction
from nas.optuna_private.identity import name_metrics, storage_of, study_id
from nas.optuna_private.storage import backend_of
from nas.outlook import Outlook
from nas.studies.bulk_storage import read_attributes
from nas.studies.failures import explained
from nas.studies.names import check_study_name
from nas.studies.own_study import READ, OwnStudy, is_own
from nas.studies.records import (
    BASELINE,
    CONFIRMED_CORRECT,
    EXPECTED,
    FURTHER_W,
    JOB_SETTINGS,
    MEASUREMENTS,
    OUTLOOK,
    SETTINGS,
    SPLIT,
    DeviceMeasurement,
    Expected,
    Record,
    StudyView,
    from_stored,
)
from nas.studies.trial_records import read_trial
from nas.studies.validation import check, check_costs, check_settings, fits
from nas.version import __version__

# Earlier versions validated on a fifth of the images, however few these were.
_OF_OTHER_IMAGES = "; if it validated on a fifth of the same images, --validation-share 0.2 continues it"
_LOG = logging.getLogger(__name__)
# Commands that make studies of jobs, by the kind that these store.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {"fit": "nas scale --fit", "compare": "nas scale --compare", "check": "nas check"}
)


def versions_now() -> dict[str, str]:
    """Return the versions of software that the result of a trial may depend on."""
    return {"nas": __version__, "optuna": optuna.__version__, "python": platform.python_version()}


def study_names(storage: BaseStorage) -> tuple[str, ...]:
    """Return the names of the studies of searches, the oldest first."""
    return names_with(storage, SETTINGS)


def names_with(storage: BaseStorage, key: str) -> tuple[str, ...]:
    """Return the names of the studies that have a user attribute, the oldest first."""
    with explained(storage_url(storage)):
        studies = sorted(storage.get_all_studies(), key=study_id)
    return tuple(study.study_name for study in studies if key in study.user_attrs)


def storage_url(storage: BaseStorage) -> str:
    """Return the URL of a storage for messages; "" where it has none."""
    return str(getattr(backend_of(storage), "url", ""))


def open_study(
    storage: BaseStorage,
    name: str,
    directions: Sequence[Direction],
    settings: Mapping[str, Any],
    kept_as: str = SETTINGS,
    metrics: Sequence[str] = (),
) -> OwnStudy:
    """Open a study, or make it if it does not exist.

    Args:
        storage: Storage of the study.
        name: Name of the study.
        directions: Directions of the values of its trials.
        settings: Settings that make its trials comparable; an existing study must have the same.
        kept_as: User attribute that holds the settings.
        metrics: Names of the values of its trials, which Optuna's dashboard shows; an older study gets them too.

    Raises:
        StudyError: The study was made with other settings, or by another tool.
    """
    check_study_name(name)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=list(directions),
        load_if_exists=True,
    )
    known = study.user_attrs.get(kept_as)
    if known is None and _is_untouched(study, directions):
        study.set_user_attr(kept_as, dict(settings))
        _LOG.debug("Made study %s.", name)
    else:
        # Another process may have written its settings since `known` was read.
        _check_same(name, known or study.user_attrs.get(kept_as), settings)
        _LOG.debug("Continuing study %s.", name)
    if metrics:
        name_metrics(study, metrics)
    return OwnStudy(name, storage, cost_names(settings) if kept_as == SETTINGS else ())


def _is_untouched(study: optuna.Study, directions: Sequence[Direction]) -> bool:
    """Return whether a study holds nothing yet: it was made a moment ago, or by a process that was killed then."""
    own = [direction.name.lower() for direction in study.directions] == list(directions)
    return own and not study.user_attrs and not study.get_trials(deepcopy=False)


def _check_same(name: str, known: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> None:
    if known is None:
        raise StudyError(f"study {name} was not made by nas for this command", "choose another name with --study")
    if known.get("format") != settings.get("format"):
        raise StudyError(f"study {name} was made by another version of nas", "choose another name with --study")
    old, new = _flat(known), _flat({key: value for key, value in settings.items() if key in known or key != FURTHER_W})
    _check_form(name, old, new)
    for key in sorted({*old, *new}, key=lambda key: (key.count("."), key)):
        if old.get(key) != new.get(key):
            raise StudyError(
                f"study {name} was made with {key} {_brief(old.get(key))}, not {_brief(new.get(key))}",
                "choose another name with --study, or repeat the settings that it was made with"
                + (_OF_OTHER_IMAGES if key.rpartition(".")[2] == "fingerprint" else ""),
            )


def cost_names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the costs that the targets of a search limit; each of its trials holds these."""
    return tuple(limit["cost"] for limit in settings["limits"])


def _check_form(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Check that latencies refer to ONNX graphs of the same form; older versions did not store the form."""
    for by, key in ((by, f"{by.removesuffix('by')}graph") for by in new if by.endswith(".basis.by")):
        if by in old and old.get(key) != new.get(key):
            raise StudyError(
                f"the latencies of study {name} are of ONNX graphs of {old.get(key, 'an earlier form')}; latencies "
                f"depend on the form, which is now {new.get(key)}, so that new trials could not be compared with them",
                "start another study with --study; this one can still be shown and reported",
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


def read_study(storage: BaseStorage, name: str, *, with_params: bool = True) -> StudyView:
    """Read a study as it is now.

    Args:
        storage: Storage of the study.
        name: Name of the study.
        with_params: Whether the parameters of the trials are read, which takes most of the time.

    Raises:
        StudyError: There is no study of that name, or it holds what this version cannot read.
    """
    names = study_names(storage)
    if name not in names:
        raise _no_search(storage, name, names)
    try:
        with explained(storage_url(storage)):
            return _view(optuna.load_study(storage=storage, study_name=name), with_params=with_params)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise StudyError(
            f"study {name} holds what nas does not write: {reason}",
            "it was changed by hand or damaged; use a backup of the database",
        ) from None


def _no_search(storage: BaseStorage, name: str, names: Sequence[str]) -> StudyError:
    """Return the error for a name that no study of a search has: other commands and tools make studies too."""
    remedy = f"name one of: {', '.join(names)}" if names else "run `nas search` first"
    with explained(storage_url(storage)):
        found = next((study.user_attrs for study in storage.get_all_studies() if study.study_name == name), None)
    if found is None:
        return StudyError(f"there is no study {name!r}", remedy)
    jobs = found.get(JOB_SETTINGS)
    command = COMMANDS.get(str(jobs.get("kind"))) if isinstance(jobs, Mapping) else None
    if command is None:
        return StudyError(f"study {name!r} was made by another tool, and only studies of searches are shown", remedy)
    return StudyError(
        f"study {name!r} keeps the training runs of `{command}`, and only studies of searches are shown here",
        f"repeat its `{command}` command, which shows the results without training again",
    )


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


def _view(study: optuna.Study, *, with_params: bool) -> StudyView:
    """Return a study's records from its attributes and trials, which any program may have written."""
    attrs = study.user_attrs
    check_settings(attrs[SETTINGS])
    trials, foreign = _read_trials(study, with_params=with_params)
    baseline = _baseline(attrs)
    created = next((str(trial.datetime_start)[:19] for trial in trials), "")
    measurements = {
        int(number): from_stored(DeviceMeasurement, row) for number, row in attrs.get(MEASUREMENTS, {}).items()
    }
    view = StudyView(
        study.study_name,
        attrs[SETTINGS],
        tuple(map(read_trial, trials)),
        baseline,
        created,
        measurements,
        foreign=foreign,
        split=_split(attrs),
    )
    known = attrs.get(EXPECTED, {})
    # Expected accuracies are of the model of all trials; further trials would change that model.
    if known.get("trials") == view.counted:
        expected = {int(number): from_stored(Expected, row) for number, row in known["rows"].items()}
        confirmed = {int(number): tuple(readings) for number, readings in known.get("confirmed", {}).items()}
        bits = {int(number): tuple(by_seed.values()) for number, by_seed in attrs.get(CONFIRMED_CORRECT, {}).items()}
        view = evolve(view, expected=expected, confirmed=confirmed, confirmed_correct=bits)
    outlook = from_stored(Outlook, attrs[OUTLOOK]) if attrs.get(OUTLOOK) else None
    view = evolve(view, outlook=outlook if outlook is not None and outlook.trials == view.counted else None)
    _check(view)
    return view


def _read_trials(study: optuna.Study, *, with_params: bool) -> tuple[list[FrozenTrial], tuple[int, ...]]:
    """Return the trials of nas, and the numbers of those of other programs."""
    costs, storage = cost_names(study.user_attrs[SETTINGS]), storage_of(study)
    if with_params:
        own = OwnStudy(study.study_name, storage, costs)
        return own.get_trials(deepcopy=False), own.foreign_numbers()
    trials = [(trial, is_own(trial, costs)) for trial in read_attributes(storage, study_id(study), READ)]
    return [trial for trial, own_one in trials if own_one], tuple(
        trial.number for trial, own_one in trials if not own_one
    )


def _check(view: StudyView) -> None:
    for record in (*view.measurements.values(), *view.expected.values()):
        check(record)
    if view.baseline is not None:
        check(view.baseline)
        check_costs(view.baseline.costs)
    if not fits(view.confirmed, Mapping[int, tuple[float, ...]]):
        raise ValueError(f"confirmed are {_brief(view.confirmed)}")
    if view.split is not None:
        check(view.split)
    others = [text for texts in view.confirmed_correct.values() for text in texts]
    others += [view.baseline.correct] if view.baseline else []
    # The texts of trials were decoded when it was checked whether these are trials of nas.
    counts = {packed_count(record.correct) for record in view.records if record.correct}
    counts |= {len(unpack(text)) for text in others if text}
    if len(counts) > 1:
        raise ValueError(f"correct images are of {_brief(counts)} images")
