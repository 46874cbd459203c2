"""Progress of a training run as a bar on standard error, and the result of an epoch in words."""

from typing import TYPE_CHECKING, Self

from nas.api.durations import format_left
from nas.api.progress import make_bar

if TYPE_CHECKING:
    from nas.train.full.curve import EpochResult


def describe_epoch(result: "EpochResult", epochs: int, seconds_left: float) -> str:
    """Return the result of an epoch in one line; the less important the later, since narrow terminals cut the end."""
    return " · ".join(
        filter(
            None,
            (
                f"epoch {result.epoch}/{epochs}",
                f"loss {result.loss:.4f}",
                f"validation {100 * result.accuracy:.2f}%",
                f"learning rate {result.learning_rate:.3g}",
                f"{result.images_per_second:,.0f} images/s",
                format_left(seconds_left),
            ),
        )
    )


class TrainProgress:
    """Show a training run as a progress bar with the latest epoch, and a line for each epoch above it."""

    def __init__(self, *, transient: bool = False) -> None:
        self._bar = make_bar(transient=transient)
        self._task = self._bar.add_task("starting", total=None)
        self._epoch = ""

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the bar."""
        self._bar.stop()

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(message, markup=False, soft_wrap=True)

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Show a step."""
        text = " · ".join(filter(None, (f"step {step}/{steps} loss {loss:.3f}", self._epoch)))
        self._bar.update(self._task, completed=step, total=steps, description=text)

    def on_epoch(self, result: "EpochResult", epochs: int, seconds_left: float) -> None:
        """Print the result of an epoch above the bar."""
        self.say(describe_epoch(result, epochs, seconds_left))
        self._epoch = " · ".join(filter(None, (f"epoch {result.epoch}/{epochs}", format_left(seconds_left))))
