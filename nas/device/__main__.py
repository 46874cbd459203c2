"""The agent as a process: `python -m nas.device` reads requests from stdin and writes replies to stdout.

`nas.device.protocol` defines the messages. The agent ends at the end of stdin, on a signal, or when the other end of
stdout is closed.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import BinaryIO, NoReturn

_SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT")


def main() -> None:
    """Serve requests until the end of stdin."""
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _exit_on_signal)
    with _protocol_pipes() as (requests, replies), suppress(BrokenPipeError):
        from nas.device.agent import serve  # Imported here: a package that prints while it loads prints to stderr.

        serve(requests, replies)


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _protocol_pipes() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Reserve stdin and stdout for the protocol.

    The original descriptors are duplicated and replaced at the level of the operating system, so that native code and
    child processes too print to stderr and read an empty stdin. A stray line among the replies would be an error.
    """
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as devnull:  # noqa: PTH123 - only the number of the file descriptor is needed
        os.dup2(devnull.fileno(), 0)
    os.dup2(2, 1)
    threading.Thread(target=_exit_when_unread, args=(replies.fileno(),), daemon=True).start()
    try:
        yield requests, replies
    finally:
        requests.close()
        with suppress(BrokenPipeError):
            replies.close()


def _exit_when_unread(replies: int) -> None:
    """End this process when the other end of stdout is closed.

    Without this an agent whose SSH connection broke would finish a measurement that no client reads, and would disturb
    the measurement of the agent that the client has started in the meantime.
    """
    import select

    if not hasattr(select, "poll"):
        return
    hangup = select.poll()
    hangup.register(replies, 0)  # An empty event mask still reports POLLERR and POLLHUP.
    hangup.poll()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


if __name__ == "__main__":
    main()
