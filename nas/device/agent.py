"""The agent's request loop, which `python -m nas.device` runs: one reply for each line."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from nas.device.file_store import FileStore
from nas.device.machine import check_device, providers, this_machine
from nas.device.messages import (
    CHUNK_BYTES,
    ChunkReply,
    ErrorReply,
    FetchRequest,
    FileRequest,
    HelloReply,
    HelloRequest,
    LocalFileRequest,
    MeasureRequest,
    MissingReply,
    ReceivedReply,
    Reply,
    Request,
    RunRequest,
    WorkRequest,
    needed_files,
)
from nas.device.protocol import encode, parse_request
from nas.device.validation import MAX_LINE
from nas.device.worker import work_in_process
from nas.errors import NasError
from nas.version import __version__


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer every line, one after another, until the input ends.

    Requests are not answered in parallel: two measurements at the same time would disturb each other.
    """
    files = FileStore()
    for line in _lines(requests):
        replies.write(encode(answer(line, files)))
        replies.flush()
    files.close()


def _lines(requests: BinaryIO) -> Iterator[bytes]:
    """Yield lines with their line breaks; a line that is too long is cut, and the rest of it is skipped.

    The cut line is longer than `MAX_LINE`, so that it is rejected, and the agent never holds more than that in memory.
    """
    while line := requests.readline(MAX_LINE + 1):
        yield line
        while line and not line.endswith(b"\n"):
            line = requests.readline(MAX_LINE)


def answer(line: bytes, files: FileStore) -> Reply:
    """Return the reply to one request; every failure becomes an error reply.

    Args:
        line: Line of the request.
        files: Files that the agent keeps.
    """
    number = 0
    try:
        request = parse_request(line)
        number = getattr(request, "id", 0)
        return _ANSWERS[type(request)](request, files)
    except NasError as error:
        return ErrorReply(number, error.problem, error.remedy)
    except Exception as error:  # An unexpected error in one request must not end the agent.
        return ErrorReply(
            number,
            f"the agent failed with {type(error).__name__}: {error}",
            "install the same version of hwnas on both machines, and report the message if it occurs again",
        )


def _hello_reply(hello: HelloRequest, _files: FileStore) -> HelloReply:
    check_device(hello.device)
    return HelloReply(this_machine(hello.device), providers(), __version__)


def _received(part: FileRequest, files: FileStore) -> ReceivedReply:
    return ReceivedReply(part.id, files.receive(part.digest, part.size, part.offset, part.data))


def _opened(local: LocalFileRequest, files: FileStore) -> ReceivedReply:
    # Behind SSH the parent is another process than the client, and its files have other digests.
    files.keep_open(Path(f"/proc/{os.getppid()}/fd/{local.descriptor}"), local.digest, local.size)
    return ReceivedReply(local.id, local.size)


def _work(request: WorkRequest, files: FileStore) -> Reply:
    if missing := files.missing(needed_files(request)):
        return MissingReply(request.id, missing)
    return work_in_process(request, files)


def _chunk(fetch: FetchRequest, files: FileStore) -> Reply:
    if missing := files.missing([fetch.digest]):
        return MissingReply(fetch.id, missing)
    with files.content(fetch.digest) as content:
        return ChunkReply(fetch.id, bytes(content[fetch.offset : fetch.offset + CHUNK_BYTES]))


_ANSWERS: Mapping[type[Request], Callable[[Any, FileStore], Reply]] = {
    HelloRequest: _hello_reply,
    FileRequest: _received,
    LocalFileRequest: _opened,
    MeasureRequest: _work,
    RunRequest: _work,
    FetchRequest: _chunk,
}
