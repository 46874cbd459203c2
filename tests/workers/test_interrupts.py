"""Ctrl-C comes through while an architecture is evaluated, waits while a study is written, and is never lost."""

import contextlib
import io
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.workers.interrupts import Interrupts


@contextlib.contextmanager
def handler(number: signal.Signals, wanted: Any) -> Iterator[None]:
    """A context in which a signal has this handler, and afterwards its usual one, whatever fails inside."""
    usual = signal.signal(number, wanted)
    try:
        yield
    finally:
        signal.signal(number, usual)


@pytest.fixture(name="interrupts")
def _interrupts() -> Iterator[Interrupts]:
    made = Interrupts()
    with handler(signal.SIGINT, signal.default_int_handler):
        with made.handled():
            yield made
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_it_comes_through_where_it_is_heeded(interrupts: Interrupts) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
        press()


def test_it_waits_elsewhere_and_comes_at_the_next_place(interrupts: Interrupts) -> None:
    press()
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
        reached = True
    assert not reached


def test_one_that_was_lost_comes_again(interrupts: Interrupts) -> None:
    with interrupts.interruptible(), contextlib.suppress(KeyboardInterrupt):
        press()
    with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
        pass


@pytest.mark.usefixtures("interrupts")
def test_the_second_does_not_wait() -> None:
    press()
    with pytest.raises(KeyboardInterrupt):
        press()


def test_an_interrupted_query_does_not_lock_the_database(interrupts: Interrupts, tmp_path: Path) -> None:
    def read() -> None:
        cursor = connection.execute("SELECT * FROM numbers")
        cursor.fetchone()
        press()

    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE numbers (number)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,)])
        connection.commit()
        try:
            with interrupts.interruptible():
                read()
        except KeyboardInterrupt:
            # Locks of the study are released while the interrupt passes through.
            with contextlib.closing(sqlite3.connect(tmp_path / "a.db", timeout=0)) as other:
                other.execute("DELETE FROM numbers")
                other.commit()
        assert connection.execute("SELECT * FROM numbers").fetchall() == []


def test_items_are_handed_on_and_the_next_one_is_interrupted(interrupts: Interrupts) -> None:
    assert list(interrupts.iterate([0.0, 0.5])) == [0.0, 0.5]
    items = interrupts.iterate([0.0, 0.5])
    assert next(items) == 0.0
    press()
    with pytest.raises(KeyboardInterrupt):
        next(items)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_a_session_is_an_end_that_does_not_wait(number: signal.Signals) -> None:
    """SIGHUP arrives where the terminal of a search is closed."""
    told, interrupts = list[str](), Interrupts()
    with handler(number, signal.SIG_DFL):
        with interrupts.handled(), interrupts.stopping_first(lambda: told.append("stopping")):
            signal.raise_signal(number)
            assert not interrupts.stopping
            with pytest.raises(KeyboardInterrupt):
                interrupts.check()
        assert told == []
        assert signal.getsignal(number) is signal.SIG_DFL


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    """`nohup` ignores it for the command that it starts."""
    with handler(signal.SIGHUP, signal.SIG_IGN), Interrupts().handled():
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_the_first_interrupt_is_told_while_the_main_thread_prints(interrupts: Interrupts) -> None:
    """A handler that prints itself raises `RuntimeError: reentrant call` in a stream that it has interrupted."""

    class Interrupting(io.RawIOBase):
        def __init__(self) -> None:
            self.written: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.written.append(bytes(data))
            if len(self.written) == 1:
                press()
            return len(data)

    raw = Interrupting()
    stream = io.BufferedWriter(raw)

    def tell() -> None:
        stream.write(b"stopping\n")
        stream.flush()

    with interrupts.stopping_first(tell):
        stream.write(b"trial 1\n")
        stream.flush()
        assert interrupts.stopping
    assert b"".join(raw.written) == b"trial 1\nstopping\n"


def test_another_thread_and_another_handler_are_left_alone() -> None:
    with handler(signal.SIGINT, signal.SIG_IGN), Interrupts().handled():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    seen: list[object] = []

    def elsewhere() -> None:
        with Interrupts().handled():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    with handler(signal.SIGINT, signal.default_int_handler):
        thread.start()
        thread.join()
    assert seen == [signal.default_int_handler]
