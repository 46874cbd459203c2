"""Files that are either whole or not there."""

import os
from contextlib import suppress
from pathlib import Path

from nas.errors import NasError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it; a failure leaves what was there before.

    Raises:
        NasError: the folder cannot be written to, or the disk is full.
    """
    target = path.resolve()  # a link is written through
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
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
