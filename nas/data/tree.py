"""The files below a folder, with symbolic links followed."""

import os
from collections import deque
from pathlib import Path

import attrs

from nas.data.names import printable
from nas.errors import DataError


@attrs.frozen
class Tree:
    """Hold what is below a folder; all paths are relative to it and sorted, and hidden files and folders are left out.

    Attributes:
        files: Regular files, and links to them.
        folders: The folder itself, those below it, and links to folders.
        broken: Links that lead to nothing.
        repeated: Links to a folder that is read at another place already, among them every link that makes a cycle.
        special: Devices, pipes and sockets.
    """

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    broken: tuple[Path, ...]
    repeated: tuple[Path, ...]
    special: tuple[Path, ...]


def read_tree(root: Path) -> Tree:
    """Return everything below a folder.

    Raises:
        DataError: A folder cannot be read.
    """
    found: dict[str, list[Path]] = {name.name: [] for name in attrs.fields(Tree)}
    # Links wait until all folders are read, so that a folder keeps its own place if a link leads to it as well.
    waiting: dict[str, deque[Path]] = {"folder": deque([Path()]), "link": deque()}
    seen = set()
    while queue := waiting["folder"] or waiting["link"]:
        folder = queue.popleft()
        identity = _identity(root / folder)
        if queue is waiting["link"] and identity in seen:
            found["repeated"].append(folder)
            continue
        seen.add(identity)
        found["folders"].append(folder)
        for entry in _entries(root / folder):
            kind = _kind(entry)
            (waiting if kind in waiting else found)[kind].append(folder / entry.name)
    return Tree(**{name: tuple(sorted(paths)) for name, paths in found.items()})


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"the folder {printable(folder)} cannot be read: {error.strerror}; every folder must be readable",
            "restore its read permission, or move it elsewhere",
        ) from None


def _kind(entry: "os.DirEntry[str]") -> str:
    """Return "folder" or "link" for a folder, and the list of `Tree` that any other entry belongs to."""
    try:
        if entry.is_dir():
            return "link" if entry.is_symlink() else "folder"
        if entry.is_file():
            return "files"
        entry.stat()  # raises an error if the entry is a link that leads to nothing
    except OSError:
        return "broken"
    return "special"


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
