"""Writing files atomically, reading small files, and the location of the shipped data files."""

import codecs
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from io import BufferedReader
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import TextIO

from nas.errors import NasError

MOST_NAME_BYTES = 200  # of a file's name that a temporary file's name repeats

# Number of bytes that are read at a time from a file whose size says nothing.
_PIECE = 1 << 20

_FORMS = MappingProxyType(
    {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file; after a failure a previous file is unchanged.

    A regular file is replaced by renaming a temporary file in the same folder. `/dev/stdout` and `/dev/stderr` are
    written to. Anything else, such as a device or a pipe, is refused without opening it: a renamed file would take its
    place, and opening a pipe waits for its reader.

    Args:
        path: Path of the file. If it is a symbolic link, the file that it points to is replaced.
        data: Content of the file.

    Raises:
        NasError: The file or its folder cannot be written to, the disk is full, or the path is no regular file.
        BrokenPipeError: The path is the standard output, whose reader has ended.
    """
    stream = standard_stream(path)
    try:
        if stream is not None:
            stream.flush()
            stream.buffer.write(data)
            stream.flush()
        elif form := irregular_form(path):
            raise NasError(f"{path} is {form}, and only regular files are written", "choose another place")
        else:
            _replace(path, data)
    except OSError as error:
        if stream is not None and isinstance(error, BrokenPipeError):
            raise
        raise NasError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from None


def irregular_form(path: Path) -> str:
    """Return in words what is at a path, or at the end of a link; "" for a regular file, and if there is nothing yet.

    Raises:
        OSError: The path cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return ""
    return "" if stat.S_ISREG(mode) else _FORMS.get(stat.S_IFMT(mode), "something else than a file")


def standard_stream(path: Path) -> TextIO | None:
    """Return the standard stream of this process that a path such as `/dev/stdout` stands for, if any.

    A shell may have redirected the stream to a regular file: replacing it, or opening it once more, would lose what
    else is written to the stream.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a closed stream, one without a file, or no such path
            if os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                return stream
    return None


def _replace(path: Path, data: bytes | memoryview) -> None:
    # Renaming would replace a symbolic link itself, so it is resolved first.
    target = path.resolve()
    # A name of the greatest possible length would become too long.
    name = target.name if len(os.fsencode(target.name)) < MOST_NAME_BYTES else "nas"
    # A process that was killed while writing may have had the same process id, hence the random suffix.
    temporary = target.with_name(f".{name}.{os.getpid()}-{token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            # Without this, a power failure after the rename could leave an empty file.
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading, and close it in the end.

    Raises:
        OSError: The file cannot be opened, or is not a regular file; see `read_bytes`.
        ValueError: The path contains a null character.
    """
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is a device or a pipe, and only regular files are read")
        yield file


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a regular file whose size has a limit.

    Args:
        path: Path of the file, or of a symbolic link to it.
        most: Largest allowed size in bytes.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is larger than `most` bytes. The error's text, or
            its `strerror` if it has one, completes the sentence "FILE cannot be read: ...".
        ValueError: The path contains a null character.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # Python allocates as many bytes as it is asked for, so no more than the size is asked for first. Files of /proc
        # have a size of 0 and any content, so the size alone is not a bound.
        pieces = [] if size > most else [file.read(size + 1)]
        while pieces and sum(map(len, pieces)) <= most and (piece := file.read(_PIECE)):
            pieces.append(piece)
    if max(size, sum(map(len, pieces))) > most:
        raise OSError(f"it is larger than {most:,} bytes, the largest size that is read")
    return b"".join(pieces)


def read_text(path: Path, most: int) -> str:
    """Return the UTF-8 text of a regular file whose size has a limit, without a byte-order mark at its beginning.

    Args:
        path: Path of the file, or of a symbolic link to it.
        most: Largest allowed size in bytes.

    Raises:
        OSError: As `read_bytes` raises it; also if the file is not UTF-8 text.
        ValueError: The path contains a null character.
    """
    return decode_text(read_bytes(path, most))


def decode_text(data: bytes) -> str:
    r"""Return UTF-8 text without a byte-order mark at its beginning, as text editors on Windows write one.

    Raises:
        OSError: The bytes are not UTF-8 text; the error states the first wrong byte.

    >>> decode_text(b"\xef\xbb\xbfnet")
    'net'
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise OSError("it is UTF-16 text; save it as UTF-8") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise OSError(
            f"it is not UTF-8 text: line {line:,} has the byte 0x{data[error.start]:02x}; save it as UTF-8"
        ) from None


def _open_without_waiting(path: str, flags: int) -> int:
    # Without this flag, which not every system has, opening a named pipe waits for a process that writes into it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def shipped_folder(name: str) -> Path:
    """Return a folder of shipped data files: inside the installed package, or next to the package in a checkout.

    >>> (shipped_folder("search_spaces") / "mnasnet.yaml").is_file()
    True
    """
    package = Path(str(files("nas")))
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
