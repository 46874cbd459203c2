"""Checkpoints of training runs: a run that was interrupted continues after its last epoch, also in another process."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from glob import escape
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from nas.errors import EvaluationError, NasError
from nas.train.loop import TrainingRun
from nas.train.memory import is_out_of_memory
from nas.train.tensor_file import FileKind

KIND = FileKind(
    content="training run",
    format=1,
    suffix=".training.pt",
    file_remedy="the training run starts again and replaces it",
    folder_remedy="choose another folder for checkpoints",
)


class CheckpointMismatchError(Exception):
    """A checkpoint does not fit the training run that should continue from it."""


@define(eq=False)
class Checkpoint:
    """Hold the state of a training run after an epoch.

    The names of the attributes are the keys of the file, so they must not change.

    Attributes:
        epoch: Number of finished epochs.
        accuracies: Accuracies that were yielded. There are more of them than epochs if memory ran out in a later epoch
            and the run started again with a smaller batch.
        batch_size: Number of images of a step.
        state: State as `TrainingRun.state_dict` returns it; empty after `restore`.
        seconds: Duration of these epochs in seconds, without time between them; 0 in files of earlier versions.
    """

    epoch: int
    accuracies: Sequence[float]
    batch_size: int
    state: Mapping[str, Any]
    seconds: float = 0.0

    def restore(self, run: TrainingRun) -> None:
        """Load the state into a new training run, and release it, because it takes as much memory as the run.

        Raises:
            CheckpointMismatchError: The state belongs to another training run.
        """
        state, self.state = self.state, {}
        try:
            run.load_state_dict(state)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointMismatchError from None


class NoCheckpoint:
    """Stand in for a `CheckpointFile` where no checkpoints are kept: it reads and writes nothing."""

    def in_use(self) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def read(self, budget: int) -> Checkpoint | None:  # noqa: ARG002 -- the signature of `CheckpointFile`
        """Return None."""
        return None

    def report_unusable(self, problem: str = "") -> None:
        """Do nothing."""

    def write(self, run: TrainingRun, epoch: int, accuracies: Sequence[float], seconds: float) -> None:
        """Do nothing."""


@define(eq=False)
class CheckpointFolder:
    """Manage the checkpoint files of one evaluator; a file exists from a run's first long epoch until the run ends.

    A training run whose caller stops iterating may have been pruned. Or the caller was interrupted or failed, and will
    evaluate the same architecture again. The difference shows only later, so the file of such an abandoned run is
    removed when the evaluator starts its next run: then the caller has continued without it. The same holds for a run
    that ended with an unexpected error.

    Attributes:
        folder: Folder of the files; it is created with the first file.
        min_seconds: Duration of training in seconds below which no file is written.
        notify: Callback that receives messages about the files.
        abandoned: Files of training runs that did not end.
    """

    folder: Path
    min_seconds: float
    notify: Callable[[str], None]
    abandoned: set[Path] = field(factory=set)
    _has_warned: bool = field(default=False, init=False)

    def file(self, described: Mapping[str, Any]) -> "CheckpointFile":
        """Return the file of one training run.

        Args:
            described: Everything that the run depends on, as plain JSON values; each description has its own file.
        """
        return CheckpointFile(self, described, KIND.path(self.folder, "network", described))

    def warn_once(self, problem: str) -> None:
        """Report a problem of the folder, unless one was reported before: it would repeat for every run."""
        if not self._has_warned:
            self._has_warned = True
            self.notify(f"{problem}; an interrupted training run will start again from its first epoch")

    def remove_abandoned(self, started: Path) -> None:
        """Remove the files of abandoned runs, except the file of the run that starts now."""
        for path in self.abandoned - {started}:
            _remove(path)
        self.abandoned.clear()


@define(eq=False)
class CheckpointFile:
    """Read and write the checkpoint of one training run."""

    folder: CheckpointFolder
    described: Mapping[str, Any]
    path: Path
    _written_at: float = field(default=0.0, init=False)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Return the context in which the run trains; at its end the file is removed, kept or marked as abandoned.

        The file is removed when the run ends or the architecture fails. It is kept when the process is killed or
        interrupted (KeyboardInterrupt is no Exception), and marked as abandoned when the caller stops iterating.
        """
        # Runs that take turns with this one are not abandoned, so their files stay.
        self.folder.remove_abandoned(self.path)
        self._written_at = time.monotonic()
        try:
            yield
        except EvaluationError:
            _remove(self.path)
            raise
        except (GeneratorExit, Exception):
            self.folder.abandoned.add(self.path)
            raise
        _remove(self.path)

    def read(self, budget: int) -> Checkpoint | None:
        """Return the checkpoint of a run of so many epochs, or None if there is no usable one, which is reported."""
        try:
            values = KIND.read(self.path, self.described)
            return None if values is None else _parse(values, budget)
        except NasError as error:
            self.report_unusable(error.problem)
        except MemoryError:
            self.report_unusable(f"{self.path} needs more memory than is free")
        except CheckpointMismatchError:
            self.report_unusable()
        return None

    def report_unusable(self, problem: str = "") -> None:
        """Report that the file cannot be used, so that the run starts again.

        Args:
            problem: Problem of the file; "" if its values do not fit the run.
        """
        problem = problem or f"{self.path} does not fit its training run"
        self.folder.notify(f"{problem}; {KIND.file_remedy}")

    def write(self, run: TrainingRun, epoch: int, accuracies: Sequence[float], seconds: float) -> None:
        """Write a checkpoint, unless the run has ended or trained too briefly since the last one.

        If the file cannot be written, that is reported once and the run continues.

        Args:
            run: Training run.
            epoch: Number of finished epochs.
            accuracies: Accuracies that were yielded.
            seconds: Duration of the finished epochs in seconds.
        """
        # A run that has ended needs no checkpoint, and a short one is repeated at little cost.
        if epoch == run.epochs or time.monotonic() - self._written_at < self.folder.min_seconds:
            return
        try:
            checkpoint = Checkpoint(epoch, list(accuracies), run.recipe.batch_size, run.state_dict(), seconds)
            # `asdict` must not recurse: it would copy the state's mappings, and torch.save reads them as they are.
            KIND.write(self.path, self.described, attrs.asdict(checkpoint, recurse=False))
        except NasError as error:
            self.folder.warn_once(error.problem)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # Too little memory for a copy of the state is no reason to train with a smaller batch.
            self.folder.warn_once(f"{self.path} cannot be written: there is too little memory")
        self._written_at = time.monotonic()


def _parse(values: Mapping[str, Any], budget: int) -> Checkpoint:
    """Return the checkpoint in the values of a file.

    Raises:
        CheckpointMismatchError: The values are not those of a run of so many epochs.
    """
    epoch, accuracies, batch_size, state, seconds = (
        values.get(each.name, each.default) for each in attrs.fields(Checkpoint)
    )
    if not (isinstance(epoch, int) and isinstance(batch_size, int) and isinstance(state, dict)):
        raise CheckpointMismatchError
    if not (isinstance(accuracies, list) and 1 <= epoch <= len(accuracies) < budget):
        raise CheckpointMismatchError
    if not all(isinstance(accuracy, float) and 0 <= accuracy <= 1 for accuracy in accuracies):
        raise CheckpointMismatchError
    if not (isinstance(seconds, float) and 0 <= seconds < math.inf):
        raise CheckpointMismatchError
    return Checkpoint(epoch, accuracies, batch_size, state, seconds)


def _remove(path: Path) -> None:
    """Remove a file, and the temporary files that killed processes left while they wrote it."""
    for each in (path, *path.parent.glob(f".{escape(path.name)}.*.new")):
        with suppress(OSError):
            each.unlink()
