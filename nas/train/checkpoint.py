"""Trainings on disk: one that was ended from outside goes on from its last epoch, in another process too."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from glob import escape
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from nas.errors import EvaluationError, NasError
from nas.train.loop import Training
from nas.train.memory import is_lack
from nas.train.tensor_file import FileKind

KIND = FileKind(
    word="training",
    format=1,
    ending=".training.pt",
    remedy="the training begins anew and replaces it",
    elsewhere="choose another folder for what is kept of trainings",
)


class UnfitError(Exception):
    """What was kept of a training does not fit it."""


@define(eq=False)
class Kept:
    """A training up to an epoch.

    Attributes:
        epoch: how many are behind.
        accuracies: all that were told; more than epochs where a smaller batch began again.
        batch_size: of a step.
        state: see `Training.state`; empty once it was given.
    """

    epoch: int
    accuracies: Sequence[float]
    batch_size: int
    state: Mapping[str, Any]

    def give(self, training: Training) -> None:
        """Put the state into a training that has just begun, and let go of it.

        Raises:
            UnfitError: it is of another one.
        """
        state, self.state = self.state, {}
        try:
            training.take_in(state)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if is_lack(error):
                raise
            raise UnfitError from None


class Nowhere:
    """What a training has in place of a `Slot` where nothing is to be kept of it."""

    def used(self) -> AbstractContextManager[None]:
        """See `Slot`."""
        return nullcontext()

    def read(self, budget: int) -> Kept | None:  # noqa: ARG002 -- as in `Slot`
        """See `Slot`."""
        return None

    def pass_over(self, problem: str = "") -> None:
        """See `Slot`."""

    def write(self, training: Training, epoch: int, accuracies: Sequence[float]) -> None:
        """See `Slot`."""


@define(eq=False)
class Shelf:
    """The place of one evaluator's trainings; a file is there from a training's first long epoch until it has ended.

    A training that its caller gives up, by closing the iterator or letting go of it, may have been pruned; or the
    caller was interrupted, or failed, and will ask again. So its file goes when the next training begins: by then the
    caller has gone on without it. So does that of a training that failed for a reason of its own, such as a bug.

    Attributes:
        folder: of the files; made when the first one is written.
        least_s: seconds of training, below which they are not worth a file.
        say: told in sentences what becomes of the files.
        given_up: files of trainings that the caller did not see to their end.
    """

    folder: Path
    least_s: float
    say: Callable[[str], None]
    given_up: set[Path] = field(factory=set)
    _has_complained: bool = field(default=False, init=False)

    def slot(self, described: Mapping[str, Any]) -> "Slot":
        """The place of one training: what it is of, as plain JSON values, tells it from all others."""
        return Slot(self, described, KIND.path(self.folder, "network", described))

    def complain(self, problem: str) -> None:
        """Say once what would be the same for each of many trainings."""
        if not self._has_complained:
            self._has_complained = True
            self.say(f"{problem}; a training that is ended from outside will begin anew")

    def forget(self, given_up: Path) -> None:
        """Have the file go when another training begins."""
        self.given_up.add(given_up)

    def tidy(self, begun: Path) -> None:
        """Remove the files of trainings that were given up, but for the one that begins now."""
        for path in self.given_up - {begun}:
            _remove(path)
        self.given_up.clear()


@define(eq=False)
class Slot(Nowhere):
    """The file of one training."""

    shelf: Shelf
    described: Mapping[str, Any]
    path: Path
    _since: float = field(default=0.0, init=False)

    @contextmanager
    def used(self) -> Iterator[None]:
        """While the training runs; what ends the process leaves the file."""
        self.shelf.tidy(self.path)
        self._since = time.monotonic()
        try:
            yield
        except EvaluationError:
            _remove(self.path)
            raise
        except (GeneratorExit, Exception):
            self.shelf.forget(self.path)
            raise
        _remove(self.path)

    def read(self, budget: int) -> Kept | None:
        """What is there of a training of so many epochs; what is of no use is passed over."""
        try:
            held = KIND.read(self.path, self.described)
            return None if held is None else _kept(held, budget)
        except NasError as error:
            self.pass_over(error.problem)
        except MemoryError:
            self.pass_over(f"{self.path} takes more memory than there is")
        except UnfitError:
            self.pass_over()
        return None

    def pass_over(self, problem: str = "") -> None:
        """Say that the file is of no use."""
        self.shelf.say(f"{problem or f'{self.path} does not fit its training'}: {KIND.remedy}")

    def write(self, training: Training, epoch: int, accuracies: Sequence[float]) -> None:
        """Write what there is after an epoch, if it took long enough and more follow.

        Where it cannot be written that is said, and the training goes on.
        """
        if epoch == training.epochs or time.monotonic() - self._since < self.shelf.least_s:
            return
        try:
            kept = Kept(epoch, list(accuracies), training.recipe.batch_size, training.state())
            KIND.write(self.path, self.described, attrs.asdict(kept, recurse=False))
        except NasError as error:
            self.shelf.complain(error.problem)
        except (MemoryError, RuntimeError) as error:
            if not is_lack(error):
                raise
            self.shelf.complain(f"{self.path} cannot be written: there is too little memory")
        self._since = time.monotonic()


def _kept(held: Mapping[str, Any], budget: int) -> Kept:
    """What a file holds.

    Raises:
        UnfitError: it is of no training of so many epochs.
    """
    epoch, accuracies, batch_size, state = (held.get(each.name) for each in attrs.fields(Kept))
    if not (isinstance(epoch, int) and isinstance(batch_size, int) and isinstance(state, dict)):
        raise UnfitError
    if not (isinstance(accuracies, list) and 1 <= epoch <= len(accuracies) < budget):
        raise UnfitError
    if not all(isinstance(accuracy, float) and 0 <= accuracy <= 1 for accuracy in accuracies):
        raise UnfitError
    return Kept(epoch, accuracies, batch_size, state)


def _remove(path: Path) -> None:
    """Remove a file, and what a process was killed over while it wrote it."""
    for each in (path, *path.parent.glob(f".{escape(path.name)}.*.new")):
        with suppress(OSError):
            each.unlink()
