"""The agent as a process: `python -m nas.device` takes requests on stdin and answers on stdout, see `requests`.

It ends when stdin does, on a signal, or when nobody reads its answers any more.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import BinaryIO, NoReturn

_ENDING = ("SIGTERM", "SIGHUP", "SIGINT")


def main() -> None:
    """Serve until the end of stdin."""
    for name in _ENDING:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)
    with _own_pipes() as (requests, replies), suppress(BrokenPipeError):
        from nas.device.agent import serve  # here, since what is imported may print

        serve(requests, replies)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _own_pipes() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Stdin and stdout for the protocol alone: whatever else prints, prints to stderr, and nothing else can read."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a file descriptor's number is all that is wanted
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    threading.Thread(target=_end_without_reader, args=(replies.fileno(),), daemon=True).start()
    try:
        yield requests, replies
    finally:
        requests.close()
        with suppress(BrokenPipeError):
            replies.close()


def _end_without_reader(replies: int) -> None:
    """A connection that broke in the middle of a measurement ends it, so that it disturbs none that follows."""
    import select

    if not hasattr(select, "poll"):
        return
    hangup = select.poll()
    hangup.register(replies, 0)
    hangup.poll()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


if __name__ == "__main__":
    main()
