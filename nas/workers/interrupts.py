"""Ctrl-C at the right moment: at once while an architecture is evaluated, a little later while the study is written.

An exception in the middle of a transaction leaves the database locked, and one in a weak reference's callback is lost.
Where trials run, the first one asks them to end, and only the second one ends them.
"""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from attrs import define, field

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], None]


@define(eq=False)
class Interrupts:
    """Takes SIGINT over while used as `with interrupts.taken_over()`, in the main thread and from the usual handler.

    SIGTERM is an interrupt that is heeded wherever it may be. The second interrupt is always heeded at once.

    Attributes:
        stopping: whether one came that asked what runs to end.
    """

    stopping: bool = field(default=False, init=False)
    _interruptible: bool = field(default=False, init=False)
    _pending: bool = field(default=False, init=False)
    _asked: Callable[[], None] | None = field(default=None, init=False)
    _ours: dict[signal.Signals, Handler] = field(factory=dict, init=False)

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Put interrupts off, but for what `interruptible` and `check_interrupts` surround."""
        ours: dict[signal.Signals, Handler] = {signal.SIGINT: self._take, signal.SIGTERM: self._take_at_once}
        if threading.current_thread() is not threading.main_thread():
            ours.clear()
        usual = {number: signal.getsignal(number) for number in ours}
        # Whoever has these ignored, as a shell's background jobs have, or handles them, knows why.
        taken = [number for number in ours if usual[number] in (signal.default_int_handler, signal.SIG_DFL)]
        self._ours = {number: ours[number] for number in taken}
        self.take_again()
        try:
            yield
        finally:
            self._ours = {}
            for number in taken:
                signal.signal(number, usual[number])

    def take_again(self) -> None:
        """A library that was begun meanwhile may have put its own handlers in the place of these."""
        for number, handler in self._ours.items():
            signal.signal(number, handler)

    @contextmanager
    def asking(self, tell: Callable[[], None]) -> Iterator[None]:
        """Inside it the first interrupt sets `stopping` and is told, no more."""
        self._asked = tell
        try:
            yield
        finally:
            self._asked = None

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked is not None and not self.stopping and not self._pending:
            self.stopping = True
            self._asked()
            return
        self._deliver()

    def _take_at_once(self, _number: int, _frame: FrameType | None) -> None:
        self._deliver()

    def _deliver(self) -> None:
        again, self._pending = self._pending, True
        if self._interruptible or again:
            raise KeyboardInterrupt

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Here interrupts come through at once, and one that was put off or lost comes now."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def check_interrupts(self, items: Iterable[T]) -> Iterator[T]:
        """The items; interrupts are heeded while the next one is made."""
        source = iter(items)
        with self.interruptible():
            item = next(source, None)
        while item is not None:
            yield item
            with self.interruptible():
                item = next(source, None)

    def check(self) -> None:
        """One that was put off comes now."""
        if self._pending:
            raise KeyboardInterrupt
