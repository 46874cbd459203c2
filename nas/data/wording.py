"""Shortening of long lists in messages."""

from collections.abc import Sequence

_SHOWN = 5


def listed(names: Sequence[str]) -> str:
    """Return the first five names, and how many more there are.

    Example:
        >>> listed(["cat", "dog"])
        'cat, dog'
        >>> listed(list("abcdefg"))
        'a, b, c, d, e and 2 more'
    """
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "image"), counted(2000, "image")
        ('1 image', '2,000 images')
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
