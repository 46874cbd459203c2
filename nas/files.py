"""Files that are either whole or not there, and where the shipped ones lie."""

import os
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from secrets import token_hex

from nas.errors import NasError


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file by way of a temporary one beside it; a failure leaves what was there before.

    Raises:
        NasError: the folder cannot be written to, or the disk is full.
    """
    target = path.resolve()  # a link is written through
    # A process that was killed while it wrote may have had the same number.
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise NasError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_small(path: Path, most: int) -> str:
    """The text of a file that is small when it is what it should be.

    Raises:
        OSError: it cannot be read, or is larger; nothing of it was read then.
        UnicodeDecodeError: it is no text.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"it is larger than {most:,} bytes")
    return data.decode("utf-8")


def shipped_folder(name: str) -> Path:
    """A folder of data files: inside the installed package, or beside it in a checkout."""
    package = Path(str(files("nas")))
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
