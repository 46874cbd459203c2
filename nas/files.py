"""Files that are either whole or not there."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from nas.errors import NasError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it; a failure leaves what was there before.

    Raises:
        NasError: the folder cannot be written to, or the disk is full.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        raise NasError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from None
