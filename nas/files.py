"""Writing files atomically, reading small files, and the location of the shipped data files."""

import os
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


def read_small(path: Path, most: int) -> str:
    """Return the text of a file that is expected to be small.

    Args:
        path: Path of the file.
        most: Largest allowed size in bytes.

    Raises:
        OSError: The file cannot be read, or is larger than `most` bytes.
        UnicodeDecodeError: The file is not UTF-8 text.
    """
    # Reading one more byte than allowed detects a large file, or an endless one such as /dev/zero, without its size.
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"it is larger than {most:,} bytes, the largest size that is read")
    return data.decode("utf-8")


def shipped_folder(name: str) -> Path:
    """Return a folder of shipped data files: inside the installed package, or next to the package in a checkout.

    >>> (shipped_folder("search_spaces") / "mnasnet.yaml").is_file()
    True
    """
    package = Path(str(files("nas")))
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
