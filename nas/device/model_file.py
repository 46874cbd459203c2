"""ONNX files that a device receives to run or to time them."""

import hashlib
import mmap
from functools import cached_property
from pathlib import Path
from typing import IO

from attrs import field, frozen


class StoredBytes(mmap.mmap):
    """Represent the bytes of an open file, which are read from disk when they are used.

    A process on this machine can read the file too, without receiving its bytes.
    """

    file: IO[bytes]

    def __new__(cls, file: IO[bytes]) -> "StoredBytes":
        """Map a file that is not empty and does not change any more."""
        made = super().__new__(cls, file.fileno(), 0, access=mmap.ACCESS_READ)
        made.file = file
        return made

    @property
    def descriptor(self) -> int | None:
        """Return the number under which child processes can open the file; None where the system has no such way."""
        number = self.file.fileno()
        # Linux alone shows the open files of a process to its children, those without a name included.
        return number if Path(f"/proc/self/fd/{number}").exists() else None


@frozen(eq=False, slots=False)
class ModelFile:
    """Hold an ONNX file that is sent to a device.

    Attributes:
        name: Name for messages, such as the path of the file.
        data: Bytes of the file.
        size: Height and width of the images where the file leaves them open; None takes those that it states itself.

    >>> ModelFile("model.onnx", b"").digest[:8]
    'e3b0c442'
    """

    name: str
    data: bytes = field(repr=False)
    size: tuple[int, int] | None = None

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the bytes, 64 hexadecimal digits; a device keeps a file under it."""
        return hashlib.sha256(self.data).hexdigest()
