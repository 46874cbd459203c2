"""The interface by which a training run reports its messages and epochs."""

from typing import Protocol

from nas.train.full.curve import EpochResult


class Report(Protocol):
    """Receive what happens in a training run."""

    def say(self, message: str) -> None:
        """Receive a sentence."""
        ...

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Receive the number of finished steps, the number of all steps, and the loss of the step."""
        ...

    def on_epoch(self, result: EpochResult, epochs: int, seconds_left: float) -> None:
        """Receive the result of an epoch, the number of all epochs, and the estimated duration of those left."""
        ...


class NoReport:
    """Report nothing."""

    def say(self, message: str) -> None:
        """Do nothing."""

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Do nothing."""

    def on_epoch(self, result: EpochResult, epochs: int, seconds_left: float) -> None:
        """Do nothing."""
