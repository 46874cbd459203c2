"""The values that a key of a recipe allows: as a rule in words, as a check, and as text."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from attrs import frozen

UNSET = "null"
TRUTHS: Mapping[str, bool] = MappingProxyType({"true": True, "false": False})
# Python refuses to read whole numbers of thousands of digits.
_MOST_DIGITS = 40


class Values(Protocol):
    """Describe the allowed values of a key.

    `parse(format(value)) == value` for every allowed value.
    """

    @property
    def rule(self) -> str:
        """Return the rule in words, as it continues "it must be …"."""
        ...

    def holds(self, value: Any) -> bool:
        """Return whether a value of any type is allowed."""
        ...

    def parse(self, text: str) -> Any:
        """Return the value that a text stands for, which may be outside the range.

        Raises:
            ValueError: The text stands for no value of this kind.
        """
        ...


@frozen
class Numbers:
    """Allow the numbers of a range.

    Attributes:
        low: Lower bound.
        high: Upper bound; infinity means that there is none. No value is infinite.
        above: Whether the lower bound itself is excluded.
        below: Whether the upper bound itself is excluded.
        whole: Whether only whole numbers are allowed.
        optional: Whether None is allowed, which is `null` in a file.

    >>> Numbers(0, 1, below=True).rule, Numbers(1, whole=True).rule, Numbers(0, above=True, optional=True).rule
    ('a number from 0 to below 1', 'a whole number, 1 or more', 'a number above 0, or null')
    """

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    optional: bool = False

    @property
    def rule(self) -> str:
        """Return the rule in words."""
        kind = "a whole number" if self.whole else "a number"
        return f"{kind}{self._range()}{f', or {UNSET}' if self.optional else ''}"

    def _range(self) -> str:
        if self.high == math.inf:
            return f" above {self.low:g}" if self.above else f", {self.low:g} or more"
        return f" from {'above ' * self.above}{self.low:g} to {'below ' * self.below}{self.high:g}"

    def holds(self, value: Any) -> bool:
        """Return whether a value is a number of the range, or None where that is allowed."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self._is_above(value) and self._is_below(value) and value < math.inf

    def _is_above(self, value: float) -> bool:
        return value > self.low if self.above else value >= self.low

    def _is_below(self, value: float) -> bool:
        return value < self.high if self.below else value <= self.high

    def parse(self, text: str) -> float | None:
        """Return the number; "1e-3" is one, although YAML 1.1 takes it for a word."""
        if self.optional and text == UNSET:
            return None
        if len(text) > _MOST_DIGITS:
            raise ValueError("the number is too long")
        return int(text) if self.whole else float(text)


@frozen
class Names:
    """Allow some names.

    >>> Names(("sgd", "adamw")).rule
    'one of sgd, adamw'
    """

    names: tuple[str, ...]

    @property
    def rule(self) -> str:
        """Return the rule in words."""
        return f"one of {', '.join(self.names)}"

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of the names."""
        return isinstance(value, str) and value in self.names

    def parse(self, text: str) -> str:
        """Return the text itself."""
        return text


@frozen
class Truths:
    """Allow true and false."""

    @property
    def rule(self) -> str:
        """Return the rule in words."""
        return " or ".join(TRUTHS)

    def holds(self, value: Any) -> bool:
        """Return whether a value is true or false."""
        return isinstance(value, bool)

    def parse(self, text: str) -> bool:
        """Return the truth value."""
        if text not in TRUTHS:
            raise ValueError("it is no truth value")
        return TRUTHS[text]


def format_value(value: Any) -> str:
    """Return the text of a value of a recipe.

    >>> [format_value(value) for value in (None, True, 0.001, 1e-05, 3, "sgd")]
    ['null', 'true', '0.001', '1e-05', '3', 'sgd']
    """
    if value is None:
        return UNSET
    return str(value).lower() if isinstance(value, bool) else str(value)
