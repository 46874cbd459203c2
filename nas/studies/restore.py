"""Studies from their journals into a database that does not hold them yet."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, define, frozen
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import get_storage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyError
from nas.studies.failures import explained
from nas.studies.journal_files import read_lines
from nas.studies.journal_text import Attribute, Entry, Head, parse_line
from nas.studies.opening import open_uncached
from nas.studies.records import KILLED
from nas.studies.urls import mask

# Trials that were under way leave gaps between numbers, a few at a time.
MOST_GAPS = 1000


@frozen
class Contents:
    """What a journal holds.

    Attributes:
        path: its file.
        head: the study.
        attributes: of the study, as they were in the end.
        trials: finished ones by rising number.
        passed_over: lines that say nothing, each with its number and the reason.
    """

    path: Path
    head: Head
    attributes: Mapping[str, Any]
    trials: tuple[FrozenTrial, ...]
    passed_over: tuple[str, ...]

    @property
    def gaps(self) -> int:
        """Numbers below the highest that no trial has."""
        return self.trials[-1].number + 1 - len(self.trials) if self.trials else 0


@define
class _Reading:
    """What was read so far; a trial with the number of its line."""

    head: Head | None = None
    attributes: dict[str, Any] = Factory(dict)
    trials: dict[int, tuple[int, FrozenTrial]] = Factory(dict)
    passed_over: dict[int, str] = Factory(dict)

    def take(self, line: int, entry: Entry) -> None:
        """Take in what a line says; what was said before counts no more.

        Raises:
            ValueError: it does not go with the lines before it.
        """
        if isinstance(entry, Head):
            self.head = self.head or entry
            self.attributes |= entry.attributes
        elif isinstance(entry, Attribute):
            self.attributes[entry.key] = self._whole(entry)
        else:
            self.trials[entry.number] = line, entry

    def _whole(self, attribute: Attribute) -> Any:
        if attribute.start is None:
            return attribute.value
        known = self.attributes.get(attribute.key)
        if not isinstance(known, list) or len(known) < attribute.start:
            raise ValueError(f"it goes on with a list of {attribute.start} that is not known")
        return [*known[: attribute.start], *attribute.value]

    def fitting(self, head: Head) -> tuple[FrozenTrial, ...]:
        """The trials that can be in one study, by number."""
        kept: list[FrozenTrial] = []
        known: dict[str, BaseDistribution] = {}
        for number in sorted(self.trials):
            line, trial = self.trials[number]
            try:
                _check_fits(trial, head, known, len(self.trials) + MOST_GAPS)
            except ValueError as error:
                self.passed_over[line] = str(error)
            else:
                known |= {name: d for name, d in trial.distributions.items() if name not in known}
                kept.append(trial)
        return tuple(kept)


def _check_fits(trial: FrozenTrial, head: Head, known: Mapping[str, BaseDistribution], most: int) -> None:
    if trial.number >= most:
        raise ValueError(f"number is {trial.number}, and there are far fewer trials")
    if trial.values is not None and len(trial.values) != len(head.directions):
        raise ValueError(f"values are {len(trial.values)}, not {len(head.directions)}")
    for name, distribution in trial.distributions.items():
        if name in known:
            check_distribution_compatibility(known[name], distribution)


def read_journal(path: Path) -> Contents:
    """Read a journal; lines that break a rule are passed over.

    Raises:
        StudyError: it cannot be read, or no line of it names a study.
    """
    reading = _Reading()
    try:
        for number, line in read_lines(path):
            try:
                reading.take(number, parse_line(line))
            except ValueError as error:
                reading.passed_over[number] = str(error)
    except OSError as error:
        raise StudyError(f"journal {path} cannot be read: {error.strerror or error}", "name another file") from None
    if reading.head is None:
        first = next((f"; line {line}: {why}" for line, why in reading.passed_over.items()), "")
        raise StudyError(f"{path} is no journal of a study: no line of it names one{first}", "name another file")
    trials = reading.fitting(reading.head)
    told = tuple(f"line {line}: {why}" for line, why in sorted(reading.passed_over.items()))
    return Contents(path, reading.head, reading.attributes, trials, told)


def restore(paths: Iterable[Path], url: str) -> tuple[Contents, ...]:
    """Put the studies of journals into a database; each of them comes whole or not at all.

    A number that no trial has gets a killed one: trials keep their numbers, and what was under way comes again.

    Returns:
        What was read.

    Raises:
        StudyError: a journal cannot be read, two are of one study, or the database has one of that name.
    """
    read = tuple(map(read_journal, paths))
    _check_names(read)
    storage = open_uncached(url)
    with explained(url):
        there = {study.study_name for study in get_storage(storage).get_all_studies()}
        for contents in read:
            if contents.head.name in there:
                raise StudyError(
                    f"{mask(url)} has a study {contents.head.name} already", "name a new database, it is left as it is"
                )
        for contents in read:
            directions = [StudyDirection[name.upper()] for name in contents.head.directions]
            storage.add_study(contents.head.name, directions, contents.attributes, _filled(contents.trials))
    return read


def _check_names(read: Sequence[Contents]) -> None:
    first: dict[str, Path] = {}
    for contents in read:
        name = contents.head.name
        if name in first:
            raise StudyError(
                f"{first[name]} and {contents.path} are both of study {name}", "restore each into a database of its own"
            )
        first[name] = contents.path


def _filled(trials: Sequence[FrozenTrial]) -> Iterable[FrozenTrial]:
    """Trials numbered from 0 without gaps."""
    number = 0
    for trial in trials:
        for _ in range(number, trial.number):
            yield _lost(trial)
        yield trial
        number = trial.number + 1


def _lost(later: FrozenTrial) -> FrozenTrial:
    """What stands for a trial that was not finished before a later one."""
    return FrozenTrial(
        number=-1,
        state=TrialState.FAIL,
        value=None,
        datetime_start=later.datetime_start,
        datetime_complete=later.datetime_start,
        params={},
        distributions={},
        user_attrs={KILLED: True, "reason": "it was not finished when the journal ended, or its line was lost"},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )
