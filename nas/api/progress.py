"""A progress bar on standard error."""

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from nas.search.events import Event


class SearchProgress:
    """Show a search as a progress bar with the best accuracy, and lines about what takes long above it."""

    def __init__(self) -> None:
        # Without markup, because names and messages may hold brackets, which rich would interpret.
        columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True, highlight=False))
        self._task = self._bar.add_task("starting", total=None)
        self._state = self._loss = ""

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    def listen(self, event: "Event") -> None:
        """Show an event of a search."""
        parts = [f"trial {event.record.number}"] if event.record and not event.record.label else []
        if event.best is not None and event.best.accuracy is not None:
            parts.append(f"best {100 * event.best.accuracy:.2f}%")
        if event.seconds_left is not None:
            parts.append(f"about {event.seconds_left / 60:.0f} min left")
        self._state = " · ".join(parts)
        self._bar.update(self._task, completed=event.done, total=event.total, description=self._state + self._loss)
        if event.message:
            self.say(f"{event.kind}: {event.message}")

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Show a step of a training run."""
        self._loss = f" · step {step}/{steps} loss {loss:.3f}"
        self._bar.update(self._task, description=self._state + self._loss)

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(message, markup=False, soft_wrap=True)
