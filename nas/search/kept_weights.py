"""The fine-tuned weights of the best trials: files beside the study, of which only some are kept."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from attrs import define, field

from nas.objective import PARETO
from nas.search.events import Event
from nas.studies.records import Record, StudyView, rank

# Names under which an evaluator reports the file of a trial's weights in its metadata, or why there is none.
METADATA, PROBLEM = "weights", "weights_problem"
ENDING = ".safetensors"
UNFINISHED = "unfinished"
# The best trial of the end need not be among the best by their single accuracies, so more files are kept until then.
MORE_DURING_SEARCH = 4
_NAME = re.compile(rf"trial-(\d+){re.escape(ENDING)}")


@define(eq=False)
class KeptWeights:
    """Keeps the files with the weights of the best trials of one study, and removes those of the others.

    Evaluators write the files under names that follow from what the weights depend on. When a trial has ended, its file
    is moved to the folder of the study and named after the trial.

    Attributes:
        folder: Folder of the study.
        count: Number of trials whose weights are kept.
        report: Function that is called with a message if a file cannot be moved or removed.
        keeps_all: Whether all trials keep their files until the end: trials of a search for a front have no rank.
    """

    folder: Path
    count: int
    report: Callable[[str], None]
    keeps_all: bool = False
    _ended: dict[int, Record] = field(factory=dict, init=False)
    _reported: bool = field(default=False, init=False)

    @property
    def written(self) -> Path:
        """Return the folder into which evaluators write."""
        return self.folder / UNFINISHED

    def listen(self, event: Event) -> None:
        """Move the file of a trial or of the baseline that has ended, and remove files that are not among the best."""
        record = event.record
        if event.kind == "started":
            self._set_aside()
        if event.kind not in ("trial", "baseline") or record is None:
            return
        if PROBLEM in record.metadata and not self._reported:
            self._reported = True
            self.report(
                f"the weights of {_name(record)} are not kept, and those of others may not be either: "
                f"{record.metadata[PROBLEM]}"
            )
        if METADATA not in record.metadata:
            return
        self._move(record)
        if record.number < 0:
            return
        self._ended[record.number] = record
        if self.keeps_all:
            return
        best = sorted(self._ended.values(), key=rank, reverse=True)[: MORE_DURING_SEARCH * self.count]
        self._remove(self._ended.keys() - {record.number for record in best})

    def finish(self, view: StudyView, *, final: bool = True) -> None:
        """Keep the files of the best trials of the study, and of the recommended one, and remove the others.

        Args:
            view: The study as it is stored.
            final: Whether the ranking of the trials is final. Otherwise, because the search was stopped or another
                process re-trains the best trials, files are moved and not removed.
        """
        for record in (*view.complete, *((view.baseline,) if view.baseline else ())):
            # The process that evaluated the trial may have been killed before it moved the file.
            if METADATA in record.metadata and self._source(record).is_file():
                self._move(record)
        if not final:
            return
        # A front is kept as a whole: none of its networks is better than another one.
        is_pareto = view.settings["objective"] == PARETO
        best = view.front if is_pareto else view.meeting(view.ranked)[: self.count]
        kept = {record.number for record in best} | ({view.best.number} if view.best else set())
        own = {record.number for record in view.records}
        self._remove({number for number, _ in self._files()} & own - kept)
        with suppress(OSError):  # it is not empty while another process evaluates
            self.written.rmdir()

    def _set_aside(self) -> None:
        """Rename the folder if it has files of a former study of the same name, which may be restored."""
        if not any(self._files()):
            return
        former = self.folder.with_name(f"{self.folder.name}-until-{datetime.now():%Y%m%d-%H%M%S}")
        try:
            self.folder.rename(former)
        except OSError as error:
            self.report(f"{self.folder} has weights of a former study and cannot be renamed: {error.strerror or error}")
            return
        self.report(f"weights of a former study of this name are now in {former}")

    def file(self, record: Record) -> Path | None:
        """Return the file with the weights of a trial, or None if there is none."""
        path = self._path(record.number)
        return path if path.is_file() else None

    def _path(self, number: int) -> Path:
        return self.folder / (f"trial-{number}{ENDING}" if number >= 0 else f"baseline{ENDING}")

    def _files(self) -> Iterator[tuple[int, Path]]:
        """Yield the number and the file of each trial in the folder of the study."""
        for path in self.folder.glob(f"trial-*{ENDING}") if self.folder.is_dir() else ():
            if found := _NAME.fullmatch(path.name):
                yield int(found[1]), path

    def _source(self, record: Record) -> Path:
        # Only the name: the metadata of a study from elsewhere must not name a file outside the folder.
        return self.written / Path(str(record.metadata[METADATA])).name

    def _move(self, record: Record) -> None:
        source, target = self._source(record), self._path(record.number)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        except FileNotFoundError:
            if not target.is_file():  # else another process of the study has moved it
                self.report(f"the weights of {_name(record)} are lost: there is no file {source}")
        except OSError as error:
            self.report(
                f"the weights of {_name(record)} are not in {self.folder}: {error.strerror or error} ({source})"
            )

    def _remove(self, numbers: set[int]) -> None:
        for number in numbers:
            path = self._path(number)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self.report(f"{path} cannot be removed: {error.strerror or error}")


def _name(record: Record) -> str:
    return f"trial {record.number}" if record.number >= 0 else "the baseline"
