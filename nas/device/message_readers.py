"""Readers of the messages of the protocol: every deviation from its rules is one `DeviceError`."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

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
    LocalFileRequest,
    LogitsReply,
    MeasureRequest,
    MissingReply,
    Network,
    ReceivedReply,
    RunRequest,
    TimingsReply,
)
from nas.device.spec import Device, parse_device
from nas.device.timing import MOST_TIMES, Aim, Timing, Turns
from nas.device.validation import (
    MAX_TEXT,
    Reader,
    integer,
    list_of,
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


def read_version(where: str, data: Any) -> str:
    """Read the version of a package."""
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
    if len(found) > CHUNK_BYTES or base64_text(found) != data:
        reject(where, data, f"the base64 form of at most {CHUNK_BYTES} bytes")
    return found


def base64_text(data: bytes) -> str:
    """Return the base64 form of bytes, in which they are sent."""
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


REQUESTS: Mapping[str, Reader] = {
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
    "local": record_of(
        LocalFileRequest,
        {"id": _ID, "digest": _digest, "size": integer(1, MAX_FILE_BYTES), "descriptor": integer(0)},
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
"""Readers of the requests, by their names."""
REPLIES: Mapping[str, Reader] = {
    "hello": record_of(
        HelloReply,
        {
            "machine": _MACHINE,
            "providers": list_of(_NAME, 1, 64),
            "version": read_version,
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
"""Readers of the replies, by their names."""
