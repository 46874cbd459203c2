"""Progress on standard error: a live line on a terminal, plain lines elsewhere."""

import sys
from typing import TYPE_CHECKING, Protocol

import click

from nas.cli.shared.printing import millions, number, percent

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from nas.search.events import Event


class Progress(Protocol):
    """Show the progress of a search, as a context manager around it."""

    def listen(self, event: "Event") -> None:
        """Show an event of the search."""
        ...

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Show the loss of a training step."""
        ...

    def say(self, message: str) -> None:
        """Print a line that stays."""
        ...


# Kinds of events that are notes, and say nothing of how many trials are done.
NOTES = ("threads", "moved", "foreign", "objective")


def make_progress(*, plain: bool) -> "PlainProgress | LiveProgress":
    """Return a live line of progress if standard error is a terminal and `plain` is not asked for, else plain lines."""
    return PlainProgress() if plain or not sys.stderr.isatty() else LiveProgress()


class PlainProgress:
    """Show progress as one line for each trial.

    Attributes:
        stopped: Whether the search was interrupted before it had finished.
    """

    def __init__(self) -> None:
        self.stopped = False

    def __enter__(self) -> "PlainProgress":
        """Do nothing: plain lines need no preparation."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: plain lines leave nothing open."""

    def listen(self, event: "Event") -> None:
        """Print a line for an event; epochs are not printed."""
        self.stopped |= event.kind == "stopped"
        if event.kind not in ("epoch", "stopped"):
            self.say(_line(event))

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Print nothing: steps are too many for plain lines."""

    def say(self, message: str) -> None:
        """Print a line."""
        click.echo(message, err=True)


class LiveProgress(PlainProgress):
    """Show progress as one line for each trial, and below them a line that shows the running trial."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Bar | None = None
        self._head = self._loss = self._best = ""

    def __enter__(self) -> "LiveProgress":
        """Open the live line."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (BarColumn(20), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
        self._bar.add_task("starting", total=None)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the live line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def listen(self, event: "Event") -> None:
        """Print a line for an event and update the live line."""
        super().listen(event)
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, total=event.total, completed=event.done)
        name = event.record and (event.record.label or f"trial {event.record.number}")
        epoch = f" · epoch {len(event.record.accuracies)} {percent(event.record.accuracy)}" if event.record else ""
        self._head = f"{event.done}/{event.total} · {name or ''}{epoch}"
        self._best = f" · best {percent(event.best.accuracy)}" if event.best else ""
        self._best += f" · {_time_left(event)}" if event.seconds_left is not None else ""
        self._show()

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Show the loss in the live line."""
        self._loss = f" · step {step}/{steps} loss {loss:.3f}"
        self._show()

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=self._head + self._loss + self._best)

    def say(self, message: str) -> None:
        """Print a line above the live one."""
        if self._bar is None:
            super().say(message)
        else:
            self._bar.console.print(message, markup=False, soft_wrap=True)


def _line(event: "Event") -> str:
    record = event.record
    if event.kind == "lost":
        return f"trial {record.number if record else ''} was lost: {event.message}"
    if event.kind in NOTES:
        return f"{event.kind}: {event.message}"
    if record is None:
        return f"{event.kind}: {event.done} of {event.total} trials are done" + (
            f"; {event.message}" if event.message else ""
        )
    name = f"baseline {record.label}" if record.label else f"trial {record.number} ({event.done}/{event.total})"
    latency = f", {record.costs['latency_ms']:.4g} ms" if "latency_ms" in record.costs else ""
    macs = millions(record.costs.get("macs"))
    figures = f"{percent(record.accuracy)} at {macs} MACs{latency}, score {number(record.score)}"
    state = "" if record.state == "complete" else f", {record.state}"
    state += f": {record.reason}" if record.reason else ""
    best = f" · best {percent(event.best.accuracy)}" if event.best else ""
    left = f" · {_time_left(event)}" if event.seconds_left is not None else ""
    return f"{name}: {figures}{state}{best}{left}"


def _time_left(event: "Event") -> str:
    minutes, seconds = divmod(round(event.seconds_left or 0), 60)
    return f"about {minutes} min {seconds:02d} s left"


class Steps:
    """Show progress in steps: one line that changes on a terminal, a line for each tenth of the steps elsewhere."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._printed_tenth = -1
        self._live = sys.stderr.isatty()

    def __call__(self, done: int, total: int, seconds_left: float | None = None) -> None:
        """Show how many steps are done."""
        tenth = 10 * done // total
        if not self._live and tenth == self._printed_tenth:
            return
        self._printed_tenth = tenth
        left = "" if seconds_left is None or done == total else f", about {seconds_left:.0f} s left"
        line = f"{self.label}: {done} of {total}{left}"
        click.echo(f"\r{line:<70}" if self._live else line, err=True, nl=not self._live or done == total)
