"""Tests of the protocol: messages are read back unchanged, and every other line is one kind of error."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.device.messages import (
    CHUNK_BYTES,
    ErrorReply,
    FileRequest,
    HelloRequest,
    KeptFile,
    MeasureRequest,
    Reply,
    Request,
    RunRequest,
)
from nas.device.protocol import REPLY_MARK, encode, parse_reply, parse_request, protocol_versions
from nas.device.reference import REFERENCE
from nas.device.spec import Device, parse_device
from nas.device.timing import Aim
from nas.device.validation import MAX_LINE
from nas.errors import DeviceError
from tests.device.strategies import replies, requests

PARSERS: tuple[Callable[[bytes | str], Request | Reply], ...] = (parse_request, parse_reply)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("request", "reply", "id", "device", "networks", "aim", "bounds", "turns", "machine", "problem", "remedy")
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1e999,
    -1e999,
    float("nan"),
    10**400,
    -(10**30),
    2**63,
    0.5,
    "",
    "1",
    "\ud800",
    [],
    {},
)
RANDOMS = st.randoms(use_true_random=True)
MUTATIONS = 25  # of each message


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal: 1 equals 1.0 but not true, and devices may differ in spelling."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_entry(key, one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _same_entry(key: str, one: Any, other: Any) -> bool:
    if key == "devices":
        return [*map(parse_device, one)] == [*map(parse_device, other)]
    return parse_device(one) == parse_device(other) if key == "device" else same(one, other)


def accepted(line: bytes | str) -> list[Request | Reply]:
    """Return the messages that a line is read as.

    Also check that each is written back unchanged, and that a parser which rejects the line raises a `DeviceError`.
    """
    found: list[Request | Reply] = []
    caught: list[DeviceError] = []
    for parse in PARSERS:
        try:
            message = parse(line)
        except DeviceError as error:
            caught.append(error)
            continue
        again = encode(message)
        assert parse(again) == message
        assert same(json.loads(line), json.loads(again))
        found.append(message)
    assert all(error.problem.isprintable() and error.remedy.isprintable() for error in caught)
    return found


@given(requests())
@settings(max_examples=60)
def test_a_request_is_read_back_unchanged(request: Request) -> None:
    line = encode(request)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert accepted(line) == [request]
    assert accepted(line.decode().strip()) == [request]


@given(replies())
@settings(max_examples=120)
def test_a_reply_is_read_back_unchanged(reply: Reply) -> None:
    line = encode(reply)
    assert line.startswith(REPLY_MARK)
    assert line.count(b"\n") == 1
    assert accepted(line) == [reply]


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda rest: REPLY_MARK + rest))
@settings(max_examples=500)
def test_random_bytes_are_rejected(line: bytes) -> None:
    assert not accepted(line)


@given(st.text(max_size=60) | st.text('{}[]":,request\\u0d8 1e9', max_size=60))
@settings(max_examples=500)
def test_random_text_is_rejected(line: str) -> None:
    assert not accepted(line)


@given(JSON | st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(["hello", "measure", "error"]), max_size=6))
@settings(max_examples=300)
def test_random_json_is_rejected_or_a_valid_message(data: Any) -> None:
    for message in accepted(json.dumps(data)):
        assert isinstance(message, HelloRequest | ErrorReply)


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    for key in range(len(data)) if isinstance(data, list) else list(data):
        yield data, key
        if isinstance(data[key], list | dict):
            yield from places(data[key])


def objects(data: Any) -> list[dict[str, Any]]:
    return [data, *(holder[key] for holder, key in places(data) if isinstance(holder[key], dict))]


def drop(data: Any, rng: random.Random) -> None:
    found = rng.choice([each for each in objects(data) if each])
    del found[rng.choice(list(found))]


def add(data: Any, rng: random.Random) -> None:
    found = rng.choice(objects(data))
    found[rng.choice([key for key in (*KEYS, "x", "") if key not in found])] = rng.choice(ODD)


def rename(data: Any, rng: random.Random) -> None:
    found = rng.choice(objects(data))
    key = rng.choice(list(found))
    found[key + rng.choice("x_ 1")] = found.pop(key)


def swap(data: Any, rng: random.Random) -> None:
    holder, key = rng.choice(list(places(data)))
    holder[key] = rng.choice(ODD)


ALWAYS_WRONG = (drop, add, rename)


@given(requests() | replies(), RANDOMS)
@settings(max_examples=40)
def test_a_message_with_other_keys_is_rejected(message: Request | Reply, rng: random.Random) -> None:
    for _ in range(MUTATIONS):
        data = json.loads(encode(message))
        rng.choice(ALWAYS_WRONG)(data, rng)
        assert not accepted(json.dumps(data))


@given(requests() | replies(), RANDOMS)
@settings(max_examples=40)
def test_a_message_with_another_value_is_rejected_or_read_as_written(
    message: Request | Reply, rng: random.Random
) -> None:
    for _ in range(MUTATIONS):
        data = json.loads(encode(message))
        swap(data, rng)
        accepted(json.dumps(data))


@given(requests() | replies(), RANDOMS)
@settings(max_examples=40)
def test_a_line_with_other_bytes_is_rejected_or_read_as_written(message: Request | Reply, rng: random.Random) -> None:
    line = encode(message).strip()
    for _ in range(MUTATIONS):
        at, long = rng.randrange(len(line)), rng.choice((0, 1, 1, 5, len(line)))
        piece = rng.choice(
            (b"", rng.randbytes(rng.randint(1, 3)), rng.choice((b"}", b'"', b",", b"0", b"e9", b"\xff")))
        )
        accepted(line[:at] + piece + line[at + long :])


MEASURE = encode(MeasureRequest(1, Device(), (REFERENCE,), Aim())).decode()
TIMING = {"ratio": 1.0, "spread": 0.0, "min_ms": 1.0, "median_ms": 2.0, "p95_ms": 3.0, "repeats": 5}
TURNS = {"timings": [TIMING], "reference": TIMING, "noise": 0.0, "warmups": 6, "rounds_ms": [[1.0, 2.0]]}
DIGEST = "0" * 64
FILE = encode(FileRequest(1, DIGEST, 8, 0, b"abc")).decode()
RUN = encode(RunRequest(1, Device(), KeptFile(DIGEST, "x.onnx"), DIGEST, (2, 4, 4, 3), "uint8")).decode()


def refused(parse: Callable[[bytes | str], object], line: bytes | str, words: str) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        parse(line)
    assert caught.value.remedy
    assert len(caught.value.problem) < 3000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "not one line of JSON"),
        (b"\xff\xfe", "not one line of JSON"),
        (b"[" * 100_000, "not one line of JSON"),
        (b'{"a":' * 100_000, "not one line of JSON"),
        (b"1" * 5000, "not one line of JSON"),
        (b'"' + b"a" * MAX_LINE + b'"', "more than"),
        ('"' + "ü" * (MAX_LINE // 2) + '"', "more than"),
        ("\ud800", "not one line of JSON"),
        (b"null", "not a JSON object"),
        (b"{}", "request is None"),
        (b'{"request":["hello"]}', "not one of hello, file, local, measure"),
        (b'{"request":"hello","request":"hello","device":"cpu"}', "same key twice"),
        (b'{"request":"hello","device":"tpu"}', "is no device"),
        (b'{"request":"hello","device":7}', "not a device"),
        (b'{"request":"hello","device":"cpu","x":1}', "unknown key 'x'"),
        (b'{"request":"hello"}', "no key 'device'"),
        (MEASURE.replace('"id":1', '"id":true'), "measure.id is True"),
        (MEASURE.replace('"id":1', '"id":1.0'), "measure.id is 1.0"),
        (MEASURE.replace('"least":15', '"least":4'), "timing least is 4"),
        (MEASURE.replace('"spread":0.005', '"spread":NaN'), "NaN is not a finite number"),
        (MEASURE.replace('"spread":0.005', '"spread":1e999'), "spread is inf"),
        (MEASURE.replace('"seconds":600.0', '"seconds":0'), "seconds is 0, not a number above"),
        (MEASURE.replace("600.0", "1" + "0" * 400), "not a number above 0"),
        (MEASURE.replace("[3,160,160]", "[3,160]"), "not a list of 3 to 3 items"),
        (MEASURE.replace("[3,160,160]", "[3,0,160]"), r"input\[1\] is 0"),
        (MEASURE.replace('"symmetric"', '"valid"'), "not one of symmetric, same"),
        (MEASURE.replace("c24 relu", "c24"), "not written as stem conv k3 s2 c24 relu"),
        (MEASURE.replace("k3 s2 c24", "s2 k3 c24"), "not written as"),
        (MEASURE.replace("stem conv", "import os"), "unknown operator"),
        (MEASURE.replace('"stem conv k3 s2 c24 relu",', '"head pool dropout=0",'), "a head in the middle"),
        (MEASURE.replace('"devices":[]', '"devices":["cpu","cpu"]'), "one device for each network"),
        (FILE.replace("YWJj", "YWJ"), "data is 'YWJ', not base64"),
        (FILE.replace("YWJj", "YQ=="[:2] + "*="), "not base64"),
        (FILE.replace("YWJj", "YR=="), "not the base64 form"),
        (FILE.replace("YWJj", "AAAA" * (CHUNK_BYTES // 3 + 2)), "not the base64 form"),
        (FILE.replace("YWJj", "\u00e9"), "not the base64 form"),
        (FILE.replace('"size":8', '"size":0'), "size is 0"),
        (FILE.replace('"size":8', '"size":2000000000'), "size is 2000000000"),
        (FILE.replace(DIGEST, DIGEST[1:]), "not a SHA-256"),
        (FILE.replace(DIGEST, DIGEST[1:] + "A"), "not a SHA-256"),
        (FILE.replace(DIGEST, "../../etc/passwd"), "not a SHA-256"),
        (RUN.replace("[2,4,4,3]", "[2,4,4]"), "not a list of 4 to 4 items"),
        (RUN.replace('"uint8"', '"object"'), "not one of uint8, float32"),
        (RUN.replace('"x.onnx"', '"\\u001b[31m"'), "printable text"),
    ],
)
def test_an_invalid_request_is_rejected_with_the_rule_that_it_breaks(line: bytes | str, words: str) -> None:
    refused(parse_request, line, words)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("ratio", "min_ms", "median_ms", "p95_ms") for value in (0, -1.0, 1e999, "1", None)),
        ("spread", -0.1),
        ("repeats", 0),
        ("repeats", 1.5),
        ("repeats", True),
        ("min_ms", 2.5),
        ("p95_ms", 1.5),
    ],
)
def test_invalid_times_are_rejected(key: str, value: object) -> None:
    good = {"reply": "timings", "id": 1, "turns": TURNS}
    assert accepted(json.dumps(good))
    wrong = TIMING | {key: value}
    for turns in (TURNS | {"timings": [TIMING, wrong], "rounds_ms": []}, TURNS | {"reference": wrong}):
        refused(parse_reply, json.dumps(good | {"turns": turns}), "turns|Infinity")


@pytest.mark.parametrize(
    "turns",
    [
        {"timings": []},
        {"noise": -1},
        {"warmups": 1.0},
        {"reference": TIMING | {"ratio": 2}},
        {"rounds_ms": [[1.0]]},
        {"rounds_ms": [[1.0, 2.0], [1.0, 2.0, 3.0]]},
        {"rounds_ms": [[1.0, 0.0]]},
    ],
)
def test_invalid_results_are_rejected(turns: dict[str, object]) -> None:
    refused(parse_reply, json.dumps({"reply": "timings", "id": 1, "turns": TURNS | turns}), "turns")


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", " a", "a  b", "\u202e", "\ud800", "a" * 2001])
def test_text_with_terminal_control_characters_is_rejected_and_never_sent(text: str) -> None:
    refused(parse_reply, json.dumps({"reply": "error", "id": 0, "problem": text, "remedy": ""}), "printable")
    assert accepted(encode(ErrorReply(0, text, text)))


def test_versions_are_read_from_the_hello_reply_of_any_protocol() -> None:
    assert protocol_versions('{"reply":"hello","protocol":9,"version":"7.1","new":[]}') == (9, "7.1")
    assert protocol_versions('{"reply":"error","id":0,"problem":"","remedy":""}') is None
    assert protocol_versions("[]") is None
    for bad in ('{"reply":"hello"}', '{"reply":"hello","protocol":"1","version":"1.0"}', "x"):
        refused(protocol_versions, bad, "hello|JSON")


def test_a_request_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(DeviceError, match="may have"):
        encode(MeasureRequest(1, Device(), (REFERENCE,) * 13_200, Aim()))
