"""Messages between a client and an agent: one JSON object on each line.

A line that is not exactly one of these messages is an error:

    {"request":"hello","device":"cpu:threads=4"}
    {"reply":"hello","protocol":3,"version":"0.1.0","machine":{…},"providers":["CPUExecutionProvider"]}
    {"request":"file","id":1,"digest":"…","size":4096,"offset":0,"data":"…"}
    {"reply":"received","id":1,"received":4096}
    {"request":"measure","id":2,"device":"cpu","networks":[…],"devices":[],"aim":{…},"bounds":{…}}
    {"reply":"timings","id":2,"turns":{…}}
    {"request":"run","id":3,"device":"cpu","model":{…},"images":"…","shape":[…],"dtype":"uint8","bounds":{…}}
    {"reply":"logits","id":3,"digest":"…","count":64,"classes":10,"peak_bytes":1048576,"provider":"…"}
    {"request":"fetch","id":4,"digest":"…","offset":0}
    {"reply":"chunk","id":4,"data":"…"}
    {"reply":"missing","id":3,"digests":["…"]}
    {"reply":"error","id":1,"problem":"…","remedy":"…"}

Files travel in parts, in base64. The agent keeps them under the SHA-256 of their bytes and replies to a request with
"missing" where it does not have a file: a new agent keeps none, and one that has received too much drops the oldest.

Every later protocol must keep the hello request, and `protocol` and `version` in its reply, so that two machines with
different versions can report the difference.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from nas.arch.code import format_part, parse_part
from nas.arch.layers import Shape
from nas.arch.spec import PADDINGS, Part, Stage, Stem
from nas.device.machine import Machine
from nas.device.messages import (
    CHUNK_BYTES,
    DTYPES,
    MAX_FILE_BYTES,
    MAX_NAME,
    MAX_NETWORKS,
    MAX_PARTS,
    PROTOCOL,
    Bounds,
    ChunkReply,
    ErrorReply,
    FetchRequest,
    FileRequest,
    HelloReply,
    HelloRequest,
    KeptFile,
    LogitsReply,
    MeasureRequest,
    MissingReply,
    Network,
    ReceivedReply,
    Reply,
    Request,
    RunRequest,
    TimingsReply,
)
from nas.device.spec import Device, parse_device
from nas.device.timing import MOST_TIMES, Aim, Timing, Turns
from nas.device.validation import (
    MAX_LINE,
    MAX_TEXT,
    Reader,
    integer,
    list_of,
    load_line,
    number_in,
    one_of,
    optional,
    printable,
    read_fields,
    record_of,
    reject,
    text_line,
)
from nas.errors import ArchitectureError, DeviceError
from nas.graph.fragment import Fragment

REPLY_MARK = b'{"reply":'
"""Start of every reply. The client finds it even after text that a shell printed without a line break."""


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
        "timings": list_of(_timing, 1, MAX_NETWORKS),
        "reference": _reference,
        "noise": number_in(0),
        "warmups": integer(0),
        "rounds_ms": list_of(list_of(_TIME, 2, MAX_NETWORKS + 1), 0, MOST_TIMES),
    },
)


def _turns(where: str, data: Any) -> Turns:
    turns: Turns = _TURNS(where, data)
    if turns.rounds_ms and {len(row) for row in turns.rounds_ms} != {1 + len(turns.timings)}:
        reject(f"{where}.rounds_ms", turns.rounds_ms, "one time for the reference and for each network in each round")
    return turns


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


def _digest(where: str, data: Any) -> str:
    found = isinstance(data, str) and re.fullmatch(r"[0-9a-f]{64}", data)
    return str(data) if found else reject(where, data, "a SHA-256 of 64 hexadecimal digits")


def _bytes(where: str, data: Any) -> bytes:
    """Read bytes in exactly the form that `base64.b64encode` writes."""
    if not isinstance(data, str) or len(data) > 4 * (CHUNK_BYTES // 3 + 1) or not data.isascii():
        reject(where, data, f"the base64 form of at most {CHUNK_BYTES} bytes")
    try:
        found = base64.b64decode(data, validate=True)
    except binascii.Error:
        reject(where, data, "base64")
    if len(found) > CHUNK_BYTES or _text(found) != data:
        reject(where, data, f"the base64 form of at most {CHUNK_BYTES} bytes")
    return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


_SIDE = integer(1, 2**20)
_KEPT_FILE: Mapping[str, Reader] = {
    "digest": _digest,
    "name": text_line(MAX_NAME),
    "size": optional(list_of(_SIDE, 2, 2)),
}
_kept_file = record_of(KeptFile, _KEPT_FILE)


def _network(where: str, data: Any) -> Network:
    found: Network = (_kept_file if isinstance(data, dict) and "digest" in data else _fragment)(where, data)
    return found


_ID = integer(1)
_BOUNDS = record_of(Bounds, {"seconds": number_in(0, 86_400, above=True), "bytes": integer(1)})
_MEASURE: Mapping[str, Reader] = {
    "id": _ID,
    "device": _device,
    "networks": list_of(_network, 1, MAX_NETWORKS),
    "devices": list_of(_device, 0, MAX_NETWORKS),
    "aim": _AIM,
    "bounds": _BOUNDS,
}


def _measure(where: str, data: Any) -> MeasureRequest:
    request = MeasureRequest(**read_fields(where, data, _MEASURE))
    if request.devices and len(request.devices) != len(request.networks):
        reject(f"{where}.devices", data["devices"], "empty, or one device for each network")
    return request


_REQUESTS: Mapping[str, Reader] = {
    "hello": record_of(HelloRequest, {"device": _device}),
    "file": record_of(
        FileRequest,
        {
            "id": _ID,
            "digest": _digest,
            "size": integer(1, MAX_FILE_BYTES),
            "offset": integer(0, MAX_FILE_BYTES),
            "data": _bytes,
        },
    ),
    "measure": _measure,
    "run": record_of(
        RunRequest,
        {
            "id": _ID,
            "device": _device,
            "model": _kept_file,
            "images": _digest,
            "shape": list_of(_SIDE, 4, 4),
            "dtype": one_of(DTYPES),
            "bounds": _BOUNDS,
        },
    ),
    "fetch": record_of(FetchRequest, {"id": _ID, "digest": _digest, "offset": integer(0, MAX_FILE_BYTES)}),
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
    "received": record_of(ReceivedReply, {"id": _ID, "received": integer(1, MAX_FILE_BYTES)}),
    "missing": record_of(MissingReply, {"id": _ID, "digests": list_of(_digest, 1, MAX_NETWORKS)}),
    "timings": record_of(TimingsReply, {"id": _ID, "turns": _turns}),
    "logits": record_of(
        LogitsReply,
        {
            "id": _ID,
            "digest": _digest,
            "count": _SIDE,
            "classes": integer(1, MAX_FILE_BYTES),
            "peak_bytes": optional(integer(0)),
            "provider": _NAME,
        },
    ),
    "chunk": record_of(ChunkReply, {"id": _ID, "data": _bytes}),
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


def _network_data(network: Network) -> dict[str, Any]:
    return attrs.asdict(network) if isinstance(network, KeptFile) else _fragment_data(network)


def _measure_data(measure: MeasureRequest) -> dict[str, Any]:
    return {
        "id": measure.id,
        "device": str(measure.device),
        "networks": [_network_data(network) for network in measure.networks],
        "devices": [str(device) for device in measure.devices],
        "aim": attrs.asdict(measure.aim),
        "bounds": attrs.asdict(measure.bounds),
    }


def _with_text(message: Any) -> dict[str, Any]:
    """Return the fields of a message whose data are written in base64; `attrs.asdict` would copy them."""
    return {field.name: getattr(message, field.name) for field in attrs.fields(type(message))} | {
        "data": _text(message.data)
    }


_WRITERS: Mapping[type, tuple[str, str, Any]] = {
    HelloRequest: ("request", "hello", lambda hello: {"device": str(hello.device)}),
    FileRequest: ("request", "file", _with_text),
    MeasureRequest: ("request", "measure", _measure_data),
    RunRequest: ("request", "run", lambda run: attrs.asdict(run) | {"device": str(run.device)}),
    FetchRequest: ("request", "fetch", attrs.asdict),
    HelloReply: ("reply", "hello", attrs.asdict),
    ReceivedReply: ("reply", "received", attrs.asdict),
    MissingReply: ("reply", "missing", attrs.asdict),
    TimingsReply: ("reply", "timings", attrs.asdict),
    LogitsReply: ("reply", "logits", attrs.asdict),
    ChunkReply: ("reply", "chunk", _with_text),
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
