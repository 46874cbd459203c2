"""Strict validation of JSON from an untrusted source: every deviation is one `DeviceError`.

A reader is a function that takes the path of a value inside the message (like `measure.aim.spread`) and the value
itself, and returns the validated value.
"""

import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from nas.errors import DeviceError

MAX_LINE = 4 * 2**20
"""Largest length of a line, in bytes."""
MAX_TEXT = 2000
MAX_INTEGER = 2**53  # Readers that store numbers as doubles keep whole numbers exact up to here (RFC 8259, section 6).
REMEDY = (
    "install the same version of hwnas on both machines, and make sure that no other program writes to the connection"
)
T = TypeVar("T")
Reader = Callable[[str, Any], Any]


def reject(where: str, found: object, wanted: str) -> NoReturn:
    """Raise the error for a value that breaks a rule.

    Args:
        where: Path of the value inside the message.
        found: The value.
        wanted: The rule, as a noun phrase: "a number above 0".

    Raises:
        DeviceError: Always.
    """
    raise DeviceError(f"{where} is {printable(reprlib.repr(found))}, not {wanted}", REMEDY)


def printable(text: str) -> str:
    """Return text as one line without control characters, cut to `MAX_TEXT`.

    The other machine may be hostile: its messages reach a terminal, where escape sequences could hide or fake output.
    """
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:MAX_TEXT].strip()


def first_line(error: Exception) -> str:
    """Return the first line of an error of a library, or its type where it has no text."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def load_line(where: str, line: bytes | str) -> Any:
    """Read one line of strict JSON: UTF-8, no repeated keys, no NaN or Infinity.

    Raises:
        DeviceError: The line breaks one of these rules or is longer than `MAX_LINE`.
    """
    try:
        data = line.encode() if isinstance(line, str) else line
        if len(data) > MAX_LINE:
            raise ValueError(f"it has more than {MAX_LINE} bytes")
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # Deeply nested brackets exhaust the parser's stack.
        raise DeviceError(f"{where} is not one line of JSON: {printable(str(error))}", REMEDY) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def read_fields(where: str, data: Any, fields: Mapping[str, Reader]) -> dict[str, Any]:
    """Return the values of an object that has exactly the keys of `fields`.

    Raises:
        DeviceError: The keys differ, or a reader rejects a value.
    """
    if not isinstance(data, dict):
        reject(where, data, "a JSON object")
    if mismatched := sorted(data.keys() ^ fields.keys()):
        raise DeviceError(
            f"{where} has {'an unknown' if mismatched[0] in data else 'no'} key "
            f"{printable(reprlib.repr(mismatched[0]))}",
            REMEDY,
        )
    return {key: read(f"{where}.{key}", data[key]) for key, read in fields.items()}


def record_of(make: Callable[..., T], fields: Mapping[str, Reader]) -> Callable[[str, Any], T]:
    """Return a reader of objects with exactly these keys, which `make` turns into a record."""

    def read(where: str, data: Any) -> T:
        return make(**read_fields(where, data, fields))

    return read


def integer(low: int, high: int = MAX_INTEGER) -> Reader:
    """Return a reader of whole numbers in a range."""

    def read(where: str, data: Any) -> int:
        # `isinstance` would accept true and false, which are integers in Python.
        if type(data) is int and low <= data <= high:
            return data
        reject(where, data, f"a whole number from {low} to {high}")

    return read


def number_in(low: float, high: float = 1e15, *, above: bool = False) -> Reader:
    """Return a reader of finite numbers in a range; with `above`, `low` itself is rejected."""

    def read(where: str, data: Any) -> float:
        if type(data) in (int, float) and low <= data <= high and not (above and data == low):
            return float(data)
        reject(where, data, f"a number {'above' if above else 'from'} {low:g}, up to {high:g}")

    return read


def text_line(most: int = MAX_TEXT) -> Reader:
    """Return a reader of one line of printable text."""

    def read(where: str, data: Any) -> str:
        if isinstance(data, str) and len(data) <= most and printable(data) == data:
            return data
        reject(where, data, f"one line of printable text of at most {most} characters")

    return read


def optional(read_one: Reader) -> Reader:
    """Return a reader that also accepts null."""
    return lambda where, data: None if data is None else read_one(where, data)


def one_of(options: tuple[str, ...]) -> Reader:
    """Return a reader of a text that is one of `options`."""

    def read(where: str, data: Any) -> str:
        if isinstance(data, str) and data in options:
            return data
        reject(where, data, f"one of {', '.join(options)}")

    return read


def list_of(read_one: Reader, low: int, high: int) -> Reader:
    """Return a reader of lists of `low` to `high` items, which become a tuple."""

    def read(where: str, data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list) or not low <= len(data) <= high:
            reject(where, data, f"a list of {low} to {high} items")
        return tuple(read_one(f"{where}[{i}]", item) for i, item in enumerate(data))

    return read
