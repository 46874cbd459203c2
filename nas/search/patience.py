"""This module describes when a search ends because nothing better comes, or nothing better is expected."""

import re
from numbers import Integral

from attrs import frozen

from nas.errors import StudyError

AUTO = "auto"
AUTO_CHANCE = 0.01
# A search that ends by what is expected has at least so many trials in a row without a better one.
LEAST_TRIALS = 20
_REMEDY = "give a number of trials from 1 upwards, a chance above 0% and below 100% such as 1%, or auto"


@frozen
class Patience:
    """Describe when a search ends early.

    Attributes:
        trials: Number of trials in a row without a better one, before which it does not end.
        chance: Largest chance of a gain at which it ends then (see `nas.outlook.Outlook`); None for any.
    """

    trials: int
    chance: float | None = None


def parse_patience(value: object) -> Patience:
    """Return what a user asks for: a number of trials, a chance in percent, or "auto".

    Raises:
        StudyError: It is none of these.

    >>> parse_patience(30), parse_patience("5%")
    (Patience(trials=30, chance=None), Patience(trials=20, chance=0.05))
    """
    if isinstance(value, Patience):
        return value
    # An integer may be one of numpy; a truth value is none.
    is_integer = not isinstance(value, bool) and isinstance(value, Integral)
    text = value.strip() if isinstance(value, str) else str(value) if is_integer else ""
    if text == AUTO:
        return Patience(LEAST_TRIALS, AUTO_CHANCE)
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text):
        return Patience(int(text))
    percent = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,6})?) ?%", text)
    if percent is None or not float(percent.group(1)):
        raise StudyError(f"patience is {value!r}", _REMEDY)
    return Patience(LEAST_TRIALS, float(percent.group(1)) / 100)
