"""Ctrl-C comes through while an architecture is evaluated, waits while a study is written, and is never lost."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import pytest

from nas.workers.interrupts import Interrupts


@pytest.fixture(name="interrupts")
def _interrupts() -> Iterator[Interrupts]:
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Interrupts()
    with made.handled():
        yield made
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, usual)


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


def test_items_are_handed_on_and_the_next_one_is_interrupted(interrupts: Interrupts) -> None:
    assert list(interrupts.iterate([0.0, 0.5])) == [0.0, 0.5]
    items = interrupts.iterate([0.0, 0.5])
    assert next(items) == 0.0
    press()
    with pytest.raises(KeyboardInterrupt):
        next(items)


def test_another_thread_and_another_handler_are_left_alone() -> None:
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts().handled():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seen: list[object] = []

    def elsewhere() -> None:
        with Interrupts().handled():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, usual)
    assert seen == [signal.default_int_handler]
