"""The interface of evaluators, and the protocols for what some of them can do besides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from nas.arch.spec import Architecture
from nas.noise import Correct, ValidationSplit

# Callback that receives messages for the user, one sentence or more at a time.
Notify = Callable[[str], None]


def ignore_message(_message: str) -> None:
    """Do nothing; the default callback for messages."""


class Evaluator(Protocol):
    """Evaluate architectures; an evaluator holds its own data.

    The same architecture, budget and seed must always give the same accuracies.
    """

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """Return an iterator over the accuracies, 0 to 1, after each of at most `budget` epochs; it has at least one.

        The evaluation starts when the first accuracy is requested, and a caller that stops iterating causes no further
        work. An evaluator that trains yields an accuracy for every epoch. One that reads the accuracy from a table or
        calls a function yields a single one.

        Args:
            arch: Architecture for the target; an evaluator that trains adapts it to its own images and classes.
            budget: Largest number of epochs, 1 or more.

        Raises:
            EvaluationError: This architecture cannot be evaluated, but others may be.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what the accuracies depend on, as plain JSON values.

        Accuracies of evaluators with equal descriptions can be compared. Versions, device and threads stand under
        "environment": they are stored with each trial, and may change when a study is resumed.
        """
        ...


@runtime_checkable
class HasMetadata(Protocol):
    """An evaluator that reports metadata of an architecture besides its accuracies."""

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Return metadata to store with the accuracies, as plain JSON values; an empty mapping if there is none.

        It is called in the process of the evaluation, right after it. Repeated calls return the same.
        """
        ...


@runtime_checkable
class Timed(Protocol):
    """An evaluator that can estimate the duration of an evaluation before it starts."""

    def seconds_per_epoch(self, arch: Architecture) -> float:
        """Return the estimated duration of one epoch of this architecture on this machine, in seconds.

        Evaluators that yield a single accuracy estimate the duration of the whole evaluation. To estimate, they may
        build the network and run a few batches, so that a call may take seconds itself.
        """
        ...


@runtime_checkable
class StepTimed(Protocol):
    """An evaluator that can measure a step of a training run, from which the number of its threads is chosen."""

    def seconds_per_step(self, arch: Architecture) -> float | None:
        """Return the duration of one training step of this architecture in seconds; None if it is not on the CPU.

        Raises:
            EvaluationError: The step failed.
        """
        ...


@runtime_checkable
class Validating(Protocol):
    """An evaluator that validates on images, and can say which of them a network classified correctly."""

    def validation_split(self) -> ValidationSplit:
        """Return size and chance rate of the validation split, which is the same for all architectures and seeds."""
        ...

    def correct(self, arch: Architecture) -> Correct | None:
        """Return which validation images the architecture's last evaluation classified correctly, `(N,)`.

        It is called in the process of the evaluation, right after it. None if single images are not known to be
        classified correctly or not, for example because the metric is a probability.
        """
        ...


@runtime_checkable
class Reseedable(Protocol):
    """An evaluator whose accuracies depend on random numbers that follow from a seed."""

    def with_seed(self, seed: int) -> Evaluator:
        """Return the same evaluator with another seed."""
        ...


@runtime_checkable
class Limited(Protocol):
    """An evaluator that can only evaluate the architectures in a list."""

    def architectures(self) -> Sequence[Architecture]:
        """Return all these architectures in canonical form, without duplicates and always in the same order."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """An evaluator with work to do once before all evaluations; without a call of `prepare` the first one does it."""

    def prepare(self) -> None:
        """Do this work, unless it is done.

        Raises:
            NasError: The work failed.
        """
        ...

    def seconds_to_prepare(self) -> float:
        """Return the estimated duration of the work that remains, in seconds; 0 if it is done."""
        ...

    def seconds_prepared(self) -> float:
        """Return the duration of the work that was done, in seconds; 0 if none was done."""
        ...


@runtime_checkable
class Sendable(Protocol):
    """An evaluator that has to be changed before it is sent to another process; others can be sent as they are.

    It is pickled by `multiprocessing`, and gives the same accuracies there.
    """

    def to_send(self) -> Evaluator:
        """Return the same evaluator without callbacks, which belong to this process; images are shared, not copied.

        Raises:
            NasError: The evaluator cannot be sent.
        """
        ...


class Evaluators(Protocol):
    """Make evaluators that differ only in resolution and seed; an instance can be sent to another process."""

    def at(self, resolution: int, seed: int) -> Evaluator:
        """Return an evaluator.

        Args:
            resolution: Height and width of its images in pixels.
            seed: Seed of all its random numbers.

        Raises:
            NasError: There are no images of this resolution.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what the accuracies depend on except resolution and seed, as plain JSON values."""
        ...
