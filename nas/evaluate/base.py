"""What every evaluator has in common."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from nas.arch.spec import Architecture


class Evaluator(Protocol):
    """Scores architectures. Owns its data; the same architecture, budget and seed give the same accuracies."""

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """Accuracy (0 to 1) after each of `budget` epochs; stopping early costs nothing more.

        Args:
            arch: the target architecture; the evaluator adapts it to its own images and classes.
            budget: epochs at most.

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
