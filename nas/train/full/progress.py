"""The progress of a training run in a file: the same command continues from it, also after its process was killed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen
from torch import Tensor

from nas.errors import NasError
from nas.train.full.curve import EpochResult, best_epoch, parse_curve
from nas.train.tensor_file import FileKind

NAME = "progress.training.pt"
MOST = 1_000_000  # epochs
REMEDY = "choose another folder with --out, or delete this one to start the training run again"
KIND = FileKind(
    content="training run",
    format=1,
    suffix=".training.pt",
    file_remedy=REMEDY,
    folder_remedy="choose another folder with --out",
)


@frozen(eq=False)
class Progress:
    """Hold a training run after an epoch.

    Attributes:
        epochs: Number of epochs of the whole run.
        halvings: How often the part of a batch was halved, because memory ran out.
        curve: Results of the finished epochs.
        state: State as `TrainingRun.state_dict` returns it.
        best: Tensors of the network after its best epoch.
        last: Tensors of the network after the last finished epoch.
    """

    epochs: int
    halvings: int
    curve: tuple[EpochResult, ...]
    state: Mapping[str, Any] = field(repr=False)
    best: Mapping[str, Tensor] = field(repr=False)
    last: Mapping[str, Tensor] = field(repr=False)

    @property
    def epoch(self) -> int:
        """Return the number of finished epochs."""
        return len(self.curve)

    @property
    def is_done(self) -> bool:
        """Return whether all epochs are finished."""
        return self.epoch == self.epochs

    @property
    def best_result(self) -> EpochResult:
        """Return the result of the best epoch."""
        return self.curve[best_epoch(self.curve) - 1]


def write_progress(path: Path, described: Mapping[str, Any], progress: Progress) -> None:
    """Write the progress of a training run; the former file stays if that fails.

    Args:
        path: Path of the file.
        described: Everything that the run depends on, as plain JSON values.
        progress: The progress.

    Raises:
        NasError: The file cannot be written, or the disk is full.
    """
    values = {
        "epochs": progress.epochs,
        "halvings": progress.halvings,
        "curve": [one.as_json() for one in progress.curve],
        "state": progress.state,
        "best": dict(progress.best),
        "last": dict(progress.last),
    }
    KIND.write(path, described, values)


def read_progress(path: Path, described: Mapping[str, Any]) -> Progress | None:
    """Return the progress of a training run, or None if there is no file.

    Args:
        path: Path of the file.
        described: Everything that the run depends on.

    Raises:
        NasError: The file cannot be read, is damaged, or belongs to another run; the message says what differs.
    """
    try:
        values = KIND.read(path, described)
        return None if values is None else _parse(values)
    except NasError as error:
        problem = error.problem if str(path) in error.problem else f"{path} is damaged: {error.problem}"
        raise NasError(problem, REMEDY) from None


def damaged(path: Path) -> NasError:
    """Return the error for a file whose values do not fit its training run."""
    return NasError(f"{path} does not fit the training run that it describes: it is damaged", REMEDY)


def _parse(values: Mapping[str, Any]) -> Progress:
    names = ("epochs", "halvings", "state", "best", "last")
    epochs, halvings, state, best, last = (values.get(name) for name in names)
    curve = parse_curve(values.get("curve"))
    is_right = _is_count(epochs, 1) and _is_count(halvings, 0) and isinstance(state, dict)
    if not (is_right and _are_tensors(best) and _are_tensors(last)):
        raise NasError("its values are not those of a training run", REMEDY)
    if not 1 <= len(curve) <= epochs:
        raise NasError(f"it has {len(curve):,} of {epochs:,} epochs", REMEDY)
    return Progress(epochs, halvings, curve, state, best, last)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < MOST


def _are_tensors(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, Tensor) for one in value.values())
