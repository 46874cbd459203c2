"""Latency tables as text: a header of `# key: value` lines, then comma-separated rows, one a layer.

`pandas.read_csv(path, comment="#")` reads the rows. Nothing in a file is run: a table from a stranger can be wrong, and
nothing else.
"""

import logging
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import attrs

from nas.arch.canonical import plain_layer
from nas.arch.code import format_part, parse_part
from nas.arch.layers import Shape
from nas.arch.spec import PADDINGS, Part, Stage
from nas.cost.correction import KINDS, Correction
from nas.cost.layers import Layer
from nas.cost.table import LatencyTable, Origin
from nas.device.machine import Machine
from nas.device.words import parse_device
from nas.errors import ArchitectureError, DeviceError
from nas.files import write_atomically

_LOG = logging.getLogger(__name__)
FORMAT = "nas-latency-table/1"
COLUMNS = "part,channels,height,width,latency_ms,spread_ms"
MOST_BYTES = 64_000_000
MOST_LAYERS = 200_000
LONGEST_LINE = 2_000
LONGEST_TEXT = 200
MOST_MS = 1e7
_LINE = reprlib.Repr()
_LINE.maxstring = 120  # a whole row, so that the value that is wrong is seen
_REMEDY = "make the table anew with `nas latency table`, or take an unchanged copy"


def _refuse(name: str, problem: str) -> NoReturn:
    raise DeviceError(f"latency table {name}: {problem}", _REMEDY)


_UNFIT = r"\x00-\x1f\x7f,#\ud800-\udfff"


def _text(text: str) -> str:
    if not re.fullmatch(f"[^{_UNFIT}]{{0,{LONGEST_TEXT}}}", text):
        raise ValueError("a short text without commas")
    return text


def _fit_text(text: str) -> str:
    """A name from elsewhere, such as a file's, as `_text` reads it."""
    return re.sub(f"[{_UNFIT}]", " ", text)[:LONGEST_TEXT]


def _one(*options: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in options:
            raise ValueError(f"one of {', '.join(options)}")
        return text

    return read


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,9}", text):
        raise ValueError("a whole number above 0")
    return int(text)


def _count(text: str) -> int:
    return 0 if text == "0" else _whole(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?", text) or abs(float(text)) > MOST_MS:
        raise ValueError("a number of milliseconds")
    return float(text)


def _above_zero(text: str) -> float:
    if not (value := _number(text)) > 0:
        raise ValueError("a number above 0")
    return value


def _share(text: str) -> float | None:
    return None if text == "unknown" else _from_zero(text)


def _from_zero(text: str) -> float:
    if text.startswith("-"):
        raise ValueError("a number not below 0")
    return _number(text)


def _spread(text: str) -> float:
    """Nothing at all is a spread that is not known, as pandas has it too."""
    return _from_zero(text) if text else math.nan


# The header's keys, in the order they are written; each is read by its function.
HEADER: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "format": _one(FORMAT),
        "space": _text,
        "classes": _whole,
        "padding": _one(*PADDINGS),
        "device": parse_device,
        "cpu": _text,
        "isa": _text,
        "cores": _whole,
        "accelerator": _text,
        "system": _text,
        "runtime": _text,
        "reference": _text,
        "reference_ms": _above_zero,
        "passes": _whole,
        "adapted_from": _text,
        "nas": _text,
        "date": _text,
        "fit_networks": _count,
        "fit_error": _share,
        "fit_intercept_ms": _number,
        **{f"fit_{kind}": _number for kind in KINDS},
        "layers": _whole,
    }
)
_MACHINE = tuple(attrs.fields_dict(Machine))


def format_table(table: LatencyTable) -> str:
    """The text of a table; `parse_table` is its inverse, to the digits that are written."""
    header = "".join(f"# {key}: {value}\n" for key, value in _header(table).items())
    rows = [_row(layer, table.layers_ms[layer], table.spread_ms[layer]) for layer in table.layers_ms]
    return f"{header}{COLUMNS}\n" + "".join(f"{row}\n" for row in sorted(rows))


def _header(table: LatencyTable) -> dict[str, str]:
    origin, fitted = table.origin, table.correction
    known = (
        {"format": FORMAT, "layers": len(table.layers_ms)}
        | attrs.asdict(origin, recurse=False)
        | attrs.asdict(origin.machine)
        | {"reference_ms": _digits(origin.reference_ms)}
        | {"fit_networks": fitted.networks, "fit_intercept_ms": _digits(fitted.intercept_ms)}
        | {"fit_error": "unknown" if fitted.error is None else _digits(fitted.error)}
        | {f"fit_{kind}": _digits(factor) for kind, factor in fitted.factors.items()}
    )
    return {key: _fit_text(str(known[key])) if read is _text else str(known[key]) for key, read in HEADER.items()}


def _digits(value: float) -> str:
    """Six digits are far beyond what was measured."""
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _row(layer: Layer, time: float, spread: float) -> str:
    shape = layer.shape
    return ",".join(
        (
            format_part(layer.part, ""),
            *(str(side) for side in (shape.channels, shape.height, shape.width)),
            _digits(time),
            "" if math.isnan(spread) else _digits(spread),
        )
    )


def parse_table(text: str, name: str) -> LatencyTable:
    """Read the text of a table.

    Args:
        text: all of it.
        name: how messages call it.

    Raises:
        DeviceError: naming the line and the rule it breaks.
    """
    lines = text.split("\n")
    if lines[-1] != "":
        _refuse(name, "its last line is cut short")
    size = len(HEADER)
    header = _read_header(name, lines[:size])
    if lines[size : size + 1] != [COLUMNS]:
        _refuse(name, f"line {size + 1} is not {COLUMNS!r}")
    below = lines[size + 1 : -1]
    if not len(below) == header["layers"] <= MOST_LAYERS:
        _refuse(name, f"it should have {header['layers']} layers, at most {MOST_LAYERS}, and has {len(below)}")
    rows = dict(_read_rows(name, below, size + 2))
    if len(rows) != len(below):
        _refuse(name, f"{len(below) - len(rows)} of its layers stand there twice")
    times, spreads = ({layer: pair[i] for layer, pair in rows.items()} for i in (0, 1))
    return LatencyTable(name, _origin(header), times, spreads, _correction(header))


def _read_header(name: str, lines: list[str]) -> dict[str, Any]:
    header = {}
    for number, (key, read) in enumerate(HEADER.items(), 1):
        line = lines[number - 1] if number <= len(lines) else ""
        if len(line) > LONGEST_LINE:
            _refuse(name, f"line {number} is longer than {LONGEST_LINE} characters")
        before, _, value = line.partition(": ")
        if before != f"# {key}" and line != f"# {key}:":
            _refuse(name, f"line {number} is {reprlib.repr(line)} and should begin with '# {key}: '")
        try:
            header[key] = read(value)
        except (ValueError, DeviceError) as error:
            _refuse(name, f"line {number}: {key} is {reprlib.repr(value)}; give {str(error).splitlines()[0]}")
    return header


def _read_rows(name: str, lines: list[str], first: int) -> Iterator[tuple[Layer, tuple[float, float]]]:
    for number, line in enumerate(lines, first):
        fields = line.split(",")
        if len(fields) != COLUMNS.count(",") + 1:
            _refuse(name, f"line {number} has {len(fields)} fields")
        try:
            sides = [_whole(side) for side in fields[1:4]]
            times = _number(fields[4]), _spread(fields[5])
            yield Layer(_read_part(fields[0], sides[0]), Shape(*sides)), times
        except (ValueError, ArchitectureError) as error:
            _refuse(name, f"line {number}: {_LINE.repr(line)}; give {str(error).splitlines()[0]}")


def _read_part(text: str, channels: int) -> Part:
    """A part that is written as `format_part` does, under the name by which it is looked up."""
    if len(text) > LONGEST_TEXT:
        raise ValueError("a short part")
    part = parse_part(text, where="the part")
    if isinstance(part, Stage):
        if part.layers != 1:
            raise ValueError("single layers")
        part = plain_layer(part, channels)
    if format_part(part, "") != text:
        raise ValueError(f"it as {format_part(part, '')!r}")
    return part


def _origin(header: Mapping[str, Any]) -> Origin:
    machine = Machine(**{key: header[key] for key in _MACHINE})
    names = [key for key in attrs.fields_dict(Origin) if key != "machine"]
    return Origin(machine=machine, **{key: header[key] for key in names})


def _correction(header: Mapping[str, Any]) -> Correction:
    factors = MappingProxyType({kind: header[f"fit_{kind}"] for kind in KINDS})
    return Correction(factors, header["fit_intercept_ms"], header["fit_error"], header["fit_networks"])


def read_origin(path: Path) -> Origin:
    """Read where a table's times come from, and nothing else of it.

    Raises:
        DeviceError: it cannot be read, or its header breaks a rule.
    """
    with _explained(path), path.open("rb") as file:
        head = b"".join(file.readline(LONGEST_LINE) for _ in HEADER)
        return _origin(_read_header(path.name, head.decode("utf-8").split("\n")))


def read_table(path: Path) -> LatencyTable:
    """Read a table's file.

    Raises:
        DeviceError: it cannot be read, or breaks a rule.
    """
    with _explained(path):
        if path.stat().st_size > MOST_BYTES:
            _refuse(path.name, f"it is larger than {MOST_BYTES / 1e6:.0f} MB")
        table = attrs.evolve(parse_table(path.read_bytes().decode("utf-8"), path.name), name=path.stem)
    _LOG.debug("Read latency table %s.", path)
    return table


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DeviceError(f"latency table {path} cannot be read: {error.strerror or error}", _REMEDY) from None
    except UnicodeDecodeError:
        _refuse(path.name, "it is not text")


def write_table(path: Path, table: LatencyTable) -> None:
    """Write a table's file, whole or not at all.

    Raises:
        NasError: the folder cannot be written to.
    """
    write_atomically(path, format_table(table).encode())
