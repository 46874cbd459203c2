"""The lower part of a terminal, which a view draws again and again, and above it the lines that stay.

Whatever this process or another one that it started writes to the standard streams goes through a pipe first, and is
printed above the view. Otherwise a warning of a worker process would land in the middle of the view, and be erased with
it. Lines are collected and printed with the next picture, so that ten thousand quick trials do not cost ten thousand
pictures; `rich.live.Live` draws one for every line. The cursor stays visible, so that no end of the process, however
sudden, leaves a terminal without one.
"""

import codecs
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from types import FrameType
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from nas.cli.shared.streams import escape

REFRESH_S = 0.25
# A picture that takes long, on a slow machine or connection, is drawn less often: at most 2% of the time is for that.
PAUSES = 50
DRAIN_S = 2.0
MOST_BYTES = 100_000  # of a line that has no end yet
_STDOUT, _STDERR = 1, 2
_UP, _CLEAR = "\x1b[1A", "\r\x1b[J"
Picture = Callable[[int, int], list[Text]]


class Screen:
    """Draw a picture at the bottom of a terminal, and print above it what is written to the standard streams.

    Args:
        picture: Function that returns the lines of the picture, given the columns and the lines of the terminal.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._waiting: list[str] = []
        self._rows = 0  # of the picture that the terminal shows now
        self._drawn: list[str] = []
        self._is_broken = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._drained = threading.Event()
        self._replaced: list[tuple[int, int]] = []
        self._handler: Any = None

    def __enter__(self) -> Self:
        """Send the standard streams through a pipe, and begin to draw."""
        _flush()
        self._terminal = os.dup(_STDERR)
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        # click writes UTF-8 to a stream whose encoding is ASCII.
        self._encoding = "utf-8" if codecs.lookup(encoding).name == "ascii" else encoding
        reading, self._writing = os.pipe()
        for number in _terminals():
            self._replaced.append((number, os.dup(number)))
            os.dup2(self._writing, number)
        self._end_mark = b"\0end of the view " + os.urandom(8).hex().encode() + b"\n"
        self._drawer = threading.Thread(target=self._draw_often, name="nas-live-view", daemon=True)
        for thread in (
            threading.Thread(target=self._read, args=(reading,), name="nas-lines", daemon=True),
            self._drawer,
        ):
            thread.start()
        self._watch_continuation()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the standard streams back, print what is still to be printed, and remove the picture."""
        try:
            _flush()
        finally:
            for number, kept in self._replaced:
                os.dup2(kept, number)
                os.close(kept)
            self._replaced.clear()
            try:
                with suppress(OSError):
                    os.write(self._writing, self._end_mark)
                self._drained.wait(DRAIN_S)
            finally:
                self._ended.set()
                self._drawer.join()
                self._write(self._frame(is_last=True))
                os.close(self._writing)
                os.close(self._terminal)
                if self._handler is not None:
                    signal.signal(signal.SIGCONT, self._handler)

    def _watch_continuation(self) -> None:
        """Draw below what the shell has printed when the process goes on after Ctrl-Z."""
        if hasattr(signal, "SIGCONT") and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGCONT, self._continue)

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        self._rows = 0

    def _read(self, reading: int) -> None:
        """Collect the lines that are written to the pipe; after the end of the view, pass them on."""
        left = b""
        with open(reading, "rb", buffering=0) as pipe:
            while not self._drained.is_set() and (part := pipe.read(65536)):
                whole, is_end, after = (left + part).partition(self._end_mark)
                *lines, left = whole.split(b"\n")
                self._add(lines)
                left = _unfinished(left)
                if is_end:
                    self._add([left] if left else [])
                    self._drained.set()
                    self._pass_on(after)
            # A worker process that outlives the view may still write.
            while part := pipe.read(65536):
                self._pass_on(part)

    def _pass_on(self, part: bytes) -> None:
        with suppress(OSError):
            os.write(_STDERR, part)

    def _add(self, lines: list[bytes]) -> None:
        texts = [_readable(_decoded(line, self._encoding)) for line in lines]
        with self._lock:
            self._waiting.extend(texts)

    def _draw_often(self) -> None:
        pause_s = 0.0
        while not self._ended.wait(pause_s):
            begun = time.monotonic()
            self._write(self._frame())
            pause_s = max(REFRESH_S, PAUSES * (time.monotonic() - begun))

    def _frame(self, *, is_last: bool = False) -> str:
        """Return what a terminal has to receive: the end of the last picture, lines that stay, and the next picture."""
        with self._lock:
            lines, self._waiting = self._waiting, []
        erase = f"{_UP * (self._rows - 1)}{_CLEAR}" if self._rows else ""
        picture = [] if is_last or self._is_broken or not self._is_foreground() else self._painted()
        if picture == self._drawn and not lines and self._rows:
            return ""
        self._rows, self._drawn = len(picture), picture
        return f"{erase}{''.join(f'{line}{chr(10)}' for line in lines)}{chr(10).join(picture)}"

    def _is_foreground(self) -> bool:
        """Return whether the terminal belongs to this process, and not to a shell that runs it in the background."""
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except (OSError, AttributeError):
            return True

    def _painted(self) -> list[str]:
        """Return the lines of the picture with the codes of their colors."""
        try:
            width, height = os.get_terminal_size(self._terminal)
            return _paint(self._picture(width or 80, height or 25), width or 80)
        except Exception:  # a picture must never end a search, nor lose a line
            self._is_broken = True
            return []

    def _write(self, text: str) -> None:
        left = memoryview(text.encode(self._encoding, "replace"))
        with suppress(OSError):  # the terminal was closed
            while left:
                left = left[os.write(self._terminal, left) :]


def _paint(lines: list[Text], width: int) -> list[str]:
    """Return lines with the codes of their colors, as many as the terminal has."""
    console = Console(file=StringIO(), force_terminal=True, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
    return captured.get().splitlines()


def _decoded(line: bytes, encoding: str) -> str:
    """Return the text of a line; worker processes and libraries in C may write UTF-8 whatever the terminal has."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode(encoding, "backslashreplace")


def _unfinished(line: bytes) -> bytes:
    """Return what has to be kept of a line that has no end yet: a bar of progress overwrites itself without end."""
    return line[line.rfind(b"\r", 0, -1) + 1 :][-MOST_BYTES:]


def _readable(line: str) -> str:
    """Return a line as a terminal shows it: the last of what overwrote each other in it, without control characters."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return escape(Text.from_ansi(last).plain if "\x1b" in last else last, kept="\t")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _terminals() -> tuple[int, ...]:
    """Return the standard streams that lead to the terminal; what leads elsewhere stays as it is."""
    with suppress(OSError):
        if os.isatty(_STDOUT) and os.fstat(_STDOUT).st_rdev == os.fstat(_STDERR).st_rdev:
            return _STDOUT, _STDERR
    return (_STDERR,)
