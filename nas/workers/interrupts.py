"""Interrupts (Ctrl-C, SIGTERM, and SIGHUP of a terminal that was closed) that arrive at a safe moment.

KeyboardInterrupt in the middle of a transaction would leave the database locked, and one that is raised in the callback
of a weak reference is lost. So interrupts are held back while a study is written, and raised while a network is
evaluated. While trials run, the first Ctrl-C asks them to finish, and only the second one ends them.
"""

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import TypeVar

from attrs import define, field

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], None]


@define(eq=False)
class Interrupts:
    """Handles SIGINT, SIGTERM and SIGHUP inside `with interrupts.handled()`, in the main thread.

    SIGTERM and SIGHUP never wait for running trials. Where the first interrupt only sets `stopping`, the second one is
    raised at the next point that allows interrupts, and the third one at once; elsewhere the second one is raised at
    once.

    Attributes:
        stopping: Whether an interrupt has asked the running trials to finish, and no further ones to start.
    """

    stopping: bool = field(default=False, init=False)
    _interruptible: bool = field(default=False, init=False)
    _pending: bool = field(default=False, init=False)
    _notices: "SimpleQueue[bool] | None" = field(default=None, init=False)
    _own_handlers: dict[signal.Signals, Handler] = field(factory=dict, init=False)

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Hold interrupts back inside the context, except where `interruptible` or `iterate` allows them."""
        own: dict[signal.Signals, Handler] = {signal.SIGINT: self._take, signal.SIGTERM: self._take_at_once}
        if sys.platform != "win32":
            own[signal.SIGHUP] = self._take_at_once
        # Python allows only the main thread to install signal handlers.
        if threading.current_thread() is not threading.main_thread():
            own.clear()
        before = {number: signal.getsignal(number) for number in own}
        # A signal that is ignored (as in background jobs of a shell) or handled by the caller stays as it is.
        replaced = [number for number in own if before[number] in (signal.default_int_handler, signal.SIG_DFL)]
        self._own_handlers = {number: own[number] for number in replaced}
        self.install_again()
        try:
            yield
        finally:
            self._own_handlers = {}
            for number in replaced:
                signal.signal(number, before[number])

    def install_again(self) -> None:
        """Install the handlers again, where a library that was loaded meanwhile has replaced them."""
        for number, handler in self._own_handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def stopping_first(self, on_stop: Callable[[], None]) -> Iterator[None]:
        """Let the first interrupt inside the context only set `stopping` and call `on_stop`, in another thread.

        A signal handler must not print: it may have interrupted the main thread in the middle of printing, and streams
        cannot be entered twice. A `SimpleQueue` is made for signal handlers.
        """
        notices: SimpleQueue[bool] = SimpleQueue()

        def wait() -> None:
            if notices.get():
                on_stop()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        self._notices = notices
        try:
            yield
        finally:
            self._notices = None
            notices.put(False)  # ends a thread that was not needed
            thread.join()

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self._notices is not None and not self.stopping and not self._pending:
            self.stopping = True
            self._notices.put(True)
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
        """Raise interrupts at once inside the context, and one that was held back when it begins."""
        self._interruptible = True
        try:
            self.check()
            yield
        except KeyboardInterrupt as error:
            # The frames of the traceback hold the cursor of an unfinished query, which keeps a SQLite database locked
            # while this process releases its locks and reservations in it.
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            self._interruptible = False

    def iterate(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and allow interrupts while the next one is computed."""
        source = iter(items)
        with self.interruptible():
            item = next(source, None)
        while item is not None:
            yield item
            with self.interruptible():
                item = next(source, None)

    @property
    def is_pending(self) -> bool:
        """Return whether an interrupt has come that has to end this process, be it raised or still held back."""
        return self._pending

    def check(self) -> None:
        """Raise KeyboardInterrupt where an interrupt was held back."""
        if self._pending:
            raise KeyboardInterrupt


def may_be_interrupted() -> bool:
    """Return whether a signal may have raised KeyboardInterrupt; code that is evaluated may raise it itself."""
    handled_by = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return not isinstance(handled_by, Interrupts) or handled_by.is_pending
