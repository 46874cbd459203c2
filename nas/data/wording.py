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
