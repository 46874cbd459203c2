"""A command in a real pseudo-terminal, whose screen an emulator (pyte) keeps as a person would see it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyte
from attrs import define

ROOT = Path(__file__).parents[2]
HISTORY = 100_000


@define(eq=False)
class Terminal:
    """A terminal with a command in it.

    Attributes:
        process: The command.
        main: The terminal's own side.
        screen: What it shows, with the lines that have left it at the top.
        received: Everything that it has received.
    """

    process: "subprocess.Popen[bytes]"
    main: int
    screen: pyte.HistoryScreen
    stream: pyte.ByteStream
    received: bytes = b""

    @property
    def lines(self) -> list[str]:
        """Return what is on the screen, without empty lines at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    @property
    def all_lines(self) -> list[str]:
        """Return the same with the lines that have left the screen."""
        columns = self.screen.columns
        past = ["".join(row[at].data for at in range(columns)).rstrip() for row in self.screen.history.top]
        return [*past, *self.lines]

    @property
    def text(self) -> str:
        return "\n".join(self.all_lines)

    def read(self, seconds: float) -> bool:
        """Read what arrives within some seconds; return False at the end of the command."""
        if not select.select([self.main], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self.main, 65536)
        except OSError:  # Linux reports the end of a terminal so
            return False
        self.received += part
        self.stream.feed(part)
        return bool(part)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 120.0) -> None:
        """Read until something is true."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.read(0.05), f"the command ended:\n{self.text}"
            assert time.monotonic() < end, f"it did not happen in {seconds:g} s:\n{self.text}"

    def finish(self, seconds: float = 120.0) -> int:
        """Read to the end and return the exit status."""
        end = time.monotonic() + seconds
        while self.read(0.05):
            assert time.monotonic() < end, f"the command did not end in {seconds:g} s:\n{self.text}"
        return self.process.wait(10)

    def press(self, keys: bytes) -> None:
        """Press keys, where the byte 3 is Ctrl-C."""
        os.write(self.main, keys)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    @property
    def has_cursor(self) -> bool:
        return not self.screen.cursor.hidden


@contextmanager
def in_terminal(
    arguments: list[str],
    folder: Path,
    columns: int = 100,
    lines: int = 30,
    out: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Run a Python command in a terminal of its own, of which it is the foreground process.

    Its standard output may be a file instead.
    """
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    surroundings = {
        **own,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TERM": "xterm-256color",
        **(environment or {}),
    }

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=surroundings,
        stdin=side,
        stdout=side if out is None else out,
        stderr=side,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(side)
    screen = pyte.HistoryScreen(columns, lines, history=HISTORY)
    try:
        yield Terminal(process, main, screen, pyte.ByteStream(screen))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        os.close(main)
