"""Standard streams that are closed, full, or cannot show a character; and control characters, which are not printed."""

import errno
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from attrs import frozen

from nas.errors import NasError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def prepare_streams() -> None:
    """Make the standard streams safe to use, before anything is opened or printed.

    Raises:
        NasError: The standard output is closed.
    """
    # A file that is opened takes the lowest free number. If that were 1, what is printed would go into a database.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        raise NasError("the standard output is closed", "leave it open, or redirect it to a file or to /dev/null")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal with another encoding shows "?" for a character that it does not have.
        sys.stdout.reconfigure(errors="replace")


def escape(text: str, kept: str = "") -> str:
    r"""Return a text whose control characters are escaped: a terminal would obey those in names from strangers.

    Args:
        text: The text.
        kept: Control characters that stay as they are.

    >>> escape("red\x1b[31m")
    'red\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in kept else letter.encode("unicode_escape").decode()
        for letter in text
    )


def json_text(data: Any, stream: TextIO | None, indent: int | None = None) -> str:
    """Return data as JSON, with null for numbers that are not finite, which JSON does not have.

    Characters are escaped if the stream lacks one of them: another character would change the data.
    """
    finite = _finite(data)
    text = json.dumps(finite, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(finite, indent=indent, allow_nan=False)
    return text


def _finite(data: Any) -> Any:
    """Return JSON values with None instead of numbers that are infinite or not a number."""
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


@frozen(eq=False, slots=False)
class _Escaping:
    """Represent a standard stream that is written to without control characters."""

    stream: TextIO

    def write(self, text: str) -> int:
        return self.stream.write(escape(text, kept="\n\t"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def escaped_output() -> Iterator[None]:
    """Escape the control characters of what is printed on the standard output while the context lasts."""
    with redirect_stdout(cast(TextIO, _Escaping(sys.stdout))):
        yield


def is_output_error(error: OSError) -> bool:
    """Return whether an error means that a standard stream cannot be written to: it is full or was closed."""
    # An error of a named file has the name.
    return error.errno in _FULL and error.filename is None


def discard_output() -> None:
    """Send to nowhere what is still to be printed, so that Python does not fail once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
