"""The agent's request loop, which `python -m nas.device` runs: one reply for each line."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from nas.device.machine import check_device, providers, this_machine
from nas.device.protocol import (
    ErrorReply,
    HelloReply,
    HelloRequest,
    MeasureRequest,
    Reply,
    Request,
    encode,
    parse_request,
)
from nas.device.validation import MAX_LINE
from nas.device.worker import measure_in_process
from nas.errors import NasError
from nas.version import __version__


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer every line, one after another, until the input ends.

    Requests are not answered in parallel: two measurements at the same time would disturb each other.
    """
    for line in _lines(requests):
        replies.write(encode(answer(line)))
        replies.flush()


def _lines(requests: BinaryIO) -> Iterator[bytes]:
    """Yield lines with their line breaks; a line that is too long is cut, and the rest of it is skipped.

    The cut line is longer than `MAX_LINE`, so that it is rejected, and the agent never holds more than that in memory.
    """
    while line := requests.readline(MAX_LINE + 1):
        yield line
        while line and not line.endswith(b"\n"):
            line = requests.readline(MAX_LINE)


def answer(line: bytes) -> Reply:
    """Return the reply to one request; every failure becomes an error reply."""
    number = 0
    try:
        request = parse_request(line)
        number = getattr(request, "id", 0)
        return _ANSWERS[type(request)](request)
    except NasError as error:
        return ErrorReply(number, error.problem, error.remedy)
    except Exception as error:  # An unexpected error in one request must not end the agent.
        return ErrorReply(
            number,
            f"the agent failed with {type(error).__name__}: {error}",
            "install the same version of hwnas on both machines, and report the message if it occurs again",
        )


def _hello_reply(hello: HelloRequest) -> HelloReply:
    check_device(hello.device)
    return HelloReply(this_machine(hello.device), providers(), __version__)


_ANSWERS: Mapping[type[Request], Callable[[Any], Reply]] = {
    HelloRequest: _hello_reply,
    MeasureRequest: measure_in_process,
}
