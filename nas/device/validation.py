"""Reading JSON that anybody may have written: a value is exactly what was asked for, or there is one `DeviceError`.

A reader takes the name of a place and what stands there, and gives the value.
"""

import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from nas.errors import DeviceError

MAX_LINE = 4 * 2**20
"""Bytes of the longest line."""
MOST_TEXT = 2000
LONGEST_WHOLE = 2**53  # every JSON reader has whole numbers up to here exactly
REMEDY = "have the same version of hwnas on both machines, and nothing else writing between them"
T = TypeVar("T")
Reader = Callable[[str, Any], Any]


def refuse(where: str, found: object, wanted: str) -> NoReturn:
    """Say what stands where something else should.

    Raises:
        DeviceError: always.
    """
    raise DeviceError(f"{where} is {plain(reprlib.repr(found))}, not {wanted}", REMEDY)


def plain(text: str) -> str:
    """Text on one line without control characters, cut where it is too long: safe to print whoever wrote it."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:MOST_TEXT].strip()


def load_line(where: str, line: bytes | str) -> Any:
    """What a line of strict JSON holds: UTF-8, no key twice, no NaN.

    Raises:
        DeviceError: it is no such line, or too long.
    """
    try:
        data = line.encode() if isinstance(line, str) else line
        if len(data) > MAX_LINE:
            raise ValueError(f"it has more than {MAX_LINE} bytes")
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DeviceError(f"{where} is not one line of JSON: {plain(str(error))}", REMEDY) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def read_fields(where: str, data: Any, fields: Mapping[str, Reader]) -> dict[str, Any]:
    """The values of an object that has exactly these keys.

    Raises:
        DeviceError: it has others, or a reader refuses.
    """
    if not isinstance(data, dict):
        refuse(where, data, "a JSON object")
    if odd := sorted(data.keys() ^ fields.keys()):
        raise DeviceError(
            f"{where} has {'an unknown' if odd[0] in data else 'no'} key {plain(reprlib.repr(odd[0]))}", REMEDY
        )
    return {key: read(f"{where}.{key}", data[key]) for key, read in fields.items()}


def a_record(make: Callable[..., T], fields: Mapping[str, Reader]) -> Callable[[str, Any], T]:
    """An object with these keys, made into a record."""

    def read(where: str, data: Any) -> T:
        return make(**read_fields(where, data, fields))

    return read


def a_whole(low: int, high: int = LONGEST_WHOLE) -> Reader:
    """A whole number; `true` is none."""

    def read(where: str, data: Any) -> int:
        if type(data) is int and low <= data <= high:
            return data
        refuse(where, data, f"a whole number from {low} to {high}")

    return read


def a_number(low: float, high: float = 1e15, *, above: bool = False) -> Reader:
    """A finite number, whole or not; above `low` where that itself is not let in."""

    def read(where: str, data: Any) -> float:
        if type(data) in (int, float) and low <= data <= high and not (above and data == low):
            return float(data)
        refuse(where, data, f"a number {'above' if above else 'from'} {low:g}, up to {high:g}")

    return read


def a_text(most: int = MOST_TEXT) -> Reader:
    """Printable text on one line."""

    def read(where: str, data: Any) -> str:
        if isinstance(data, str) and len(data) <= most and plain(data) == data:
            return data
        refuse(where, data, f"a line of printable text of at most {most} letters")

    return read


def one_of(options: tuple[str, ...]) -> Reader:
    """One of some words."""

    def read(where: str, data: Any) -> str:
        if isinstance(data, str) and data in options:
            return data
        refuse(where, data, f"one of {', '.join(options)}")

    return read


def a_list(read_one: Reader, low: int, high: int) -> Reader:
    """So many of a kind, as a tuple."""

    def read(where: str, data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list) or not low <= len(data) <= high:
            refuse(where, data, f"a list of {low} to {high}")
        return tuple(read_one(f"{where}[{i}]", item) for i, item in enumerate(data))

    return read
