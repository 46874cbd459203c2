"""Answers requests line by line: what `python -m nas.device` does."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from nas.device.machine import check_device, providers, this_machine
from nas.device.protocol import Hello, Measure, Refusal, Reply, Request, Welcome, encode, parse_request
from nas.device.validation import MAX_LINE
from nas.device.worker import measure_apart
from nas.errors import NasError
from nas.version import __version__


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer every line, one after another, until there are no more."""
    for line in _lines(requests):
        replies.write(encode(answer(line)))
        replies.flush()


def _lines(requests: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; one that is too long is cut, so that it is refused, and the rest of it passed over."""
    while line := requests.readline(MAX_LINE + 1):
        yield line
        while line and not line.endswith(b"\n"):
            line = requests.readline(MAX_LINE)


def answer(line: bytes) -> Reply:
    """The reply to one request; whatever is wrong with it is told in a reply too."""
    number = 0
    try:
        request = parse_request(line)
        number = getattr(request, "id", 0)
        return _ANSWERS[type(request)](request)
    except NasError as error:
        return Refusal(number, error.problem, error.remedy)
    except Exception as error:  # an agent outlives whatever a single request sets off
        return Refusal(number, f"{type(error).__name__}: {error}", "see the device's own log")


def _greet(hello: Hello) -> Welcome:
    check_device(hello.device)
    return Welcome(this_machine(hello.device), providers(), __version__)


_ANSWERS: Mapping[type[Request], Callable[[Any], Reply]] = {Hello: _greet, Measure: measure_apart}
