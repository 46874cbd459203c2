"""The size of an ONNX file without its tensors, which bounds the memory that reading the file takes.

An empty message of protobuf has two bytes in a file and more than a hundred in memory, so that a file of 1 GB could
take 100 GB. Numbers of tensors take as many bytes in memory as in the file. The bytes of everything else are therefore
counted, from the wire format alone (https://protobuf.dev/programming-guides/encoding), before the file is read.
"""

import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

# For each message, the numbers of the fields that may hold tensors, with the messages in them. Field numbers are those
# of onnx.proto. Other messages are not entered: all of their bytes count.
_NESTED: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph"},
        "graph": {1: "node", 5: "tensor"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor", 10: "tensor"},
    }
)
_NUMBERS = (4, 9, 10)  # float_data, raw_data and double_data of a tensor
MOST_FIELDS = 1_000_000
"""Largest number of fields that are read; EfficientNet-B0 in int8, with 881 operators, has 14,000."""
_LENGTH_DELIMITED = 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT = 0


def structure_bytes(data: bytes) -> int:
    """Return the number of bytes of an ONNX file that are not numbers of its tensors.

    Raises:
        ValueError: The bytes are not in the wire format of protobuf, or there are more than `MOST_FIELDS` fields.
    """
    return len(data) - _numbers_bytes(memoryview(data), "model", itertools.count())


def _numbers_bytes(message: memoryview, kind: str, counter: Iterator[int]) -> int:
    total = 0
    for number, payload in _fields(message, counter):
        if kind == "tensor":
            total += len(payload) if number in _NUMBERS else 0
        elif inner := _NESTED[kind].get(number):
            total += _numbers_bytes(payload, inner, counter)
    return total


def _fields(message: memoryview, counter: Iterator[int]) -> Iterator[tuple[int, memoryview]]:
    """Yield the numbers and the contents of all length-delimited fields, and count all fields."""
    at, end = 0, len(message)
    while at < end:
        if next(counter) > MOST_FIELDS:
            raise ValueError(f"there are more than {MOST_FIELDS:,} fields")
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == _LENGTH_DELIMITED:
            length, at = _varint(message, at)
            if length > end - at:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, message[at : at + length]
            at += length
        elif wire == _VARINT:
            _, at = _varint(message, at)
        elif wire in _FIXED_BYTES:
            at += _FIXED_BYTES[wire]
        else:
            raise ValueError(f"there is no wire type {wire} in ONNX files")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of variable length and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of variable length has no end")
