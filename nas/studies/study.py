"""Studies in an Optuna storage: opening them, what is kept in them, and reading it back.

A study keeps its settings under `SETTINGS`, its baseline under `BASELINE`. A trial keeps its architecture's canonical
text, its costs (each by its name, and all together), seed and versions from the moment it begins, its accuracies and
seconds when it ends; all as user attributes, so that any Optuna tool shows them.
"""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from attrs import evolve
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyError
from nas.objective import Direction
from nas.studies.failures import explained
from nas.studies.records import BASELINE, EXPECTED, KILLED, SETTINGS, VERDICTS, Expected, Record, StudyView, Verdict
from nas.studies.validation import check, check_costs, check_settings, fits
from nas.version import __version__


def versions_now() -> dict[str, str]:
    """What a trial's result may depend on, besides its evaluator's own surroundings."""
    return {"nas": __version__, "optuna": optuna.__version__, "python": platform.python_version()}


def study_names(storage: BaseStorage) -> tuple[str, ...]:
    """Studies made by this tool, oldest first."""
    return names_with(storage, SETTINGS)


def names_with(storage: BaseStorage, key: str) -> tuple[str, ...]:
    """Studies that have an attribute, oldest first."""
    with explained(_url(storage)):
        studies = sorted(storage.get_all_studies(), key=lambda study: study._study_id)
    return tuple(study.study_name for study in studies if key in study.user_attrs)


def _url(storage: BaseStorage) -> str:
    return str(getattr(getattr(storage, "_backend", storage), "url", ""))


def open_study(
    storage: BaseStorage,
    name: str,
    directions: Sequence[Direction],
    settings: Mapping[str, Any],
    kept_as: str = SETTINGS,
) -> optuna.Study:
    """Make a study, or go on with it; its settings stand under `kept_as`.

    Raises:
        StudyError: it was made with other settings, or by another tool.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=list(directions),
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(),
    )
    known = study.user_attrs.get(kept_as)
    if known is None and _is_untouched(study, directions):
        study.set_user_attr(kept_as, dict(settings))
    else:
        # Another process may have made it since it was looked at.
        _check_same(name, known or study.user_attrs.get(kept_as), settings)
    return study


def _is_untouched(study: optuna.Study, directions: Sequence[Direction]) -> bool:
    """Whether it was made a moment ago, here or by a run that was killed before it could go on."""
    own = [direction.name.lower() for direction in study.directions] == list(directions)
    return own and not study.user_attrs and not study.get_trials(deepcopy=False)


def _check_same(name: str, known: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> None:
    if known is None:
        raise StudyError(f"study {name} was not made by nas for this", "choose another name by --study")
    if known.get("format") != settings.get("format"):
        raise StudyError(f"study {name} was made by another version of nas", "choose another name by --study")
    old, new = _flat(known), _flat(settings)
    for key in sorted({*old, *new}, key=lambda key: (key.count("."), key)):
        if old.get(key) != new.get(key):
            raise StudyError(
                f"study {name} was made with {key} {_brief(old.get(key))}, not {_brief(new.get(key))}",
                "choose another name by --study, or repeat the settings it was made with",
            )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names, so that a message names the one that differs."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = {str(i): each for i, each in enumerate(value, 1)} if key == "limits" else value
        flat |= _flat(nested, f"{prefix}{key}.") if isinstance(nested, Mapping) else {f"{prefix}{key}": value}
    return flat


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:150]}…"


def read_study(storage: BaseStorage, name: str) -> StudyView:
    """A study as it stands.

    Raises:
        StudyError: there is none of that name.
    """
    names = study_names(storage)
    if name not in names:
        raise StudyError(f"there is no study {name!r}", f"there are {', '.join(names) or 'none'}")
    with explained(_url(storage)):
        study = optuna.load_study(storage=storage, study_name=name)
        attrs, trials = study.user_attrs, study.get_trials(deepcopy=False)
    try:
        return _view(name, attrs, trials)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise StudyError(
            f"study {name} holds what nas does not write: {reason}", "it was changed by hand or damaged; take a copy"
        ) from None


def _view(name: str, attrs: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> StudyView:
    """Of a study's attributes and trials, which anyone may have written."""
    check_settings(attrs[SETTINGS])
    baseline = Record(**attrs[BASELINE]) if attrs.get(BASELINE) else None
    created = next((str(trial.datetime_start)[:19] for trial in trials), "")
    verdicts = {int(number): Verdict(**verdict) for number, verdict in attrs.get(VERDICTS, {}).items()}
    view = StudyView(name, attrs[SETTINGS], tuple(map(read_trial, trials)), baseline, created, verdicts)
    known = attrs.get(EXPECTED, {})
    # What was expected before the last trials says nothing of those.
    if known.get("trials") == view.counted:
        expected = {int(number): Expected(**row) for number, row in known["rows"].items()}
        confirmed = {int(number): tuple(readings) for number, readings in known.get("confirmed", {}).items()}
        view = evolve(view, expected=expected, confirmed=confirmed)
    _check(view)
    return view


def _check(view: StudyView) -> None:
    own = (view.baseline,) if view.baseline else ()
    for record in (*view.records, *own, *view.verdicts.values(), *view.expected.values()):
        check(record)
    for record in (*view.records, *own):
        check_costs(record.costs)
    if not fits(view.confirmed, Mapping[int, tuple[float, ...]]):
        raise ValueError(f"confirmed are {_brief(view.confirmed)}")


def read_trial(trial: FrozenTrial) -> Record:
    """A trial as it is reported."""
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
        remarks=kept.get("remarks", {}),
    )


def _state(trial: FrozenTrial) -> str:
    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return KILLED if KILLED in trial.user_attrs else names.get(trial.state, "running")
