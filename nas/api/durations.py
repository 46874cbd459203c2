"""Durations as users write them."""

import re

from nas.errors import NasError

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}


def parse_duration(value: str | float) -> float:
    """Return a duration in seconds.

    Args:
        value: A text with a unit (s, m, min, h or d), for example "90s", "45m" or "2h", or a number of seconds.

    Raises:
        NasError: The value is not a duration above zero.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([a-z]+)", str(value).strip())
    if found is None or found.group(2) not in _SECONDS or not float(found.group(1)):
        raise NasError(f"{value!r} is not a duration above zero", "write one like 90s, 45m or 2h")
    return float(found.group(1)) * _SECONDS[found.group(2)]
