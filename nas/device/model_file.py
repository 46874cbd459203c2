"""ONNX files that a device receives to run or to time them."""

import hashlib
from functools import cached_property

from attrs import field, frozen


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
