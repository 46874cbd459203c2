"""Ctrl-C at the right moment: at once while an architecture is evaluated, a little later while the study is written.

An exception in the middle of a transaction leaves the database locked, and one in a weak reference's callback is lost.
"""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class Interrupts:
    """Takes SIGINT over while used as `with interrupts.taken_over()`, in the main thread and from Python's own handler.

    The second one is always heeded at once.
    """

    _heeding: bool = field(default=False, init=False)
    _pending: bool = field(default=False, init=False)

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Put interrupts off, but for what `heeded` and `heed` surround."""
        usual = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or usual is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._take)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        again, self._pending = self._pending, True
        if self._heeding or again:
            raise KeyboardInterrupt

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Here interrupts come through at once, and one that was put off or lost comes now."""
        self._heeding = True
        try:
            self._check()
            yield
        finally:
            self._heeding = False

    def heed(self, items: Iterable[T]) -> Iterator[T]:
        """The items; interrupts are heeded while the next one is made."""
        source = iter(items)
        with self.heeded():
            item = next(source, None)
        while item is not None:
            yield item
            with self.heeded():
                item = next(source, None)

    def _check(self) -> None:
        if self._pending:
            raise KeyboardInterrupt
