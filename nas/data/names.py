"""Names of files whose bytes need not be UTF-8: their printable form, and their form in a table."""

import os
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote_to_bytes

_URI = "file://"
_LOCAL = ("/", "\\", "~", "./", "../", ".\\", "..\\")


def printable(name: str | Path) -> str:
    r"""Return a name that can be printed and stored; a byte that is not UTF-8 becomes an escape.

    Example:
        >>> printable(os.fsdecode(b"caf\xe9"))
        'caf\\xe9'
        >>> printable("café")
        'café'
    """
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def without_folders(source: str) -> str:
    r"""Return a source whose name others may read: of a path on this machine, only its last part.

    Example:
        >>> without_folders("/home/me/photos/"), without_folders("C:\\Users\\me\\photos")
        ('photos', 'photos')
        >>> without_folders("owner/name:config"), without_folders("https://example.org/photos")
        ('owner/name:config', 'https://example.org/photos')
    """
    is_local = source.startswith(_LOCAL) or PureWindowsPath(source).drive
    return (PureWindowsPath(source).name or source) if is_local and "\n" not in source else source


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
