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


def format_left(seconds: float | None) -> str:
    """Return in words how much time is left, "" if that is unknown or nothing.

    >>> format_left(723.4), format_left(7_500), format_left(9)
    ('about 12 min 03 s left', 'about 2 h 05 min left', 'about 9 s left')
    """
    whole = max(0, round(seconds or 0))
    minutes, rest = divmod(whole, 60)
    if minutes >= 60:
        return f"about {minutes // 60} h {minutes % 60:02d} min left"
    if minutes:
        return f"about {minutes} min {rest:02d} s left"
    return f"about {rest} s left" if rest else ""
