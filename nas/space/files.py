"""Finding a search space: a shipped one by its name, or a file."""

from pathlib import Path

from nas.errors import SpaceError
from nas.files import shipped_folder
from nas.space.decode import SearchSpace
from nas.space.schema import load_space


def space_names() -> tuple[str, ...]:
    """Return the names of the shipped spaces in alphabetical order.

    >>> space_names()
    ('efficientnet', 'mnasnet', 'mobilenetv3', 'nasbench_macro')
    """
    return tuple(sorted(path.stem for path in shipped_folder("search_spaces").glob("*.yaml")))


def find_space(word: str) -> SearchSpace:
    """Return a shipped space or the space of a file.

    Args:
        word: Name of a shipped space, or path of a YAML file. A name has priority over a file with the same name.

    Raises:
        SpaceError: There is no such space, or its file breaks a rule.

    >>> space = find_space("mnasnet")
    >>> len(space.choices), space.size == 432**7
    (42, True)
    """
    if word in space_names():
        return load_space(shipped_folder("search_spaces") / f"{word}.yaml")
    if Path(word).suffix in (".yaml", ".yml") or _is_file(word):
        return load_space(Path(word))
    raise SpaceError(
        f"no search space is called {word!r}", f"use {', '.join(space_names())}, or the path of a .yaml file"
    )


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # The text is too long for a path, or contains a null character.
        return False
