"""Progress of a training run on standard error: a live line on a terminal, a line for each epoch elsewhere."""

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from nas.api.train_progress import TrainProgress, describe_epoch
from nas.cli.shared.printing import say

if TYPE_CHECKING:
    from nas.train.full.curve import EpochResult


class PlainProgress:
    """Show a training run as one line for each epoch."""

    def __enter__(self) -> Self:
        """Do nothing: plain lines need no preparation."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: plain lines leave nothing open."""

    def say(self, message: str) -> None:
        """Print a line."""
        say(message)

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Print nothing: steps are too many for plain lines."""

    def on_epoch(self, result: "EpochResult", epochs: int, seconds_left: float) -> None:
        """Print the result of an epoch."""
        say(describe_epoch(result, epochs, seconds_left))


def make_progress(*, plain: bool) -> "AbstractContextManager[PlainProgress | TrainProgress]":
    """Return a live line of progress if standard error is a terminal and `plain` is not asked for, else plain lines."""
    return PlainProgress() if plain or not sys.stderr.isatty() else TrainProgress(transient=True)
