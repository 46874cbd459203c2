"""A progress bar on standard error, and an event of a search in words."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Self, TypeAlias

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from nas.api.durations import format_left
from nas.api.notebook_bar import NotebookBar, in_notebook

if TYPE_CHECKING:
    from nas.search.events import Event

BAR_WIDTH = 12
# Kinds of events without a trial whose message says what is being done now.
STEPS = ("screening", "confirming", "verifying")


class ElapsedColumn(ProgressColumn):
    """The time since the bar was started, which also runs while the trials are done and others follow."""

    def render(self, task: Task) -> Text:
        """See `rich.progress.ProgressColumn`."""
        return Text(str(timedelta(seconds=int(task.elapsed or 0))), style="progress.elapsed")


class _AboveBar(FileProxy):
    """A standard stream whose lines rich prints above the bar.

    `click.echo` writes past a stream without an encoding, which that of rich is, and so into the bar.
    """

    encoding = "utf-8"
    errors = "strict"


class Bar(Progress):
    """A bar above which everything else is printed that this process writes to standard streams."""

    def start(self) -> None:
        """See `rich.progress.Progress`; `stop` puts the streams back."""
        super().start()
        if isinstance(sys.stdout, FileProxy):
            sys.stdout = _AboveBar(self.console, sys.stdout.rich_proxied_file)
        if isinstance(sys.stderr, FileProxy):
            sys.stderr = _AboveBar(self.console, sys.stderr.rich_proxied_file)


AnyBar: TypeAlias = Bar | NotebookBar


def make_bar(*, transient: bool = False) -> AnyBar:
    """Return a bar on standard error, whose text is cut in narrow terminals, where the bar itself keeps its width.

    In a notebook, the bar is in the output of the cell.

    Args:
        transient: Whether the bar disappears when it is stopped, which it never does in a notebook.
    """
    if in_notebook():
        return NotebookBar()
    columns = (
        BarColumn(BAR_WIDTH, table_column=Column(width=BAR_WIDTH, no_wrap=True)),
        # Without markup, because names and messages may hold brackets, which rich would interpret.
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        ElapsedColumn(Column(no_wrap=True)),
    )
    return Bar(*columns, console=Console(stderr=True, highlight=False), transient=transient, expand=True)


def describe(event: "Event", loss: str = "") -> str:
    """Return where a search is, in one line; the less important the later, since narrow terminals cut the end.

    Args:
        event: Latest event.
        loss: Latest step of a training run, "" for none.
    """
    record, best = event.record, event.best
    parts = [f"{event.done}/{event.total}"]
    if record is not None:
        parts.append(record.label or f"trial {record.number}")
        if record.accuracy is not None:
            parts.append(f"epoch {len(record.accuracies)} {100 * record.accuracy:.2f}%")
    elif event.kind in STEPS:
        parts.append(event.message)
    if best is not None and best.accuracy is not None:
        parts.append(f"best {100 * best.accuracy:.2f}%")
    return " · ".join(filter(None, (*parts, format_left(event.seconds_left), loss)))


class SearchProgress:
    """Show a search as a progress bar with the best accuracy, and lines about what takes long above it."""

    def __init__(self, *, transient: bool = False) -> None:
        self._bar = make_bar(transient=transient)
        self._task = self._bar.add_task("starting", total=None)
        self._event: Event | None = None

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the bar."""
        self._bar.stop()

    def listen(self, event: "Event") -> None:
        """Show an event of a search."""
        self.show(event)
        if event.message and event.kind not in STEPS:
            self.say(f"{event.kind}: {event.message}")

    def show(self, event: "Event") -> None:
        """Show an event in the bar alone."""
        self._event = event
        self._bar.update(self._task, completed=event.done, total=event.total, description=describe(event))

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        """Show a step of a training run."""
        text = f"step {step}/{steps} loss {loss:.3f}"
        self._bar.update(self._task, description=text if self._event is None else describe(self._event, text))

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(message, markup=False, soft_wrap=True)
