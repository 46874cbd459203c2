"""The shipped spaces, and files of one's own."""

from pathlib import Path

from nas.errors import SpaceError
from nas.files import shipped_folder
from nas.space.decode import SearchSpace
from nas.space.schema import load_space


def space_names() -> tuple[str, ...]:
    """The shipped spaces, sorted."""
    return tuple(sorted(path.stem for path in shipped_folder("search_spaces").glob("*.yaml")))


def find_space(word: str) -> SearchSpace:
    """A shipped space by its name, or a file of one's own.

    Raises:
        SpaceError: there is no such space, or its file breaks a rule.
    """
    if word in space_names():
        return load_space(shipped_folder("search_spaces") / f"{word}.yaml")
    if Path(word).suffix in (".yaml", ".yml") or _is_file(word):
        return load_space(Path(word))
    raise SpaceError(f"no search space is called {word!r}", f"use {', '.join(space_names())}, or a .yaml file")


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False
