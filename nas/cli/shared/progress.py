"""Progress on standard error: a live view on a terminal, plain lines elsewhere."""

import os
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol, TextIO
from weakref import finalize

import click

from nas.api.durations import format_left
from nas.cli.shared.printing import number, percent
from nas.cli.shared.streams import escape

if TYPE_CHECKING:
    from nas.api.progress import AnyBar, SearchProgress
    from nas.cli.live.state import SearchState
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


# Kinds of events that are shown by a live view alone.
SILENT = ("begun", "epoch", "left", "stopped")
DUMB = ("dumb", "unknown")  # names of terminals that cannot move their cursors
STDERR = 2
# Kinds of events that are notes, and say nothing of how many trials are done.
NOTES = ("threads", "screened", "moved", "foreign", "objective")


def make_progress(*, plain: bool) -> "PlainProgress":
    """Return a live view if standard error is a terminal that can show it, and `plain` is not asked for.

    Elsewhere, progress is plain lines; on a terminal of Windows, it is a live line.
    """
    if plain or not sys.stderr.isatty() or os.environ.get("TERM") in DUMB:
        return PlainProgress()
    return BarProgress() if sys.platform == "win32" or not _is_own(sys.stderr) else LiveProgress()


def _is_own(stream: TextIO) -> bool:
    """Return whether a stream is the standard error of this process, and no object that stands for it."""
    with suppress(OSError, ValueError, AttributeError):
        return stream.fileno() == STDERR
    return False


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
        """Print a line for an event; how trials begin and go on is not printed."""
        self.stopped |= event.kind == "stopped"
        if event.kind not in SILENT:
            self.say(_line(event))

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Print nothing: steps are too many for plain lines."""

    def say(self, message: str) -> None:
        """Print a line."""
        self._print(escape(message, kept="\n"))

    def _print(self, line: str) -> None:
        click.echo(line, err=True)


class LiveProgress(PlainProgress):
    """Show progress as one line for each trial, and below them what is known of the search so far."""

    def __init__(self) -> None:
        super().__init__()
        self._state: SearchState | None = None
        self._context = ExitStack()

    def __enter__(self) -> "LiveProgress":
        """Open the view; without free file descriptors for it, plain lines remain."""
        from nas.cli.live.chart import glyphs_for
        from nas.cli.live.screen import Screen
        from nas.cli.live.state import SearchState
        from nas.cli.live.view import view_lines

        state, glyphs = SearchState(), glyphs_for(sys.stderr.encoding)
        with suppress(OSError):
            self._context.enter_context(
                Screen(lambda width, height: view_lines(state.snapshot(), width, height, glyphs))
            )
            self._state = state
        return self

    def __exit__(self, *_: object) -> None:
        """Close the view."""
        self._state = None
        self._context.close()

    def listen(self, event: "Event") -> None:
        """Print a line for an event and show it in the view."""
        super().listen(event)
        if self._state is not None:
            self._state.update(event)

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Show the loss in the view."""
        if self._state is not None:
            self._state.on_batch(step, steps, loss)


class BarProgress(PlainProgress):
    """Show progress as one line for each trial, and below them a line that shows the running trial."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: SearchProgress | None = None
        self._context = ExitStack()

    def __enter__(self) -> "BarProgress":
        """Open the live line."""
        from nas.api.progress import SearchProgress

        self._bar = self._context.enter_context(SearchProgress(transient=True))
        return self

    def __exit__(self, *_: object) -> None:
        """Close the live line."""
        self._bar = None
        self._context.close()

    def listen(self, event: "Event") -> None:
        """Print a line for an event and update the live line."""
        super().listen(event)
        if self._bar is not None:
            self._bar.show(event)

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Show the loss in the live line."""
        if self._bar is not None:
            self._bar.on_batch(step, steps, loss)

    def _print(self, line: str) -> None:
        """Print a line above the live one."""
        (super()._print if self._bar is None else self._bar.say)(line)


def _line(event: "Event") -> str:
    record, left = event.record, format_left(event.seconds_left)
    if event.kind == "lost":
        return f"trial {record.number if record else ''} was lost: {event.message}"
    if event.kind in NOTES:
        return f"{event.kind}: {event.message}"
    if event.kind == "estimate":
        return f"estimate: {left or 'less than a second'}, judged by a few training steps"
    if record is None:
        is_more = event.done > event.total  # a study may have more trials than a later command asks for
        asked = (
            f"trials are done, and no more than {event.total} asked for"
            if is_more
            else f"of {event.total} trials are done"
        )
        return "; ".join(filter(None, (f"{event.kind}: {event.done} {asked}", event.message)))
    name = f"baseline {record.label}" if record.label else f"trial {record.number} ({event.done}/{event.total})"
    best = f"best {percent(event.best.accuracy)}" if event.best else ""
    return " · ".join(filter(None, (f"{name}: {_figures(event)}", best, left)))


def _figures(event: "Event") -> str:
    """Return the accuracy, the costs that the targets limit, the score and the state of a trial."""
    from nas.cost.base import format_amount

    record = event.record
    assert record is not None  # noqa: S101 -- the caller's condition
    costs = [format_amount(record.costs[name], unit) for name, unit in event.units.items() if name in record.costs]
    accuracy = f"{percent(record.accuracy)}{' at ' if costs else ''}{costs[0] if costs else ''}"
    score = "" if record.score is None else f"score {number(record.score)}"
    state = "" if record.state == "complete" else record.state
    reason = f": {record.reason}" if record.reason else ""
    return ", ".join(filter(None, (accuracy, *costs[1:], score, state))) + reason


class Steps:
    """Show progress in steps: one line that changes on a terminal, a line for each tenth of the steps elsewhere."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._printed_tenth = -1
        self._live = sys.stderr.isatty()
        self._bar: AnyBar | None = None

    def __call__(self, done: int, total: int, seconds_left: float | None = None) -> None:
        """Show how many steps are done."""
        tenth = 10 * done // total
        if not self._live and tenth == self._printed_tenth:
            return
        self._printed_tenth = tenth
        left = "" if seconds_left is None or done == total else f", {format_left(seconds_left)}"
        line = f"{self.label}: {done} of {total}{left}"
        if self._live:
            self._show(line, done, total)
        else:
            click.echo(line, err=True)

    def _show(self, line: str, done: int, total: int) -> None:
        """Show a line in a bar, above which rich prints whatever else is written meanwhile, such as a warning."""
        from nas.api.progress import make_bar

        if self._bar is None:
            self._bar = make_bar()
            self._bar.add_task(line, total=total)
            self._bar.start()
            # The terminal gets its cursor back even where an error ends the steps.
            finalize(self, self._bar.stop)
        self._bar.update(self._bar.task_ids[0], description=line, completed=done)
        if done == total:
            self._bar.stop()
            self._bar = None
