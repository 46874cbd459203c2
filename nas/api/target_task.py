"""The classes of the target task: costs count those of the data, unless the user or an older study says otherwise."""

from collections.abc import Callable

from attrs import frozen

DIGITS = "digits"
Say = Callable[[str], None]


@frozen
class Classes:
    """Hold the number of classes that costs count, and where it comes from.

    Attributes:
        number: Number of classes.
        reason: Where the number comes from, for a message.
    """

    number: int
    reason: str

    def __str__(self) -> str:
        """Return a sentence about the costs."""
        return f"costs count {self.number:,} classes, {self.reason}"


def find_classes(data: str, given: int | None, own: int, of: str, say: Say = lambda _message: None) -> Classes:
    """Return the number of classes that costs count.

    Args:
        data: Source of the images that networks are trained on.
        given: Number of classes that the user gave; None takes that of the data.
        own: Number of classes of the space or the architecture.
        of: Space or architecture, for the message.
        say: Function that is called with a sentence before the data is read, if that takes long.

    Raises:
        DataError: The data cannot be read.
    """
    from nas.data.load import count_classes
    from nas.data.sources import describe_wait

    if wait := describe_wait(data):
        say(wait)
    if given is not None:
        return Classes(given, "as --classes says")
    if data == DIGITS:
        return Classes(own, f"as in {of}, since the data are the embedded digits; --classes sets another number")
    return Classes(count_classes(data), "as in the data; --classes sets another number")
