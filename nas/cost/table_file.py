"""The file format of latency tables: a header of `# key: value` lines, then comma-separated rows, one for each layer.

`pandas.read_csv(path, comment="#")` reads the rows. A file contains data only: a table from an untrusted source
can hold wrong latencies, but cannot run code or exhaust the memory.
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
from nas.cost.correction import KINDS, MAX_ERROR, CheckedError, Correction
from nas.cost.layers import Layer
from nas.cost.table import LatencyTable, Origin
from nas.device.machine import Machine
from nas.device.spec import parse_device
from nas.errors import ArchitectureError, DeviceError
from nas.files import decode_text, open_regular, read_text
from nas.graph.form import UNNAMED_FORM
from nas.output_kinds import LATENCIES, write_output

_LOG = logging.getLogger(__name__)
FORMAT = "nas-latency-table/2"
FORMAT_WITHOUT_FORM = "nas-latency-table/1"
COLUMNS = "part,channels,height,width,latency_ms,spread_ms"
MAX_BYTES = 64_000_000
MAX_LAYERS = 200_000
MAX_LINE = 2_000
MAX_TEXT = 200
MAX_MS = 1e7
_LINE = reprlib.Repr()
_LINE.maxstring = 120  # Long enough for a whole row, so that a message shows the wrong value.
_REMEDY = "make the table anew with `nas latency table`, or take an unchanged copy"


def _reject(name: str, problem: str) -> NoReturn:
    raise DeviceError(f"latency table {name}: {problem}", _REMEDY)


# Control characters would break lines, "," would split fields, "#" would start a comment for pandas, and surrogates
# cannot be encoded as UTF-8.
_FORBIDDEN = r"\x00-\x1f\x7f,#\ud800-\udfff"


def _read_text(text: str) -> str:
    if not re.fullmatch(f"[^{_FORBIDDEN}]{{0,{MAX_TEXT}}}", text):
        raise ValueError(f"a text of at most {MAX_TEXT} characters without control characters, commas or #")
    return text


def _cleaned(text: str) -> str:
    """Return text from an outside source, such as a file name, in a form that `_read_text` accepts."""
    return re.sub(f"[{_FORBIDDEN}]", " ", text)[:MAX_TEXT]


def _one_of(*options: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in options:
            raise ValueError(f"one of {', '.join(options)}")
        return text

    return read


def _positive_integer(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,9}", text):
        raise ValueError("a whole number above 0")
    return int(text)


def _natural_number(text: str) -> int:
    return 0 if text == "0" else _positive_integer(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?", text) or abs(float(text)) > MAX_MS:
        raise ValueError("a number of milliseconds")
    return float(text)


def _positive(text: str) -> float:
    if not (value := _number(text)) > 0:
        raise ValueError("a number above 0")
    return value


def _optional_error(text: str) -> float | None:
    return None if text == "unknown" else _nonnegative(text)


def _nonnegative(text: str) -> float:
    if text.startswith("-"):
        raise ValueError("a number that is not below 0")
    return _number(text)


def _spread(text: str) -> float:
    """Read a spread; an empty field is an unknown spread, which pandas reads as NaN too."""
    return _nonnegative(text) if text else math.nan


# Keys of the header in the order of the file, each with the function that reads its value. The order is fixed, so that
# equal tables are equal files, and `read_origin` reads a fixed number of lines.
HEADER: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "format": _one_of(FORMAT),
        "space": _read_text,
        "classes": _positive_integer,
        "padding": _one_of(*PADDINGS),
        "device": parse_device,
        "cpu": _read_text,
        "isa": _read_text,
        "cores": _positive_integer,
        "accelerator": _read_text,
        "system": _read_text,
        "runtime": _read_text,
        "graph": _read_text,
        "reference": _read_text,
        "reference_ms": _positive,
        "passes": _positive_integer,
        "adapted_from": _read_text,
        "nas": _read_text,
        "date": _read_text,
        "fit_networks": _natural_number,
        "fit_error": _optional_error,
        "fit_intercept_ms": _number,
        **{f"fit_{kind}": _number for kind in KINDS},
        "layers": _positive_integer,
    }
)
# Keys that may follow in this order, where the table has such a value; tables of earlier versions have none of them.
OPTIONAL_HEADER: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "max_error": _positive,
        "checked_networks": _positive_integer,
        "checked_error": _nonnegative,
        "checked_spread": _nonnegative,
    }
)
_CHECKED = ("checked_networks", "checked_error", "checked_spread")
_MACHINE = tuple(attrs.fields_dict(Machine))


def format_table(table: LatencyTable) -> str:
    """Return the text of a table; `parse_table` is its inverse, except that six significant digits are kept."""
    header = "".join(f"# {key}: {value}\n" for key, value in (_header(table) | _optional_header(table)).items())
    # Sorted rows make the file independent of the order in which the layers were timed.
    rows = [_row(layer, table.layers_ms[layer], table.spread_ms[layer]) for layer in table.layers_ms]
    return f"{header}{COLUMNS}\n" + "".join(f"{row}\n" for row in sorted(rows))


def _header(table: LatencyTable) -> dict[str, str]:
    origin, correction = table.origin, table.correction
    values = (
        {"format": FORMAT, "layers": len(table.layers_ms)}
        | attrs.asdict(origin, recurse=False)
        | attrs.asdict(origin.machine)
        | {"reference_ms": _format_number(origin.reference_ms)}
        | {"fit_networks": correction.networks, "fit_intercept_ms": _format_number(correction.intercept)}
        | {"fit_error": "unknown" if correction.error is None else _format_number(correction.error)}
        | {f"fit_{kind}": _format_number(factor) for kind, factor in correction.factors.items()}
    )
    return {key: _cleaned(str(values[key])) if read is _read_text else str(values[key]) for key, read in HEADER.items()}


def _optional_header(table: LatencyTable) -> dict[str, str]:
    limit = {} if table.max_error == MAX_ERROR else {"max_error": _format_number(table.max_error)}
    if table.checked is None:
        return limit
    error, spread, networks = attrs.astuple(table.checked)
    return limit | dict(zip(_CHECKED, (str(networks), _format_number(error), _format_number(spread)), strict=True))


def _format_number(value: float) -> str:
    """Return a number with six significant digits, far more than a measurement of about 1% resolves."""
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _row(layer: Layer, time: float, spread: float) -> str:
    shape = layer.shape
    return ",".join(
        (
            format_part(layer.part, ""),
            *(str(side) for side in (shape.channels, shape.height, shape.width)),
            _format_number(time),
            "" if math.isnan(spread) else _format_number(spread),
        )
    )


def parse_table(text: str, name: str) -> LatencyTable:
    """Read the text of a table.

    Args:
        text: The whole text.
        name: Name of the table in messages.

    Raises:
        DeviceError: A line breaks a rule; the message names both.
    """
    lines = _with_form(text.split("\n"))
    if lines[-1] != "":
        _reject(name, "its last line is cut short")
    header = _read_header(name, lines)
    size = len(header)
    if lines[size : size + 1] != [COLUMNS]:
        _reject(name, f"line {size + 1} is not {COLUMNS!r}, the names of the columns")
    below = lines[size + 1 : -1]
    if not len(below) == header["layers"] <= MAX_LAYERS:
        rule = f"it should have {header['layers']} layers by its header, and no table has more than {MAX_LAYERS}"
        _reject(name, f"it has {len(below)} rows; {rule}")
    rows = dict(_read_rows(name, below, size + 2))
    if len(rows) != len(below):
        _reject(name, f"{len(below) - len(rows)} of its layers occur twice, and each layer must occur once")
    times, spreads = ({layer: pair[i] for layer, pair in rows.items()} for i in (0, 1))
    limit = header.get("max_error", MAX_ERROR)
    return LatencyTable(name, _origin(header), times, spreads, _correction(header), _checked(name, header), limit)


def _with_form(lines: list[str]) -> list[str]:
    """Return the lines of a table with the form of its graphs, which the first format of tables did not name."""
    if lines[0] != f"# format: {FORMAT_WITHOUT_FORM}":
        return lines
    at = list(HEADER).index("graph")
    return [f"# format: {FORMAT}", *lines[1:at], f"# graph: {UNNAMED_FORM}", *lines[at:]]


def _read_header(name: str, lines: list[str]) -> dict[str, Any]:
    header: dict[str, Any] = {}
    for key, read in {**HEADER, **OPTIONAL_HEADER}.items():
        number = len(header) + 1
        line = lines[number - 1] if number <= len(lines) else ""
        if len(line) > MAX_LINE:
            _reject(name, f"line {number} is longer than {MAX_LINE} characters")
        before, _, value = line.partition(": ")
        if before != f"# {key}" and line != f"# {key}:":
            if key in OPTIONAL_HEADER:
                continue
            _reject(name, f"line {number} is {reprlib.repr(line)} and should begin with '# {key}: '")
        try:
            header[key] = read(value)
        except ValueError as error:
            _reject(name, f"line {number}: {key} is {reprlib.repr(value)}; it should be {error}")
        except DeviceError as error:
            _reject(name, f"line {number}: {key} is {reprlib.repr(value)}, which cannot be read: {error.problem}")
    return header


def _read_rows(name: str, lines: list[str], first: int) -> Iterator[tuple[Layer, tuple[float, float]]]:
    for number, line in enumerate(lines, first):
        fields = line.split(",")
        if len(fields) != COLUMNS.count(",") + 1:
            _reject(name, f"line {number} has {len(fields)} fields instead of {COLUMNS.count(',') + 1}")
        try:
            sides = [_positive_integer(side) for side in fields[1:4]]
            times = _number(fields[4]), _spread(fields[5])
            yield Layer(_read_part(fields[0], sides[0]), Shape(*sides)), times
        except ValueError as error:
            _reject(name, f"line {number} is {_LINE.repr(line)}; it should have {error}")
        except ArchitectureError as error:
            _reject(name, f"line {number} is {_LINE.repr(line)}, which cannot be read: {error.problem}")


def _read_part(text: str, channels: int) -> Part:
    """Read a part that is written exactly as `format_part` does, and in canonical form.

    Look-ups compare canonical parts: a row in another form would never be found, or would hide a duplicate.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"a part of at most {MAX_TEXT} characters")
    part = parse_part(text, where="the part")
    if isinstance(part, Stage):
        if part.layers != 1:
            raise ValueError("a part that is a single layer")
        part = plain_layer(part, channels)
    if format_part(part, "") != text:
        raise ValueError(f"the part in its canonical form {format_part(part, '')!r}")
    return part


def _origin(header: Mapping[str, Any]) -> Origin:
    machine = Machine(**{key: header[key] for key in _MACHINE})
    names = [key for key in attrs.fields_dict(Origin) if key != "machine"]
    return Origin(machine=machine, **{key: header[key] for key in names})


def _correction(header: Mapping[str, Any]) -> Correction:
    factors = MappingProxyType({kind: header[f"fit_{kind}"] for kind in KINDS})
    return Correction(factors, header["fit_intercept_ms"], header["fit_error"], header["fit_networks"])


def _checked(name: str, header: Mapping[str, Any]) -> CheckedError | None:
    networks, error, spread = (header.get(key) for key in _CHECKED)
    if networks is None and error is None and spread is None:
        return None
    if networks is None or error is None or spread is None:
        _reject(name, f"its header has some of the keys {', '.join(_CHECKED)}, and it should have all or none")
    return CheckedError(error, spread, networks)


def read_origin(path: Path) -> Origin:
    """Read the header of a table's file and return the origin; the rows are not read.

    Raises:
        DeviceError: The file cannot be read, or its header breaks a rule.
    """
    with _read_errors(path), open_regular(path) as file:
        head = b"".join(file.readline(MAX_LINE) for _ in HEADER)
        return _origin(_read_header(path.name, _with_form(decode_text(head).split("\n"))))


def read_table(path: Path) -> LatencyTable:
    """Read a table's file.

    Raises:
        DeviceError: The file cannot be read, is too large, or breaks a rule.
    """
    with _read_errors(path):
        table = attrs.evolve(parse_table(read_text(path, MAX_BYTES), path.name), name=path.stem, path=path)
    _LOG.debug("Read latency table %s.", path)
    return table


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DeviceError(f"latency table {path} cannot be read: {error.strerror or error}", _REMEDY) from None


def write_table(path: Path, table: LatencyTable) -> None:
    """Write a table's file atomically: after a failure the file is absent or as it was.

    Raises:
        NasError: The folder cannot be written to, or the file is one of another kind.
    """
    write_output(path, format_table(table).encode(), LATENCIES)
