"""Names of files whose bytes need not be UTF-8: their printable form, and their form in a table."""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

_URI = "file://"


def printable(name: str | Path) -> str:
    r"""Return a name that can be printed and stored; a byte that is not UTF-8 becomes an escape.

    Example:
        >>> printable(os.fsdecode(b"caf\xe9"))
        'caf\\xe9'
        >>> printable("café")
        'café'
    """
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def path_to_text(path: Path) -> str:
    """Return an absolute path as text that a table can store: the path itself, or a URI if it is not UTF-8."""
    return str(path) if printable(path) == str(path) else path.as_uri()


def text_to_path(text: str) -> Path:
    r"""Return the path that `path_to_text` stored.

    Example:
        >>> path = Path(os.fsdecode(b"/photos/caf\xe9.png"))
        >>> path_to_text(path)
        'file:///photos/caf%E9.png'
        >>> text_to_path(path_to_text(path)) == path
        True
    """
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_URI))) if text.startswith(_URI) else text)
