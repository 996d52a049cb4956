from __future__ import annotations

import random
import unittest
from typing import Any, Dict, List

from hms_ffi import frames
from hms_ffi.envelope import (
    Hello,
    Request,
    decode_metadata,
    decode_response,
    decode_status,
    encode_status,
    failure_body,
    metadata_fields,
    request_body,
    request_prefix,
    response_body,
)
from hms_ffi.errors import BY_CODE, FieldViolation, ResourceNotFoundError, ServiceError, ValidationError
from hms_ffi.frames import Frame, FrameReader, NotFramesError, frame
from hms_ffi.protobuf_wire import MalformedError

from .vectors import load

TYPES = {
    "request": (frames.REQUEST, 0),
    "response": (frames.RESPONSE, 0),
    "data": (frames.DATA, 0),
    "end": (frames.DATA, frames.REMOTE_CLOSED | frames.NO_DATA),
    "hello": (frames.HELLO, 0),
    "cancel": (frames.CANCEL, 0),
    "window": (frames.WINDOW, 0),
    "ping": (frames.PING, 0),
    "pong": (frames.PING, frames.PONG),
    "goaway": (frames.GOAWAY, 0),
    "headers": (frames.HEADERS, 0),
}
Vector = Dict[str, Any]


def read(kind: str, data: bytes) -> Vector:
    """What a frame's data says, in the vectors' words."""
    if kind == "request":
        request = Request.decode(data)
        said: Vector = {"service": request.service, "method": request.method, "payload": request.payload.hex()}
        if request.timeout_ns is not None:
            said["timeoutMs"] = request.timeout_ns / 1e6
        if request.metadata:
            said["metadata"] = request.metadata
        if request.codec:
            said["codec"] = request.codec
        return said
    if kind == "response":
        error, payload = decode_response(data)
        return {"payload": payload.hex(), **_error(error)}
    if kind in ("data", "pong"):
        return {"payload": data.hex()}
    if kind == "hello":
        hello = Hello.decode(data)
        return {
            "hello": {
                "version": hello.version,
                "features": hello.features,
                "streamWindow": hello.stream_window,
                "maxStreams": hello.max_streams,
            }
        }
    if kind == "window":
        return {"bytes": frames.read_u32(data)}
    if kind == "headers":
        return {"metadata": decode_metadata(data)}
    if kind == "goaway":
        return {"lastStream": frames.read_u32(data), **_error(decode_status(data[4:]))}
    return {}


def _error(error: Any) -> Vector:
    return {} if error is None else {"error": {"code": error.code, "message": error.message}}


def write(vector: Vector) -> bytes:
    """The bytes of a vector."""
    type_, flags = TYPES[vector["kind"]]
    payload = bytes.fromhex(vector.get("payload", ""))
    kind = vector["kind"]
    if kind == "request":
        data = request_body(
            request_prefix(vector["service"], vector["method"]),
            metadata_fields(vector.get("metadata", {})),
            int(vector.get("timeoutMs", 0) * 1e6),
            vector.get("codec", 0),
            payload,
        )
    elif kind == "response":
        data = failure_body(_failure(vector)) if "error" in vector else response_body(payload)
    elif kind == "hello":
        said = vector["hello"]
        data = Hello(said["version"], said["features"], said["streamWindow"], said["maxStreams"]).encode()
    elif kind == "window":
        data = frames.u32(vector["bytes"])
    elif kind == "goaway":
        data = frames.u32(vector["lastStream"]) + encode_status(_failure(vector))
    elif kind == "headers":
        data = metadata_fields(vector["metadata"])
    elif kind == "ping":
        data = bytes(8)
    else:
        data = payload
    return frame(vector["stream"], type_, vector.get("flags", flags), data)


def _failure(vector: Vector) -> ServiceError:
    return BY_CODE[vector["error"]["code"]](vector["error"]["message"])


class PublishedVectors(unittest.TestCase):
    def test_are_read(self) -> None:
        for vector in load("frames.json"):
            with self.subTest(vector["name"]):
                (found,) = FrameReader().feed(bytes.fromhex(vector["hex"]))
                type_, flags = TYPES[vector["kind"]]
                self.assertEqual((vector["stream"], type_, vector.get("flags", flags)), found[:3])
                for name, value in read(vector["kind"], found.data).items():
                    self.assertEqual(vector.get(name, "absent"), value, name)

    def test_are_written_byte_for_byte(self) -> None:
        for vector in load("frames.json"):
            if vector.get("writes", True):
                with self.subTest(vector["name"]):
                    self.assertEqual(vector["hex"], write(vector).hex())


class FramesInPieces(unittest.TestCase):
    def test_of_every_size_are_the_same_frames(self) -> None:
        whole = b"".join(bytes.fromhex(vector["hex"]) for vector in load("frames.json"))
        expected = list(FrameReader().feed(whole))
        for size in range(1, 80):
            reader = FrameReader()
            found: List[Frame] = []
            for at in range(0, len(whole), size):
                found.extend(reader.feed(whole[at : at + size]))
            self.assertEqual(expected, found, f"pieces of {size}")

    def test_too_large_are_skipped_and_the_next_is_read(self) -> None:
        reader = FrameReader()
        huge = frame(1, frames.DATA, 0, bytes(frames.MAX_DATA_BYTES + 1))
        found: List[Frame] = []
        for at in range(0, len(huge), 1_000_003):
            found.extend(reader.feed(huge[at : at + 1_000_003]))
        found.extend(reader.feed(frame(3, frames.DATA, 0, b"next")))
        self.assertEqual([frames.MAX_DATA_BYTES + 1, 0], [each.oversized for each in found])
        self.assertEqual(b"next", found[1].data)

    def test_before_garbage_are_still_read(self) -> None:
        found = []
        with self.assertRaises(NotFramesError):
            for each in FrameReader().feed(frame(1, frames.CANCEL) + b"\x01\x00\x00\x00" + bytes(6)):
                found.append(each)
        self.assertEqual(1, len(found))


class Envelopes(unittest.TestCase):
    def test_of_random_bytes_are_read_or_refused_never_worse(self) -> None:
        chance = random.Random(7)
        for _ in range(20_000):
            data = bytes(chance.randrange(256) for _ in range(chance.randrange(40)))
            for decode in (Request.decode, decode_response, decode_status, Hello.decode):
                try:
                    decode(data)
                except MalformedError:
                    continue

    def test_keep_every_detail_of_an_error(self) -> None:
        error = ResourceNotFoundError("No patient 7.", resource_type="patient", resource_id="7", reason="GONE")
        error.violations = [FieldViolation("id", "is unknown")]
        error.retry_after = 1.5
        read_back = decode_status(encode_status(error))
        assert isinstance(read_back, ResourceNotFoundError)
        self.assertEqual(
            ("No patient 7.", "GONE", "patient", "7"),
            (read_back.message, read_back.reason, read_back.resource_type, read_back.resource_id),
        )
        self.assertEqual(error.violations, read_back.violations)
        self.assertEqual(1.5, read_back.retry_after)

    def test_refuse_metadata_beyond_64_kib(self) -> None:
        with self.assertRaises(ValidationError):
            metadata_fields({"x": "y" * 70_000})


if __name__ == "__main__":
    unittest.main()
