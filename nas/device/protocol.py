"""What a client and an agent say to each other, one JSON object a line; what is not exactly one is an error.

    {"request":"hello","device":"cpu:threads=4"}
    {"reply":"hello","protocol":1,"version":"0.1.0","machine":{…},"providers":["CPUExecutionProvider"]}
    {"request":"measure","id":1,"device":"cpu","fragments":[…],"aim":{…},"bounds":{…}}
    {"reply":"timings","id":1,"turns":{…}}
    {"reply":"error","id":1,"problem":"…","remedy":"…"}

A hello's request, and `protocol` and `version` in its reply, stay as they are in every protocol to come.
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
    MOST_TEXT,
    Reader,
    a_list,
    a_number,
    a_record,
    a_text,
    a_whole,
    load_line,
    one_of,
    plain,
    read_fields,
    refuse,
)
from nas.errors import ArchitectureError, DeviceError
from nas.graph.fragment import Fragment

PROTOCOL = 1
REPLY_MARK = b'{"reply":'
"""How every reply begins, so that it is found behind what a shell printed."""
MOST_FRAGMENTS = 1024
MOST_PARTS = 2000


@frozen
class Bounds:
    """What one measurement may use up.

    Attributes:
        seconds: by the wall clock, building included.
        bytes: of address space, on providers whose drivers do not reserve far more than they use.
    """

    seconds: float = 600.0
    bytes: int = 16 * 2**30


@frozen
class Hello:
    """Asks what machine this is."""

    device: Device


@frozen
class Measure:
    """Asks for the times of fragments; see `nas.device.measurement.measure`."""

    id: int
    device: Device
    fragments: tuple[Fragment, ...]
    aim: Aim
    bounds: Bounds = Bounds()


@frozen
class Welcome:
    """Says what machine this is, and what it speaks and has."""

    machine: Machine
    providers: tuple[str, ...]
    version: str
    protocol: int = PROTOCOL


@frozen
class Timed:
    """What was measured for the request of this number."""

    id: int
    turns: Turns


@frozen
class Refusal:
    """Why there is no answer to the request of this number; 0 where the request could not be read, or was a hello."""

    id: int
    problem: str = field(converter=plain)
    remedy: str = field(default="", converter=plain)


Request = Hello | Measure
Reply = Welcome | Timed | Refusal


def _device(where: str, data: Any) -> Device:
    if not isinstance(data, str) or len(data) > MOST_TEXT:
        refuse(where, data, "a device")
    return parse_device(data)


def _part(where: str, data: Any) -> Part:
    """Exactly as `format_part` writes it, its activation told."""
    if not isinstance(data, str) or len(data) > MOST_TEXT:
        refuse(where, data, "a line of an architecture")
    try:
        part = parse_part(data, where=where)
    except ArchitectureError as error:
        raise DeviceError(plain(error.problem), plain(error.remedy)) from None
    return part if format_part(part, "") == data else refuse(where, data, f"written as {format_part(part, '')}")


def _shape(where: str, data: Any) -> Shape:
    return Shape(*a_list(a_whole(1, 2**31 - 1), 3, 3)(where, data))


def _fragment(where: str, data: Any) -> Fragment:
    made = Fragment(*read_fields(where, data, _FRAGMENT).values())
    first, last = made.parts[1:], made.parts[:-1]
    if any(isinstance(part, Stem) for part in first) or not all(isinstance(p, Stage | Stem) for p in last):
        raise DeviceError(f"{where}.parts has a stem or a head in the middle", "a stem stands first and a head last")
    return made


_FRAGMENT: Mapping[str, Reader] = {
    "parts": a_list(_part, 1, MOST_PARTS),
    "input": _shape,
    "classes": a_whole(1, 2**31 - 1),
    "padding": one_of(PADDINGS),
}
_AIM = a_record(
    Aim,
    {
        "spread": a_number(0),
        "least": a_whole(0),
        "most": a_whole(0),
        "seconds": a_number(0),
    },
)
_TIME = a_number(0, above=True)
_TIMING_FIELDS: Mapping[str, Reader] = {
    "ratio": _TIME,
    "spread": a_number(0),
    "min_ms": _TIME,
    "median_ms": _TIME,
    "p95_ms": _TIME,
    "repeats": a_whole(1),
}


def _timing(where: str, data: Any) -> Timing:
    timing = Timing(**read_fields(where, data, _TIMING_FIELDS))
    if not timing.min_ms <= timing.median_ms <= timing.p95_ms:
        refuse(where, data, "times in order: smallest, median, 95th percentile")
    return timing


def _reference(where: str, data: Any) -> Timing:
    timing = _timing(where, data)
    return timing if timing.ratio == 1 else refuse(f"{where}.ratio", timing.ratio, "1")


_TURNS = a_record(
    Turns,
    {
        "timings": a_list(_timing, 1, MOST_FRAGMENTS),
        "reference": _reference,
        "noise": a_number(0),
        "warmups": a_whole(0),
    },
)
_NAME = a_text(300)
_MACHINE = a_record(
    Machine,
    {
        "cpu": _NAME,
        "isa": _NAME,
        "cores": a_whole(1, 2**20),
        "accelerator": _NAME,
        "system": _NAME,
        "runtime": _NAME,
    },
)


def _version(where: str, data: Any) -> str:
    found = isinstance(data, str) and re.fullmatch(r"[0-9]{1,6}\.[0-9]{1,6}[0-9A-Za-z.+!-]{0,60}", data)
    return str(data) if found else refuse(where, data, "a version like 0.1.0")


_REQUESTS: Mapping[str, Reader] = {
    "hello": a_record(Hello, {"device": _device}),
    "measure": a_record(
        Measure,
        {
            "id": a_whole(1),
            "device": _device,
            "fragments": a_list(_fragment, 1, MOST_FRAGMENTS),
            "aim": _AIM,
            "bounds": a_record(Bounds, {"seconds": a_number(0, 86_400, above=True), "bytes": a_whole(1)}),
        },
    ),
}
_REPLIES: Mapping[str, Reader] = {
    "hello": a_record(
        Welcome,
        {
            "machine": _MACHINE,
            "providers": a_list(_NAME, 1, 64),
            "version": _version,
            "protocol": a_whole(PROTOCOL, PROTOCOL),
        },
    ),
    "timings": a_record(Timed, {"id": a_whole(1), "turns": _TURNS}),
    "error": a_record(Refusal, {"id": a_whole(0), "problem": a_text(), "remedy": a_text()}),
}


def parse_request(line: bytes | str) -> Request:
    """Read what a client asks.

    Raises:
        DeviceError: it is not exactly one request.
    """
    request: Request = _parse("request", _REQUESTS, line)
    return request


def parse_reply(line: bytes | str) -> Reply:
    """Read what an agent answers; whether it belongs to a request is for the client to see.

    Raises:
        DeviceError: it is not exactly one reply.
    """
    reply: Reply = _parse("reply", _REPLIES, line)
    return reply


def _parse(word: str, kinds: Mapping[str, Reader], line: bytes | str) -> Any:
    data = load_line(f"a {word}", line)
    if not isinstance(data, dict):
        refuse(f"a {word}", data, "a JSON object")
    kind = data.pop(word, None)
    if not isinstance(kind, str) or kind not in kinds:
        refuse(word, kind, f"one of {', '.join(kinds)}")
    return kinds[kind](kind, data)


def spoken_versions(line: bytes | str) -> tuple[int, str] | None:
    """Protocol and version in a hello's reply of whatever protocol; None where it is no such reply."""
    data = load_line("a reply", line)
    if not isinstance(data, dict) or data.get("reply") != "hello":
        return None
    given = {key: data.get(key) for key in _VERSIONS}
    protocol, version = read_fields("hello", given, _VERSIONS).values()
    return protocol, version


_VERSIONS: Mapping[str, Reader] = {"protocol": a_whole(1), "version": _version}


def _fragment_data(fragment: Fragment) -> dict[str, Any]:
    return {
        "parts": [format_part(part, "") for part in fragment.parts],
        "input": attrs.astuple(fragment.shape),
        "classes": fragment.classes,
        "padding": fragment.padding,
    }


def _measure_data(measure: Measure) -> dict[str, Any]:
    return {
        "id": measure.id,
        "device": str(measure.device),
        "fragments": [_fragment_data(fragment) for fragment in measure.fragments],
        "aim": attrs.asdict(measure.aim),
        "bounds": attrs.asdict(measure.bounds),
    }


_WRITERS: Mapping[type, tuple[str, str, Any]] = {
    Hello: ("request", "hello", lambda hello: {"device": str(hello.device)}),
    Measure: ("request", "measure", _measure_data),
    Welcome: ("reply", "hello", attrs.asdict),
    Timed: ("reply", "timings", attrs.asdict),
    Refusal: ("reply", "error", attrs.asdict),
}


def encode(message: Request | Reply) -> bytes:
    """A message's line, its end included; `parse_request` or `parse_reply` is the inverse.

    Raises:
        DeviceError: it is too long, or has a number that is none.
    """
    word, kind, write = _WRITERS[type(message)]
    try:
        text = json.dumps({word: kind, **write(message)}, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise DeviceError(f"a {word} cannot be written: {error}", "measure again") from None
    if len(text) >= MAX_LINE:
        raise DeviceError(f"a {word} has more than {MAX_LINE} bytes", "ask for fewer networks at a time")
    return text.encode() + b"\n"
