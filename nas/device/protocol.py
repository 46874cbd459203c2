"""Messages between a client and an agent: one JSON object on each line.

A line that is not exactly one of these messages is an error:

    {"request":"hello","device":"cpu:threads=4"}
    {"reply":"hello","protocol":3,"version":"0.1.0","machine":{…},"providers":["CPUExecutionProvider"]}
    {"request":"file","id":1,"digest":"…","size":4096,"offset":0,"data":"…"}
    {"reply":"received","id":1,"received":4096}
    {"request":"local","id":1,"digest":"…","size":4096,"descriptor":5}
    {"request":"measure","id":2,"device":"cpu","networks":[…],"devices":[],"aim":{…},"bounds":{…}}
    {"reply":"timings","id":2,"turns":{…}}
    {"request":"run","id":3,"device":"cpu","model":{…},"images":"…","shape":[…],"dtype":"uint8","bounds":{…}}
    {"reply":"logits","id":3,"digest":"…","count":64,"classes":10,"peak_bytes":1048576,"provider":"…"}
    {"request":"fetch","id":4,"digest":"…","offset":0}
    {"reply":"chunk","id":4,"data":"…"}
    {"reply":"missing","id":3,"digests":["…"]}
    {"reply":"error","id":1,"problem":"…","remedy":"…"}

Files travel in parts, in base64; an agent that the client itself has started opens those that the client holds open.
The agent keeps them under the SHA-256 of their bytes and replies to a request with "missing" where it does not have a
file: a new agent keeps none, and one that has received too much drops the oldest.

Every later protocol must keep the hello request, and `protocol` and `version` in its reply, so that two machines with
different versions can report the difference.
"""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from nas.arch.code import format_part
from nas.device.message_readers import REPLIES, REQUESTS, base64_text, read_version
from nas.device.messages import (
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
    Reply,
    Request,
    RunRequest,
    TimingsReply,
)
from nas.device.validation import (
    MAX_LINE,
    Reader,
    integer,
    load_line,
    read_fields,
    reject,
)
from nas.errors import DeviceError
from nas.graph.fragment import Fragment

REPLY_MARK = b'{"reply":'
"""Start of every reply. The client finds it even after text that a shell printed without a line break."""


def parse_request(line: bytes | str) -> Request:
    """Read a request.

    Raises:
        DeviceError: The line is not exactly one request.
    """
    request: Request = _parse("request", REQUESTS, line)
    return request


def parse_reply(line: bytes | str) -> Reply:
    """Read a reply; the client checks whether it belongs to its request.

    Raises:
        DeviceError: The line is not exactly one reply.
    """
    reply: Reply = _parse("reply", REPLIES, line)
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


_VERSIONS: Mapping[str, Reader] = {"protocol": integer(1), "version": read_version}


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
        "data": base64_text(message.data)
    }


_WRITERS: Mapping[type, tuple[str, str, Any]] = {
    HelloRequest: ("request", "hello", lambda hello: {"device": str(hello.device)}),
    FileRequest: ("request", "file", _with_text),
    LocalFileRequest: ("request", "local", attrs.asdict),
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
