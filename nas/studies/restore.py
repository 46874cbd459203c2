"""Restoring of studies from their journals into a database that does not hold them yet."""

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
from nas.studies.reservation_keys import ARCH
from nas.studies.urls import mask

# Trials that were running leave gaps in the numbers, a few at a time. A number far beyond the count of trials is made
# up, and filling the gap below it would take any amount of memory.
MAX_GAPS = 1000


@frozen
class Contents:
    """Hold what a journal contains.

    Attributes:
        path: File of the journal.
        head: The study.
        attributes: User attributes of the study at the end of the journal.
        trials: Finished trials by number.
        skipped_lines: Lines that cannot be used, each as "line NUMBER: REASON".
    """

    path: Path
    head: Head
    attributes: Mapping[str, Any]
    trials: tuple[FrozenTrial, ...]
    skipped_lines: tuple[str, ...]

    @property
    def gaps(self) -> int:
        """Return how many numbers below the highest have no trial."""
        return self.trials[-1].number + 1 - len(self.trials) if self.trials else 0


@define
class _Reader:
    """Collect the lines of a journal; trials and skipped lines with the numbers of their lines."""

    head: Head | None = None
    attributes: dict[str, Any] = Factory(dict)
    trials: dict[int, tuple[int, FrozenTrial]] = Factory(dict)
    skipped: dict[int, str] = Factory(dict)

    def add(self, line: int, entry: Entry) -> None:
        """Add the contents of a line, which replace those of earlier lines for the same trial or attribute.

        Raises:
            ValueError: The line continues a list that earlier lines do not hold.
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
            raise ValueError(f"it continues a list after {attribute.start} items, which no line before it holds")
        return [*known[: attribute.start], *attribute.value]

    def fitting(self, head: Head) -> tuple[FrozenTrial, ...]:
        """Return the trials that fit into one study, by number; the others are skipped."""
        kept: list[FrozenTrial] = []
        # Trials of nas are compared with each other alone, and so are those of other programs; see `BulkStorage`.
        known: dict[bool, dict[str, BaseDistribution]] = {True: {}, False: {}}
        for number in sorted(self.trials):
            line, trial = self.trials[number]
            alike = known[ARCH in trial.user_attrs]
            try:
                _check_fits(trial, head, alike, len(self.trials) + MAX_GAPS)
            except ValueError as error:
                self.skipped[line] = str(error)
            else:
                alike |= {name: d for name, d in trial.distributions.items() if name not in alike}
                kept.append(trial)
        return tuple(kept)


def _check_fits(trial: FrozenTrial, head: Head, known: Mapping[str, BaseDistribution], most: int) -> None:
    if trial.number >= most:
        raise ValueError(f"number is {trial.number}, far above the number of trials in the journal")
    if trial.values is not None and len(trial.values) != len(head.directions):
        raise ValueError(f"the trial has {len(trial.values)} values, not {len(head.directions)}")
    for name, distribution in trial.distributions.items():
        if name in known:
            check_distribution_compatibility(known[name], distribution)


def read_journal(path: Path) -> Contents:
    """Read a journal; lines that break a rule are skipped.

    Raises:
        StudyError: The file cannot be read, or no line of it holds a study.
    """
    reader = _Reader()
    try:
        for number, line in read_lines(path):
            try:
                reader.add(number, parse_line(line))
            except ValueError as error:
                reader.skipped[number] = str(error)
    except OSError as error:
        raise StudyError(f"journal {path} cannot be read: {error.strerror or error}", "give another file") from None
    if reader.head is None:
        first = next((f"; line {line}: {why}" for line, why in reader.skipped.items()), "")
        raise StudyError(f"{path} is no journal: no line of it holds a study{first}", "give another file")
    trials = reader.fitting(reader.head)
    skipped = tuple(f"line {line}: {why}" for line, why in sorted(reader.skipped.items()))
    return Contents(path, reader.head, reader.attributes, trials, skipped)


def restore(paths: Iterable[Path], url: str) -> tuple[Contents, ...]:
    """Write the studies of journals into a database, each as a whole or not at all.

    Trials keep their numbers. A number without a trial, which was running or whose line was lost, gets a killed one, so
    that its architecture is evaluated again.

    Args:
        paths: Files of journals.
        url: URL of the database, which is made if it does not exist.

    Returns:
        The contents of the journals.

    Raises:
        StudyError: A journal cannot be read, two are of the same study, or the database has a study of that name.
    """
    read = tuple(map(read_journal, paths))
    _check_names(read)
    storage = open_uncached(url)
    with explained(url):
        # All names are checked before the first study is written, so that a refused command changes nothing.
        existing = {study.study_name for study in get_storage(storage).get_all_studies()}
        for contents in read:
            if contents.head.name in existing:
                raise StudyError(
                    f"{mask(url)} has a study {contents.head.name} already",
                    "give a new database; this one was not changed",
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
                f"{first[name]} and {contents.path} are both of study {name}", "restore each into its own database"
            )
        first[name] = contents.path


def _filled(trials: Sequence[FrozenTrial]) -> Iterable[FrozenTrial]:
    """Yield trials numbered from 0 without gaps."""
    number = 0
    for trial in trials:
        for _ in range(number, trial.number):
            yield _killed_before(trial)
        yield trial
        number = trial.number + 1


def _killed_before(later: FrozenTrial) -> FrozenTrial:
    """Return the trial that stands for one that was not finished when a later one was."""
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
