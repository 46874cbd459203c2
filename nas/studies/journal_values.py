"""Checks of values from a journal's lines, which any program may have written."""

import math
import reprlib
from datetime import datetime
from typing import Any

MAX_NAME_LENGTH = 512  # as in Optuna's tables


def broken_rule(name: str, value: object, rule: str) -> ValueError:
    """Return the error for a value that breaks a rule."""
    return ValueError(f"{name} is {reprlib.repr(value)}, not {rule}")


def read_text(value: object, name: str) -> str:
    """Return a short text that any database can hold.

    Raises:
        ValueError: The value is no such text.
    """
    if not isinstance(value, str) or len(value) > MAX_NAME_LENGTH or "\0" in value:
        raise broken_rule(name, value, f"a text of at most {MAX_NAME_LENGTH} characters")
    value.encode()  # a lone surrogate, which no database can hold, raises a UnicodeEncodeError, a ValueError
    return value


def read_integer(value: object, name: str, largest: int) -> int:
    """Return an integer from 0 to the largest allowed.

    Raises:
        ValueError: The value is no such integer.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise broken_rule(name, value, f"a whole number from 0 to {largest:,}")
    return value


def read_number(value: object, name: str) -> float:
    """Return a number, which may be infinite or NaN.

    Raises:
        ValueError: The value is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise broken_rule(name, value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise broken_rule(name, value, "a number of this size") from None


def read_finite(value: object, name: str) -> float:
    """Return a finite number.

    Raises:
        ValueError: The value is no finite number.
    """
    number = read_number(value, name)
    if not math.isfinite(number):
        raise broken_rule(name, value, "finite")
    return number


def read_object(value: object, name: str) -> dict[str, Any]:
    """Return a JSON object whose names are short texts.

    Raises:
        ValueError: The value is no such object.
    """
    if not isinstance(value, dict):
        raise broken_rule(name, value, "an object")
    for key in value:
        read_text(key, f"a name in {name}")
    return value


def read_list(value: object, name: str) -> list[Any]:
    """Return a list.

    Raises:
        ValueError: The value is no list.
    """
    if not isinstance(value, list):
        raise broken_rule(name, value, "a list")
    return value


def read_time(value: object, name: str) -> datetime:
    """Return a local time without a time zone, as Optuna's trials hold it.

    Raises:
        ValueError: The value is no such time.
    """
    try:
        moment = datetime.fromisoformat(read_text(value, name))
    except ValueError:
        raise broken_rule(name, value, "a date and a time") from None
    if moment.tzinfo is not None:
        raise broken_rule(name, value, "a time without its zone")
    return moment
