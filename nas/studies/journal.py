"""Finished trials as lines of text beside the study database, so that a damaged database never costs one.

A journal's first line is the study, each further one a finished trial or an attribute that was set; of what stands
there twice the last one counts. `journal_text` has the form of lines, `restore` reads them back.

A line is one write at the file's end, and begins with its line break instead of ending with one: processes can append
at once, and a line that was cut short by a kill or a full disk spoils no other. Nothing is synced to disk: a killed
process loses nothing, a power failure may cost the last lines. The database, which is synced, still has those, and the
next search appends what the journal lacks. Both are lost only where a power failure damages the database as well.
"""

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import sqlalchemy
from attrs import define, field, frozen
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.objective import Direction
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
PASSING = ("nas:runner",)
FINISHED = tuple(state for state in TrialState if state.is_finished())
_log = logging.getLogger(__name__)
Mark = tuple[int, str, str]  # a trial's number, state and beginning


@frozen
class Kept:
    """A study as its database has it."""

    storage: RDBStorage
    study_id: int

    @property
    def name(self) -> str:
        """The study's."""
        return str(self.storage.get_study_name_from_id(self.study_id))

    def head(self) -> Head:
        """The study itself."""
        directions = (direction.name.lower() for direction in self.storage.get_study_directions(self.study_id))
        return Head(self.name, cast("Iterable[Direction]", directions), self.attributes())

    def attributes(self) -> dict[str, Any]:
        """Those that last."""
        known = self.storage.get_study_user_attrs(self.study_id)
        return {key: value for key, value in known.items() if key not in PASSING}

    def marks(self) -> dict[Mark, int]:
        """Finished trials with their ids, in order."""
        trials = models.TrialModel.__table__.c
        wanted = (
            sqlalchemy.select(trials.trial_id, trials.number, trials.state, trials.datetime_start)
            .where(trials.study_id == self.study_id, trials.state.in_(FINISHED))
            .order_by(trials.trial_id)
        )
        with self.storage.engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return {(number, state.name, begun.isoformat() if begun else ""): own for own, number, state, begun in rows}

    def trials(self, ids: Collection[int]) -> Iterator[FrozenTrial]:
        """Some of its finished trials, in order."""
        if ids:
            every = self.storage._get_trials(self.study_id, FINISHED, set(), min(ids) - 1)
            yield from (trial for trial in every if trial._trial_id in ids)


@frozen
class Held:
    """A study as its journal has it, so far as is needed to see what is missing."""

    has_head: bool
    marks: frozenset[Mark]
    attributes: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Held":
        """What a file has; nothing where there is none."""
        head, marks, attributes = False, set[Mark](), dict[str, Any]()
        for told in _objects(path, marks):
            if told.get("kind") == STUDY:
                head = True
                attributes |= told.get("attributes") or {}
            elif told.get("kind") == ATTRIBUTE:
                # The end of a list is not compared, but written once more.
                attributes[str(told.get("key"))] = told.get("value") if "start" not in told else NotImplemented
            elif told.get("kind") == TRIAL:
                marks.add((told.get("number", -1), str(told.get("state")), str(told.get("begun"))))
        return cls(head, frozenset(marks), attributes)


# How `format_trial` begins a line; of a whole one no more is looked at, since there may be many thousands.
_TRIAL = re.compile(rb'\{"kind":"trial","number":(\d{1,9}),"state":"(\w{1,20})","begun":(?:"([^"\\]{1,40})"|null),')


def _objects(path: Path, marks: set[Mark]) -> Iterator[dict[str, Any]]:
    """The lines that can be read; of most trials only their marks are added."""
    try:
        for _, line in read_lines(path):
            if (found := _TRIAL.match(line)) and line.endswith(b"}}"):
                number, state, begun = (part.decode() for part in found.groups(b""))
                marks.add((int(number), state, begun))
                continue
            try:
                yield load(line)
            except ValueError:
                continue
    except FileNotFoundError:
        return


@define(eq=False)
class Journal:
    """A study's journal. What cannot be written is told once, and written with a later line; nothing is raised.

    Attributes:
        folder: of all journals of the database.
        kept: the study; what is appended here was written there before.
    """

    folder: Path
    kept: Kept
    _path: Path | None = field(default=None, init=False)
    _lists: dict[str, list[Any]] = field(factory=dict, init=False)
    _told: bool = field(default=False, init=False)

    def trial(self, trial: FrozenTrial) -> None:
        """Append a finished trial."""
        self._add(format_trial(trial))

    def note(self, key: str, value: Any) -> None:
        """Append an attribute of the study; of a list that has grown only what is new."""
        if key not in PASSING:
            self._add(format_attribute(self._grown(key, value)))

    def begin(self) -> None:
        """Make way for a study that is new to its database: an older one's journal stays under another name."""
        with self._explained():
            path = journal_path(self.folder, self.kept.name)
            aside = set_aside(path)
            if aside is not None:
                _log.warning("nas: %s is of an earlier study of this name; it is kept as %s", path, aside.name)

    def catch_up(self) -> None:
        """Append what a process that was ended had written to the database alone."""
        with self._explained():
            self._catch_up()

    def _grown(self, key: str, value: Any) -> Attribute:
        known = self._lists.pop(key, [])
        if isinstance(value, list):
            self._lists[key] = list(value)
        if known and isinstance(value, list) and value[: len(known)] == known:
            return Attribute(key, value[len(known) :], len(known))
        return Attribute(key, value)

    def _add(self, line: bytes) -> None:
        with self._explained():
            if self._path is None or not append(self._path, [line]):
                self._catch_up()

    def _catch_up(self) -> None:
        """Append everything that the database has and the journal lacks."""
        path = journal_path(self.folder, self.kept.name)
        lines = list(self._missing(Held.read(path)))
        if lines and not append(path, lines) and not create(path, lines):
            append(path, lines)  # another process has just made it
        self._lists.clear()
        self._path = path

    def _missing(self, held: Held) -> Iterator[bytes]:
        if not held.has_head:
            yield format_head(self.kept.head())
        else:
            for key, value in self.kept.attributes().items():
                if key not in held.attributes or held.attributes[key] != value:
                    yield format_attribute(Attribute(key, value))
        lacking = {trial_id for mark, trial_id in self.kept.marks().items() if mark not in held.marks}
        yield from map(format_trial, self.kept.trials(lacking))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The database has it all, so that a search goes on without its journal."""
        try:
            yield
        except (OSError, StorageInternalError, SQLAlchemyError) as error:
            self._path = None  # what is lacking is found out before the next line
            if not self._told:
                self._told = True
                reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
                _log.warning("nas: no journal can be kept in %s: %s; the search goes on without", self.folder, reason)


def open_journal(storage: RDBStorage, study_id: int) -> Journal | None:
    """The journal of a study; None where its database has none."""
    folder = journal_folder(storage.url)
    return None if folder is None else Journal(folder, Kept(storage, study_id))
