"""What every evaluator has in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from nas.arch.spec import Architecture

Notify = Callable[[str], None]  # told a sentence


def ignore_message(_message: str) -> None:
    """Where nobody listens."""


class Evaluator(Protocol):
    """Scores architectures. Owns its data; the same architecture, budget and seed give the same accuracies."""

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """Accuracy (0 to 1) after each of at most `budget` epochs, at least one; stopping early costs nothing more.

        Nothing is evaluated before the first accuracy is asked for. What trains yields one for every epoch; what knows
        the accuracy already, or is told it by a function, yields a single one.

        Args:
            arch: the target architecture; an evaluator that trains adapts it to its own images and classes.
            budget: epochs at most, 1 or more.

        Raises:
            EvaluationError: this architecture cannot be scored; others can.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the accuracies depend on, as plain JSON values: equal descriptions, comparable accuracies.

        Versions, device and threads stand under "environment": they are kept with each trial, and a study may go on
        under others.
        """
        ...


@runtime_checkable
class HasMetadata(Protocol):
    """An evaluator that has more to say of an architecture than accuracies."""

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """What to keep of an architecture beside its accuracies, as plain JSON values; {} where there is nothing.

        Asked right after its evaluation, in the same process; asking again gives the same.
        """
        ...


@runtime_checkable
class Reseedable(Protocol):
    """An evaluator whose accuracies depend on chance, drawn from a seed."""

    def with_seed(self, seed: int) -> Evaluator:
        """The same evaluator, but for what is random."""
        ...


@runtime_checkable
class Limited(Protocol):
    """An evaluator that can score some architectures and no others."""

    def architectures(self) -> Sequence[Architecture]:
        """All that it can score, in canonical form, each once, always in the same order."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """An evaluator that has to do something once, before all evaluations; it does so unasked if it was not asked to."""

    def prepare(self) -> None:
        """Do it, unless it is done.

        Raises:
            NasError: it cannot be done.
        """
        ...

    def seconds_to_prepare(self) -> float:
        """Seconds that it will take, about; 0 where it is done."""
        ...

    def seconds_prepared(self) -> float:
        """Seconds that it took; 0 where it is not done, and of what was done in part those of that part."""
        ...


@runtime_checkable
class Sendable(Protocol):
    """An evaluator that has to be made ready for another process; others can be sent as they are.

    It is pickled in the way of `multiprocessing`, and scores equally there.
    """

    def to_send(self) -> Evaluator:
        """The same evaluator without what calls back into this process; its images are shared, not sent.

        Raises:
            NasError: it cannot be sent.
        """
        ...


class Evaluators(Protocol):
    """Makes evaluators that differ in resolution and seed alone; can be sent to another process."""

    def at(self, resolution: int, seed: int) -> Evaluator:
        """An evaluator of images of that many pixels a side, everything random drawn from that seed.

        Raises:
            NasError: there are no such images.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the accuracies depend on besides, as plain JSON values."""
        ...
