"""Files of a figure that `--png` and `--html` ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from attrs import frozen


@frozen
class FigureFiles:
    """Hold the files of a figure.

    Attributes:
        png: File of the picture; None writes none.
        html: File of the page; None writes none.
    """

    png: Path | None = None
    html: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """Return the files to write; the picture comes first, since writing it may fail."""
        return [path for path in (self.png, self.html) if path]

    def write(self, title: str, draw: Callable[[], Any], *, quiet: bool) -> None:
        """Draw and write the figure, after everything else is printed, so that a failure loses no results.

        Args:
            title: Title of the page.
            draw: Function that returns the figure; it is called only if a file is to be written.
            quiet: Whether the names of the files are not printed.

        Raises:
            NasError: The figure cannot be drawn or written.
        """
        from nas.report.files import write_html, write_png

        figure = draw() if self.paths else None
        for path in self.paths:
            if path == self.png:
                write_png(path, figure)
            else:
                write_html(path, figure, title)
            if not quiet:
                click.echo(f"wrote {path}")
