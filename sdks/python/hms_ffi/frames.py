"""Frames: the 10-byte header and its data (docs/wire.md)."""

from __future__ import annotations

import struct
from typing import Final, Iterable, Iterator, NamedTuple

REQUEST: Final = 0x01
RESPONSE: Final = 0x02
DATA: Final = 0x03
HELLO: Final = 0x10
CANCEL: Final = 0x11
WINDOW: Final = 0x12
PING: Final = 0x13
GOAWAY: Final = 0x14
HEADERS: Final = 0x15

REMOTE_CLOSED: Final = 0x01
REMOTE_OPEN: Final = 0x02
NO_DATA: Final = 0x04
PONG: Final = 0x01

HEADER_BYTES: Final = 10
#: The most data of a frame.
MAX_DATA_BYTES: Final = 4 * 1024 * 1024
#: A length that cannot come from a peer that speaks frames.
GARBAGE_BYTES: Final = 16 * 1024 * 1024
#: Stream ids end here.
LAST_STREAM: Final = 0xFFFFFFFF

_HEADER = struct.Struct(">IIBB")
_U32 = struct.Struct(">I")


class Frame(NamedTuple):
    """A frame; `oversized` is its length if its data was too large and has been discarded, otherwise 0."""

    stream: int
    type: int
    flags: int
    data: bytes
    oversized: int = 0


class NotFramesError(ValueError):
    """What arrives is no protocol of frames."""


def frame(stream: int, type_: int, flags: int = 0, data: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return _HEADER.pack(len(data), stream, type_, flags) + data


def u32(value: int) -> bytes:
    """A number as WINDOW and GOAWAY carry it."""
    return _U32.pack(value)


def read_u32(data: bytes) -> int:
    """The number at the beginning of a WINDOW's or GOAWAY's data; 0 if there is none."""
    return int(_U32.unpack_from(data)[0]) if len(data) >= 4 else 0


class FrameReader:
    """Cuts what arrives into frames, whatever the pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._discard = 0

    def feed(self, chunk: bytes) -> Iterable[Frame]:
        """The frames that are complete with this chunk, to be read at once. Raises NotFramesError on a length beyond
        any limit, after the frames before it."""
        if not self._buffer and not self._discard:
            rest = len(chunk) - HEADER_BYTES
            if rest >= 0:
                length, stream, type_, flags = _HEADER.unpack_from(chunk)
                # One whole frame in one piece is by far the most frequent case.
                if length == rest and length <= MAX_DATA_BYTES:
                    return (Frame(stream, type_, flags, bytes(chunk[HEADER_BYTES:])),)
        self._buffer += chunk
        return self._cut()

    def _cut(self) -> Iterator[Frame]:
        at = self._skip(0)
        try:
            while not self._discard and len(self._buffer) - at >= HEADER_BYTES:
                length, stream, type_, flags = _HEADER.unpack_from(self._buffer, at)
                start = at + HEADER_BYTES
                if length >= GARBAGE_BYTES:
                    raise NotFramesError(f"a length of {length} bytes")
                if length > MAX_DATA_BYTES:
                    self._discard = length
                    at = self._skip(start)
                    yield Frame(stream, type_, flags, b"", length)
                    continue
                if start + length > len(self._buffer):
                    break
                at = start + length
                yield Frame(stream, type_, flags, bytes(self._buffer[start:at]))
        finally:
            if at:
                del self._buffer[:at]

    def _skip(self, at: int) -> int:
        skipped = min(self._discard, len(self._buffer) - at)
        self._discard -= skipped
        return at + skipped
