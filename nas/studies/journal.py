"""Journals: finished trials as lines of text beside the database, so that a damaged database never costs a trial.

The first line of a journal is the study. Every further line is a finished trial or an attribute that was set. Where two
lines hold the same trial or attribute, the last one counts. `journal_text` defines the lines, and `restore` reads them.

A line is one write at the end of the file and begins with its line break instead of ending with it. So processes can
append at the same time, and a line that was cut short by a kill or a full disk does not spoil the next one.

Nothing is synced to disk. A killed process loses nothing, and a power failure may cost the last lines. The database,
which is synced, still has those, and the next search appends what the journal lacks. A trial is lost only if a power
failure damages the database as well.
"""

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy
from attrs import define, field, frozen
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.objective import Direction
from nas.optuna_private.identity import trial_id as id_of
from nas.optuna_private.storage import HookedStorage
from nas.optuna_private.tables import TRIALS, local_time
from nas.studies.journal_files import append, create, journal_folder, journal_path, read_lines, set_aside
from nas.studies.journal_text import (
    ATTRIBUTE,
    STUDY,
    TRIAL,
    Attribute,
    Head,
    format_attribute,
    format_head,
    format_trial,
    load,
)

# Version 0.1 kept there which process worked on a study of training runs; it is of no use later.
TEMPORARY_KEYS = ("nas:runner",)
FINISHED = tuple(state for state in TrialState if state.is_finished())
_log = logging.getLogger(__name__)
TrialKey = tuple[int, str, str]  # a trial's number, state and start: what a database and its journal are compared by


@frozen
class StoredStudy:
    """Read a study from its database.

    Attributes:
        storage: The database.
        study_id: Number of the study in it.
    """

    storage: HookedStorage
    study_id: int

    @property
    def name(self) -> str:
        """Return the name of the study."""
        return str(self.storage.get_study_name_from_id(self.study_id))

    def head(self) -> Head:
        """Return the study as the first line of a journal has it."""
        directions = (direction.name.lower() for direction in self.storage.get_study_directions(self.study_id))
        return Head(self.name, cast("Iterable[Direction]", directions), self.attributes())

    def attributes(self) -> dict[str, Any]:
        """Return the user attributes of the study, without those that are of no use later."""
        known = self.storage.get_study_user_attrs(self.study_id)
        return {key: value for key, value in known.items() if key not in TEMPORARY_KEYS}

    def trial_keys(self) -> dict[TrialKey, int]:
        """Return the keys of finished trials with the trials' numbers in the database, in the order of those.

        Only the table of trials is read: a study of 10,000 trials is compared without reading their contents.
        """
        trials = TRIALS.c
        wanted = (
            sqlalchemy.select(trials.trial_id, trials.number, trials.state, trials.datetime_start)
            .where(trials.study_id == self.study_id, trials.state.in_(FINISHED))
            .order_by(trials.trial_id)
        )
        with self.storage.engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return {(number, state.name, _start_text(start)): trial_id for trial_id, number, state, start in rows}

    def trials(self, ids: Collection[int]) -> Iterator[FrozenTrial]:
        """Yield the finished trials with these numbers in the database, in order."""
        if ids:
            every = self.storage.trials_after(self.study_id, min(ids) - 1, FINISHED)
            yield from (trial for trial in every if id_of(trial) in ids)


def _start_text(stored: datetime | None) -> str:
    """Return the start of a trial as its line has it, "" for none, from the time in the database."""
    local = local_time(stored)
    return local.isoformat() if local else ""


@frozen
class JournalState:
    """Hold of a journal what is needed to find out what it lacks.

    Attributes:
        has_head: Whether a line holds the study.
        trial_keys: Keys of the trials that it holds.
        attributes: Attributes of the study that it holds.
    """

    has_head: bool
    trial_keys: frozenset[TrialKey]
    attributes: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "JournalState":
        """Read the state of a journal; a file that does not exist holds nothing."""
        head, keys, attributes = False, set[TrialKey](), dict[str, Any]()
        for line in _other_lines(path, keys):
            if line.get("kind") == STUDY:
                head = True
                attributes |= line.get("attributes") or {}
            elif line.get("kind") == ATTRIBUTE:
                # The end of a list is not put together with its beginning here: NotImplemented equals no value, so the
                # whole list is written once more.
                attributes[str(line.get("key"))] = line.get("value") if "start" not in line else NotImplemented
            elif line.get("kind") == TRIAL:
                keys.add((line.get("number", -1), str(line.get("state")), str(line.get("begun"))))
        return cls(head, frozenset(keys), attributes)


# How `format_trial` begins and ends a line. A whole line of a trial is not parsed further, since there may be many
# thousands. A line that was cut can end in braces too, those of an inner object, but not in the last field; trials with
# system attributes, which some of Optuna's samplers write, end otherwise and are parsed.
_TRIAL = re.compile(rb'\{"kind":"trial","number":(\d{1,9}),"state":"(\w{1,20})","begun":(?:"([^"\\]{1,40})"|null),')
_TRIAL_END = b',"system":{}}'


def _other_lines(path: Path, keys: set[TrialKey]) -> Iterator[dict[str, Any]]:
    """Yield the objects of readable lines, except for ordinary trials, whose keys are added to `keys`."""
    try:
        for _, line in read_lines(path):
            if (found := _TRIAL.match(line)) and line.endswith(_TRIAL_END):
                number, state, start = (part.decode() for part in found.groups(b""))
                keys.add((int(number), state, start))
                continue
            try:
                yield load(line)
            except ValueError:
                continue
    except FileNotFoundError:
        return


@define(eq=False)
class Journal:
    """Append to the journal of a study what was written to the database before.

    Nothing is raised: a search continues without its journal. A line that cannot be written is warned of once, and is
    written before the next line that can be.

    Attributes:
        folder: Folder of all journals of the database.
        stored: The study in its database.
    """

    folder: Path
    stored: StoredStudy
    _path: Path | None = field(default=None, init=False)  # None while it is not known what the journal lacks
    _lists: dict[str, list[Any]] = field(factory=dict, init=False)  # attributes that are lists, as last written
    _has_warned: bool = field(default=False, init=False)

    def trial(self, trial: FrozenTrial) -> None:
        """Append a finished trial."""
        self._add(format_trial(trial))

    def attribute(self, key: str, value: Any) -> None:
        """Append an attribute of the study; of a list that has grown, only the new end."""
        if key not in TEMPORARY_KEYS:
            self._add(format_attribute(self._new_part(key, value)))

    def begin(self) -> None:
        """Begin the journal of a study that is new to its database; a journal of an older study is renamed and kept."""
        with self._warning_once():
            path = journal_path(self.folder, self.stored.name)
            aside = set_aside(path)
            if aside is not None:
                _log.warning("nas: %s belongs to an earlier study of this name; it is kept as %s", path, aside.name)

    def catch_up(self) -> None:
        """Append what a process that was killed had written to the database and not yet to the journal."""
        with self._warning_once():
            self._catch_up()

    def _new_part(self, key: str, value: Any) -> Attribute:
        # The whole list in every line would make the journal grow with the square of the length of the list.
        known = self._lists.pop(key, [])
        if isinstance(value, list):
            self._lists[key] = list(value)
        if known and isinstance(value, list) and value[: len(known)] == known:
            return Attribute(key, value[len(known) :], len(known))
        return Attribute(key, value)

    def _add(self, line: bytes) -> None:
        with self._warning_once():
            if self._path is None or not append(self._path, [line]):
                self._catch_up()

    def _catch_up(self) -> None:
        """Append everything that the database has and the journal lacks."""
        path = journal_path(self.folder, self.stored.name)
        lines = list(self._missing(JournalState.read(path)))
        if lines and not append(path, lines) and not create(path, lines):
            append(path, lines)  # another process has made the file since the first try
        self._lists.clear()
        self._path = path

    def _missing(self, state: JournalState) -> Iterator[bytes]:
        if not state.has_head:
            yield format_head(self.stored.head())
        else:
            for key, value in self.stored.attributes().items():
                if key not in state.attributes or state.attributes[key] != value:
                    yield format_attribute(Attribute(key, value))
        lacking = {trial_id for key, trial_id in self.stored.trial_keys().items() if key not in state.trial_keys}
        yield from map(format_trial, self.stored.trials(lacking))

    @contextmanager
    def _warning_once(self) -> Iterator[None]:
        """Warn of the first failure inside the context; the database has everything, so the search continues."""
        try:
            yield
        except (OSError, StorageInternalError, SQLAlchemyError) as error:
            self._path = None  # before the next line everything that is lacking is looked for
            if not self._has_warned:
                self._has_warned = True
                reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
                _log.warning(
                    "nas: no journal can be kept in %s: %s; the search goes on without it", self.folder, reason
                )


def open_journal(storage: HookedStorage, study_id: int) -> Journal | None:
    """Return the journal of a study, or None if its database has no journals."""
    folder = journal_folder(storage.url)
    return None if folder is None else Journal(folder, StoredStudy(storage, study_id))
