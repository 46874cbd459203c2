"""Messages between a client and an agent: one JSON object on each line.

A line that is not exactly one of these messages is an error:

    {"request":"hello","device":"cpu:threads=4"}
    {"reply":"hello","protocol":2,"version":"0.1.0","machine":{…},"providers":["CPUExecutionProvider"]}
    {"request":"measure","id":1,"device":"cpu","fragments":[…],"aim":{…},"bounds":{…}}
    {"reply":"timings","id":1,"turns":{…}}
    {"reply":"error","id":1,"problem":"…","remedy":"…"}

Every later protocol must keep the hello request, and `protocol` and `version` in its reply, so that two machines with
different versions can report the difference.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import field, frozen

from nas.arch.code import format_part, parse_part
from nas.arch.layers import Shape
from nas.arch.spec import PADDINGS, Part, Stage, Stem
from nas.device.machine import Machine
from nas.device.spec import Device, parse_device
from nas.device.timing import Aim, Timing, Turns
from nas.device.validation import (
    MAX_LINE,
    MAX_TEXT,
    Reader,
    integer,
    list_of,
    load_line,
    number_in,
    one_of,
    printable,
    read_fields,
    record_of,
    reject,
    text_line,
)
from nas.errors import ArchitectureError, DeviceError
from nas.graph.fragment import Fragment

PROTOCOL = 2
REPLY_MARK = b'{"reply":'
"""Start of every reply. The client finds it even after text that a shell printed without a line break."""
# These limits bound the memory of a request before anything of it is built; `Limits` then checks the sizes of networks.
MAX_FRAGMENTS = 1024
MAX_PARTS = 2000


@frozen
class Bounds:
    """Limit the resources of one measurement.

    Attributes:
        seconds: Wall-clock time in seconds, which includes building the graphs.
        bytes: Address space in bytes; it applies to providers that do not reserve far more than they use.
    """

    seconds: float = 600.0
    bytes: int = 16 * 2**30


@frozen
class HelloRequest:
    """Ask for the description of the machine."""

    device: Device


@frozen
class MeasureRequest:
    """Ask for the times of fragments; see `nas.device.measurement.measure`."""

    id: int
    device: Device
    fragments: tuple[Fragment, ...]
    aim: Aim
    bounds: Bounds = Bounds()


@frozen
class HelloReply:
    """Describe the machine, its execution providers, the version of this package and the protocol."""

    machine: Machine
    providers: tuple[str, ...]
    version: str
    protocol: int = PROTOCOL


@frozen
class TimingsReply:
    """Hold the measurement for the request with this `id`."""

    id: int
    turns: Turns


@frozen
class ErrorReply:
    """Explain why the request with this `id` failed; the `id` is 0 for a hello or an unreadable request."""

    id: int
    problem: str = field(converter=printable)
    remedy: str = field(default="", converter=printable)


Request = HelloRequest | MeasureRequest
Reply = HelloReply | TimingsReply | ErrorReply


def _device(where: str, data: Any) -> Device:
    if not isinstance(data, str) or len(data) > MAX_TEXT:
        reject(where, data, "a device")
    return parse_device(data)


def _part(where: str, data: Any) -> Part:
    """Read a part in exactly the form that `format_part` writes, with an explicit activation."""
    if not isinstance(data, str) or len(data) > MAX_TEXT:
        reject(where, data, "a line of an architecture")
    try:
        part = parse_part(data, where=where)
    except ArchitectureError as error:
        raise DeviceError(printable(error.problem), printable(error.remedy)) from None
    return part if format_part(part, "") == data else reject(where, data, f"written as {format_part(part, '')}")


def _shape(where: str, data: Any) -> Shape:
    return Shape(*list_of(integer(1, 2**31 - 1), 3, 3)(where, data))


def _fragment(where: str, data: Any) -> Fragment:
    made = Fragment(*read_fields(where, data, _FRAGMENT).values())
    first, last = made.parts[1:], made.parts[:-1]
    if any(isinstance(part, Stem) for part in first) or not all(isinstance(p, Stage | Stem) for p in last):
        raise DeviceError(
            f"{where}.parts has a stem or a head in the middle; a stem must be the first part and a head the last",
            "install the same version of hwnas on both machines",
        )
    return made


_FRAGMENT: Mapping[str, Reader] = {
    "parts": list_of(_part, 1, MAX_PARTS),
    "input": _shape,
    "classes": integer(1, 2**31 - 1),
    "padding": one_of(PADDINGS),
}
_AIM = record_of(
    Aim,
    {
        "spread": number_in(0),
        "least": integer(0),
        "most": integer(0),
        "seconds": number_in(0),
    },
)
_TIME = number_in(0, above=True)
_TIMING_FIELDS: Mapping[str, Reader] = {
    "ratio": _TIME,
    "spread": number_in(0),
    "min_ms": _TIME,
    "median_ms": _TIME,
    "p95_ms": _TIME,
    "repeats": integer(1),
}


def _timing(where: str, data: Any) -> Timing:
    timing = Timing(**read_fields(where, data, _TIMING_FIELDS))
    # An agent of another implementation could confuse the fields; the order shows it.
    if not timing.min_ms <= timing.median_ms <= timing.p95_ms:
        reject(where, data, "times in order: smallest, median, 95th percentile")
    return timing


def _reference(where: str, data: Any) -> Timing:
    timing = _timing(where, data)
    return timing if timing.ratio == 1 else reject(f"{where}.ratio", timing.ratio, "1")


_TURNS = record_of(
    Turns,
    {
        "timings": list_of(_timing, 1, MAX_FRAGMENTS),
        "reference": _reference,
        "noise": number_in(0),
        "warmups": integer(0),
    },
)
_NAME = text_line(300)
_MACHINE = record_of(
    Machine,
    {
        "cpu": _NAME,
        "isa": _NAME,
        "cores": integer(1, 2**20),
        "accelerator": _NAME,
        "system": _NAME,
        "runtime": _NAME,
        "graph": _NAME,
    },
)


def _version(where: str, data: Any) -> str:
    found = isinstance(data, str) and re.fullmatch(r"[0-9]{1,6}\.[0-9]{1,6}[0-9A-Za-z.+!-]{0,60}", data)
    return str(data) if found else reject(where, data, "a version like 0.1.0")


_REQUESTS: Mapping[str, Reader] = {
    "hello": record_of(HelloRequest, {"device": _device}),
    "measure": record_of(
        MeasureRequest,
        {
            "id": integer(1),
            "device": _device,
            "fragments": list_of(_fragment, 1, MAX_FRAGMENTS),
            "aim": _AIM,
            "bounds": record_of(Bounds, {"seconds": number_in(0, 86_400, above=True), "bytes": integer(1)}),
        },
    ),
}
_REPLIES: Mapping[str, Reader] = {
    "hello": record_of(
        HelloReply,
        {
            "machine": _MACHINE,
            "providers": list_of(_NAME, 1, 64),
            "version": _version,
            "protocol": integer(PROTOCOL, PROTOCOL),
        },
    ),
    "timings": record_of(TimingsReply, {"id": integer(1), "turns": _TURNS}),
    "error": record_of(ErrorReply, {"id": integer(0), "problem": text_line(), "remedy": text_line()}),
}


def parse_request(line: bytes | str) -> Request:
    """Read a request.

    Raises:
        DeviceError: The line is not exactly one request.
    """
    request: Request = _parse("request", _REQUESTS, line)
    return request


def parse_reply(line: bytes | str) -> Reply:
    """Read a reply; the client checks whether it belongs to its request.

    Raises:
        DeviceError: The line is not exactly one reply.
    """
    reply: Reply = _parse("reply", _REPLIES, line)
    return reply


def _parse(word: str, kinds: Mapping[str, Reader], line: bytes | str) -> Any:
    data = load_line(f"a {word}", line)
    if not isinstance(data, dict):
        reject(f"a {word}", data, "a JSON object")
    kind = data.pop(word, None)
    # A list or an object would be no key of a dictionary and raise a TypeError.
    if not isinstance(kind, str) or kind not in kinds:
        reject(word, kind, f"one of {', '.join(kinds)}")
    return kinds[kind](kind, data)


def protocol_versions(line: bytes | str) -> tuple[int, str] | None:
    """Return the protocol and the version from a hello reply of any protocol, or None for another message.

    Raises:
        DeviceError: The line is not JSON, or a hello reply lacks one of the two.
    """
    data = load_line("a reply", line)
    if not isinstance(data, dict) or data.get("reply") != "hello":
        return None
    # Other keys are ignored: a later protocol may add some, and its version should still be reported.
    given = {key: data.get(key) for key in _VERSIONS}
    protocol, version = read_fields("hello", given, _VERSIONS).values()
    return protocol, version


_VERSIONS: Mapping[str, Reader] = {"protocol": integer(1), "version": _version}


def _fragment_data(fragment: Fragment) -> dict[str, Any]:
    return {
        "parts": [format_part(part, "") for part in fragment.parts],
        "input": attrs.astuple(fragment.shape),
        "classes": fragment.classes,
        "padding": fragment.padding,
    }


def _measure_data(measure: MeasureRequest) -> dict[str, Any]:
    return {
        "id": measure.id,
        "device": str(measure.device),
        "fragments": [_fragment_data(fragment) for fragment in measure.fragments],
        "aim": attrs.asdict(measure.aim),
        "bounds": attrs.asdict(measure.bounds),
    }


_WRITERS: Mapping[type, tuple[str, str, Any]] = {
    HelloRequest: ("request", "hello", lambda hello: {"device": str(hello.device)}),
    MeasureRequest: ("request", "measure", _measure_data),
    HelloReply: ("reply", "hello", attrs.asdict),
    TimingsReply: ("reply", "timings", attrs.asdict),
    ErrorReply: ("reply", "error", attrs.asdict),
}


def encode(message: Request | Reply) -> bytes:
    """Return a message as one line with its line break; `parse_request` or `parse_reply` is the inverse.

    Raises:
        DeviceError: The line is too long, or a number is NaN or infinite.
    """
    word, kind, write = _WRITERS[type(message)]
    try:
        # NaN and Infinity are no JSON, although Python would write them.
        text = json.dumps({word: kind, **write(message)}, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise DeviceError(f"a {word} cannot be written: {error}", "measure again") from None
    if len(text) >= MAX_LINE:
        raise DeviceError(
            f"a {word} has {len(text)} bytes, and a line may have {MAX_LINE - 1}", "measure fewer networks at a time"
        )
    return text.encode() + b"\n"
