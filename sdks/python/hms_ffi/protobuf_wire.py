"""The few parts of the protobuf wire format that envelopes and descriptors need."""

from __future__ import annotations

import struct
from typing import Iterator, Tuple, Union

VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5

FieldValue = Union[int, bytes]


class MalformedError(ValueError):
    """Bytes that are no protobuf message."""


#: The varints of one byte.
_SMALL = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """A number as a varint; negative ones as 64-bit two's complement."""
    if 0 <= value < 0x80:
        return _SMALL[value]
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    size = len(value)
    return b"%b%b%b" % (varint(number << 3 | BYTES), _SMALL[size] if size < 0x80 else varint(size), value)


def text_field(number: int, value: str) -> bytes:
    """A string field; nothing if it is empty. What UTF-8 cannot say, halves of surrogate pairs, becomes "?"."""
    return bytes_field(number, value.encode(errors="replace")) if value else b""


def varint_field(number: int, value: int) -> bytes:
    """A number field; nothing if it is 0."""
    return varint(number << 3) + varint(value) if value else b""


def read_varint(data: bytes, at: int) -> Tuple[int, int]:
    """The varint at a place and where it ends."""
    result = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
            if shift > 63:
                raise MalformedError("a number has more than 10 bytes")
    except IndexError:
        raise MalformedError("a number is cut off") from None


def signed(value: int) -> int:
    """A varint as the int64 it stands for."""
    return value - (1 << 64) if value >> 63 else value


def fields(data: bytes) -> Iterator[Tuple[int, FieldValue]]:
    """The fields of a message in their order: number, and an int or bytes. Groups are refused."""
    at, end = 0, len(data)
    while at < end:
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise MalformedError("a field has the number 0")
        if kind == VARINT:
            value, at = read_varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = read_varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise MalformedError(f"field {number} has the unknown wire type {kind}")
        if size > end - at:
            raise MalformedError(f"field {number} is cut off")
        chunk = data[at : at + size]
        at += size
        yield number, chunk if kind == BYTES else struct.unpack("<Q" if size == 8 else "<I", chunk)[0]


def text(value: FieldValue) -> str:
    """A field's bytes as text."""
    if not isinstance(value, bytes):
        raise MalformedError("a text was expected")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a text is not UTF-8") from error


def blob(value: FieldValue) -> bytes:
    """A field that must be length-delimited."""
    if not isinstance(value, bytes):
        raise MalformedError("bytes were expected")
    return value


def number(value: FieldValue) -> int:
    """A field that must be a number."""
    if not isinstance(value, int):
        raise MalformedError("a number was expected")
    return value
