"""Studies in an Optuna storage: opening them, what is kept in them, and reading it back.

A study keeps its settings under `SETTINGS`, its baseline under `BASELINE`. A trial keeps its architecture's canonical
text, its costs (each by its name, and all together), seed and versions from the moment it begins, its accuracies and
seconds when it ends; all as user attributes, so that any Optuna tool shows them.
"""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import optuna
from attrs import evolve, field, frozen
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.search.defaults import DEFAULT_STORAGE
from nas.search.journal_files import database_file, journal_folder, journals, restore_command
from nas.search.outage import made_once
from nas.search.rows import BulkStorage, PatientStorage
from nas.search.settings import Direction
from nas.search.shapes import check, check_costs, check_settings, fits
from nas.search.urls import first_line, is_ambiguous, mask
from nas.version import __version__

SETTINGS = "nas:settings"
BASELINE = "nas:baseline"
VERDICTS = "nas:verdicts"
EXPECTED = "nas:expected"
CONFIRMED = "nas:confirmed"  # accuracies of the best with further seeds, by trial and seed
KILLED = "killed"
_REMEDIES = {
    "SQLITE_FULL": "free some space there, and give the same command again; finished trials are kept",
    "SQLITE_CANTOPEN": "see that its folder is there and can be written to, or name another place by --storage",
}
COUNTED_STATES = ("complete", "pruned", "failed")


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@frozen
class Record:
    """One trial, or the baseline (number -1), as it is reported.

    Attributes:
        number: Optuna's, from 0.
        state: "complete", "pruned", "failed" (by its own fault), "killed" or "running".
        arch: canonical text.
        costs: by name, `macs`, `params`, `peak_bytes`.
        accuracy: after the last epoch, 0 to 1; None where none was reached.
        accuracies: by epoch.
        score: under the study's objective; None where there is none.
        seconds: of evaluating.
        reason: why it failed.
        label: of a baseline, e.g. "mobilenetv2 x1.16".
        spreads: standard deviations of those costs that are not exact, None where they are not known.
        remarks: what else the evaluator had to say.
    """

    number: int
    state: str
    arch: str
    costs: Mapping[str, float]
    accuracy: float | None = None
    accuracies: tuple[float, ...] = field(default=(), converter=_floats)
    score: float | None = None
    seconds: float | None = None
    reason: str = ""
    seed: int | None = None
    label: str = ""
    spreads: Mapping[str, float | None] = field(factory=dict)
    remarks: Mapping[str, Any] = field(factory=dict)

    @property
    def architecture(self) -> Architecture:
        """The architecture itself."""
        return parse_text(self.arch)


@frozen
class Verdict:
    """What was measured of one of the best, after the search.

    Attributes:
        cost: the target's, by its name in `Record.costs`.
        target: at most so much was asked for.
        predicted: what the search went by; None where it is not known.
        measured: on the device, in turn with the others.
        spread: one standard deviation of `measured`.
        noisy: whether other work disturbed the machine meanwhile.
    """

    cost: str
    target: float
    predicted: float | None
    measured: float
    spread: float
    noisy: bool = False

    @property
    def meets(self) -> bool:
        """Whether the target is met."""
        return self.measured <= self.target


@frozen
class Expected:
    """What a model of all trials expects of one, the noise of its own reading taken off.

    Attributes:
        accuracy: 0 to 1.
        spread: one standard deviation of it.
        score: under the study's objective.
    """

    accuracy: float
    spread: float
    score: float


@frozen
class StudyView:
    """A study as it is reported.

    Attributes:
        name: of the study.
        settings: what it was made with.
        records: its trials by number.
        baseline: a known network under the same proxy, or None.
        verdicts: by number, on what was measured once more; empty where costs are exact.
        expected: by number, of those that promise most; empty where trials came after it was found.
        confirmed: by number, accuracies with further seeds of those that were best in the end.
    """

    name: str
    settings: Mapping[str, Any]
    records: tuple[Record, ...]
    baseline: Record | None = None
    created: str = field(default="", eq=False)
    verdicts: Mapping[int, Verdict] = field(factory=dict)
    expected: Mapping[int, Expected] = field(factory=dict)
    confirmed: Mapping[int, tuple[float, ...]] = field(factory=dict)

    @property
    def counted(self) -> int:
        """Trials that count: all but killed and running ones."""
        return sum(record.state in COUNTED_STATES for record in self.records)

    @property
    def complete(self) -> tuple[Record, ...]:
        """Trials that ran to their last epoch."""
        return tuple(record for record in self.records if record.state == "complete")

    @property
    def ranked(self) -> tuple[Record, ...]:
        """Complete trials, the highest expected score first, then by their own; under "pareto" by accuracy."""
        return tuple(sorted(self.complete, key=self._rank, reverse=True))

    def _rank(self, record: Record) -> tuple[float, float]:
        expected = self.expected.get(record.number)
        return (float("-inf") if expected is None else expected.score, rank(record))

    @property
    def best(self) -> Record | None:
        """The first of `ranked`; once some were measured, the first of those that met the target."""
        return next((record for record in self.ranked if not self.verdicts or self.meets(record)), None)

    def meets(self, record: Record) -> bool | None:
        """Whether it met its targets when it was measured; None where it was not."""
        verdict = self.verdicts.get(record.number)
        return None if verdict is None else verdict.meets

    @property
    def judged(self) -> int:
        """Trials that were measured once more."""
        return sum(record.number in self.verdicts for record in self.records)

    @property
    def front(self) -> tuple[Record, ...]:
        """Complete trials that no other beats in accuracy and first cost, by rising cost."""
        name = self.cost_name
        known = [(r.costs[name], r.accuracy, r) for r in self.complete if r.accuracy is not None and name in r.costs]
        front: list[Record] = []
        best = -1.0
        for _, accuracy, record in sorted(known, key=lambda row: (row[0], -row[1], row[2].number)):
            if accuracy > best:
                front.append(record)
                best = accuracy
        return tuple(front)

    @property
    def reading(self) -> str:
        """What the numbers in place of accuracies are, in a word: without training they are standings."""
        return "standing" if self.settings["proxy"].get("evaluator") == "zero-cost" else "accuracy"

    @property
    def cost_name(self) -> str:
        """The cost that the study's first target limits, as a key of `Record.costs`."""
        return str(self.settings["limits"][0]["cost"])


def rank(record: Record) -> float:
    """What orders trials by their own readings: the score, under "pareto" the accuracy."""
    worth = record.accuracy if record.score is None else record.score
    return float("-inf") if worth is None else worth


def _refusal(error: BaseException, url: str, what: str, remedy: str) -> StudyError:
    """What went wrong with a storage, and what to do about it."""
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    code = str(getattr(getattr(cause, "orig", None), "sqlite_errorname", ""))
    line = first_line(cause, url)
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return _damaged(url, line, "" if code.startswith("SQLITE_CORRUPT") else remedy)
    remedy = next((better for start, better in _REMEDIES.items() if code.startswith(start)), remedy)
    if isinstance(cause, OperationalError) and not code:
        remedy = (
            f"see that the server runs and lets this user in, or keep studies in a file: --storage {DEFAULT_STORAGE}"
        )
    return StudyError(f"storage {mask(url)} {what}: {line}", remedy)


def _damaged(url: str, line: str, remedy: str = "") -> StudyError:
    """A file that is no database any more, or never was one."""
    if journals(url):
        remedy = f"finished trials are in {journal_folder(url)}{os.sep}: {restore_command(url, mask(url))}"
    return StudyError(
        f"storage {mask(url)} is damaged and cannot be opened: {line}",
        remedy or "put a whole copy in its place, or name another by --storage",
    )


@contextmanager
def explained(url: str) -> Iterator[None]:
    """What a storage refuses is told as a `StudyError`, without passwords."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        remedy = "see that it can be written to and that no other program holds it; finished trials are kept"
        raise _refusal(error, url, "failed", remedy) from None
    except (JSONDecodeError, LookupError, RecursionError) as error:
        if isinstance(error, LookupError) and "enum values" not in str(error):
            raise
        raise _damaged(url, first_line(error, url)) from None


def versions_now() -> dict[str, str]:
    """What a trial's result may depend on, besides its evaluator's own surroundings."""
    return {"nas": __version__, "optuna": optuna.__version__, "python": platform.python_version()}


def quiet_optuna() -> None:
    """Keep Optuna's own progress messages off the terminal."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(url: str, *, create: bool = True) -> BaseStorage:
    """Open a storage by its Optuna URL.

    Raises:
        StudyError: it cannot be opened, is damaged, or is absent and `create` is false.
    """
    return PatientStorage(open_rows(url, create=create))


def open_rows(url: str, *, create: bool = True) -> BulkStorage:
    """A storage without a cache; see `open_storage`."""
    if is_ambiguous(url):
        raise StudyError(
            "the storage's URL has more than one @ before its host",
            "write those of the password as %40, or leave it out and set PGPASSWORD",
        )
    try:
        file = database_file(url)
        if file is not None:
            _check_there(url, file, create=create)
        storage = made_once(lambda: BulkStorage(url))
        if file is not None:
            _check_whole(storage)
    except (SQLAlchemyError, StorageInternalError, OSError, ValueError, ImportError, RuntimeError) as error:
        raise _refusal(error, url, "cannot be opened", f"give an Optuna URL like {DEFAULT_STORAGE}") from None
    return storage


def _check_there(url: str, file: Path, *, create: bool) -> None:
    if not create and not file.exists():
        remedy = "run `nas search` first, or name one by --storage"
        if journals(url):
            remedy = f"finished trials are in {journal_folder(url)}{os.sep}: {restore_command(url, mask(url))}"
        raise StudyError(f"there is no study database {file}", remedy)
    if file.is_file() and file.stat().st_size == 0 and journals(url):
        raise _damaged(url, "it is empty, and there are journals of its studies")


def _check_whole(storage: BulkStorage) -> None:
    """A search that goes on with a damaged file would damage it further.

    Raises:
        StudyError: SQLite finds fault with the file.
    """
    with storage.engine.connect() as connection:
        found = " ".join(str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()).split())
    if found != "ok":
        raise _damaged(storage.url, found.removeprefix("*** in database main *** ")[:200])


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


def kill_running(study: optuna.Study) -> int:
    """End trials that still run although nobody searches the study; their architectures are proposed again."""
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        kill(study, trial._trial_id, trial.number, "its process ended before it did")
    return len(left)


def kill(study: optuna.Study, trial_id: int, number: int, reason: str) -> None:
    """End a trial that was cut short from outside; one that has just ended stays as it is."""
    with suppress(UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(trial_id, "reason", reason)
        study._storage.set_trial_user_attr(trial_id, KILLED, True)
        study.tell(number, state=TrialState.FAIL)


def find_trial(view: StudyView, which: str) -> Record:
    """A study's trial by `best`, `trial=17` or `pareto=2` (counted from 1 by rising cost).

    Raises:
        StudyError: no such trial.
    """
    word, _, number = which.partition("=")
    chosen: Record | None = None
    if word == "best" and not number:
        chosen = view.best
    elif word == "trial" and number.isdecimal():
        chosen = next((record for record in view.records if record.number == int(number)), None)
    elif word == "pareto" and number.isdecimal() and 1 <= int(number) <= len(view.front):
        chosen = view.front[int(number) - 1]
    if chosen is None and word == "best" and view.verdicts:
        raise StudyError(
            f"study {view.name} has no best: none of {view.judged} that were measured meets the target",
            "name a trial by trial=NUMBER, or search again with a smaller --band or a higher target",
        )
    if chosen is None or not chosen.arch:
        raise StudyError(
            f"study {view.name} has no {which}",
            f"use best, trial=NUMBER or pareto=1 to pareto={len(view.front)}; {len(view.complete)} trials are complete",
        )
    return chosen
