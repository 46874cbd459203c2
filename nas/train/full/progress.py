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
MOST = 100_000  # epochs of a training run
REMEDY = "choose another folder with --out, or delete this folder to start the training run again"
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
    curve = parse_curve(values.get("curve"))
    epochs, state = _count(values, "epochs"), values.get("state")
    if not isinstance(state, dict):
        raise NasError("it has no state", REMEDY)
    if not 1 <= len(curve) <= epochs:
        raise NasError(f"it has {len(curve):,} of {epochs:,} epochs", REMEDY)
    return Progress(
        epochs, _count(values, "halvings"), curve, state, _tensors(values, "best"), _tensors(values, "last")
    )


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise NasError(f"its {name} is {value!r:.80}", REMEDY)
    return value


def _tensors(values: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    found = values.get(name)
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise NasError(f"its {name} is not a network", REMEDY)
    return found
