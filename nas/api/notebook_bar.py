"""A progress bar in the output of a notebook's cell."""

import sys
from datetime import timedelta
from html import escape
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import Progress, Task, TaskID

# Seconds between two drawings: each is a message to the browser, and a training step may take milliseconds.
PAUSE_S = 0.5


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook.

    That ipykernel is loaded does not suffice: libraries import it in programs that have no cells.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookBar(Progress):
    """A bar in the output of a cell, with the lines of the search above it as plain text.

    The bars of rich need ipywidgets in a notebook, and without that package print a warning at each drawing.
    """

    def __init__(self) -> None:
        super().__init__(auto_refresh=False, console=Console(highlight=False, force_jupyter=False))
        self._output: Any = None
        self._next_s = 0.0

    def start(self) -> None:
        """Show the bar; rich's own drawing is never started."""
        from IPython.display import display

        self._output = display(self._drawn(), raw=True, display_id=True)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task, and draw it if the last drawing is old enough; see `rich.progress.Progress`."""
        super().update(task_id, **changes)
        if self._output is not None and monotonic() >= self._next_s:
            self._draw()

    def stop(self) -> None:
        """Draw the last state, which stays."""
        if self._output is not None:
            self._draw()

    def _draw(self) -> None:
        self._output.update(self._drawn(), raw=True)
        self._next_s = monotonic() + PAUSE_S

    def _drawn(self) -> dict[str, str]:
        drawn = [_parts(task) for task in self.tasks]
        html = "".join(f"<div><progress{bar}></progress> {escape(text)}</div>" for bar, text in drawn)
        return {"text/html": html, "text/plain": "\n".join(text for _, text in drawn)}


def _parts(task: Task) -> tuple[str, str]:
    """Return the attributes of an HTML progress bar, and its text."""
    bar = "" if task.total is None else f' value="{task.completed:g}" max="{task.total:g}"'
    return bar, f"{task.description} · {timedelta(seconds=int(task.elapsed or 0))}"
