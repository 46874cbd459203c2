"""Writing files atomically, reading small files, and the location of the shipped data files."""

import codecs
import os
import stat
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from secrets import token_hex

from nas.errors import NasError


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file by renaming a temporary file in the same folder; after a failure the previous file is unchanged.

    Args:
        path: Path of the file. If it is a symbolic link, the file that it points to is replaced.
        data: Content of the file.

    Raises:
        NasError: The folder cannot be written to, or the disk is full.
    """
    # Renaming would replace a symbolic link itself, so it is resolved first.
    target = path.resolve()
    # A process that was killed while writing may have had the same process id, hence the random suffix.
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            # Without this, a power failure after the rename could leave an empty file.
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise NasError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


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
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is a device or a pipe, and only regular files are read")
        # Files of /proc have a size of 0 and any content, so the size alone is not a bound.
        data = b"" if status.st_size > most else file.read(most + 1)
    if max(status.st_size, len(data)) > most:
        raise OSError(f"it is larger than {most:,} bytes, the largest size that is read")
    return data


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


def read_small(path: Path, most: int) -> str:
    """Return the text of a small file; see `read_text`."""
    return read_text(path, most)


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
