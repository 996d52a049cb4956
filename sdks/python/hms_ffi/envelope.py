"""The messages of the envelope: Request, Response, Hello, google.rpc.Status (docs/wire.md)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Dict, Final, List, Mapping, Optional, Tuple

from .errors import CancelledCallError, FieldViolation, ServiceError, ValidationError, code_number, error_class
from .protobuf_wire import (
    MalformedError,
    blob,
    bytes_field,
    fields,
    number,
    signed,
    text,
    text_field,
    varint_field,
)

PROTOBUF: Final = 0
JSON: Final = 1

MAX_METADATA_BYTES: Final = 64 * 1024
_MAX_MESSAGE_CHARACTERS: Final = 16_384
_MAX_DETAIL_BYTES: Final = 1024 * 1024
_DOMAIN: Final = "hms-sys"
_TYPE_PREFIX: Final = "type.googleapis.com/"

FEATURE_CANCEL: Final = 1
FEATURE_WINDOW: Final = 2
FEATURE_PING: Final = 4
FEATURE_GOAWAY: Final = 8
FEATURE_JSON: Final = 16
FEATURE_HEADERS: Final = 32
#: What this implementation can do.
FEATURES: Final = FEATURE_CANCEL | FEATURE_WINDOW | FEATURE_PING | FEATURE_GOAWAY | FEATURE_JSON | FEATURE_HEADERS

#: How much of one stream's messages may be on the way before its reader has taken them.
STREAM_WINDOW_BYTES: Final = 256 * 1024


@dataclass
class Hello:
    """What a peer says of itself when a connection begins."""

    version: int = 1
    features: int = 0
    stream_window: int = 0
    max_streams: int = 0

    def encode(self) -> bytes:
        """The bytes of the message."""
        values = (self.version, self.features, self.stream_window, self.max_streams)
        return b"".join(_always(at, value) for at, value in enumerate(values, 1))

    @classmethod
    def decode(cls, data: bytes) -> Hello:
        """Reads the message; missing fields have their defaults. Raises MalformedError."""
        hello = cls()
        names = {1: "version", 2: "features", 3: "stream_window", 4: "max_streams"}
        for at, value in fields(data):
            if at in names:
                setattr(hello, names[at], number(value))
        return hello


def _always(at: int, value: int) -> bytes:
    return varint_field(at, value) or bytes((at << 3, 0))


def request_prefix(service: str, method: str) -> bytes:
    """The part of a Request that is the same for every call of a method."""
    return text_field(1, service) + text_field(2, method)


def metadata_fields(metadata: Mapping[str, str]) -> bytes:
    """Metadata as fields of a Request. Raises ValidationError beyond 64 KiB."""
    encoded = b"".join(
        [_credentials(value) if key == "authorization" else _pair_field(key, value) for key, value in metadata.items()]
    )
    if len(encoded) > MAX_METADATA_BYTES:
        raise ValidationError(f"The metadata has {len(encoded)} bytes; at most {MAX_METADATA_BYTES} travel. Send less.")
    return encoded


def _pair_field(key: str, value: str) -> bytes:
    return bytes_field(5, text_field(1, key.lower()) + text_field(2, str(value)))


@functools.lru_cache(maxsize=64)
def _credentials(value: str) -> bytes:
    """Tickets and tokens are long and go with many calls; only a few are in use at a time."""
    return _pair_field("authorization", value)


def decode_metadata(data: bytes) -> Dict[str, str]:
    """Metadata as fields of a Request; names are lowered, repeated ones joined. Raises MalformedError."""
    found: Dict[str, str] = {}
    for at, value in fields(data):
        if at == 5:
            _add_pair(found, blob(value))
    return found


def _add_pair(metadata: Dict[str, str], data: bytes) -> None:
    key, said = _pair(data)
    known = metadata.get(key)
    metadata[key] = said if known is None else f"{known}, {said}"


def request_body(prefix: bytes, metadata: bytes, timeout_ns: int, codec: int, payload: bytes) -> bytes:
    """The bytes of a Request, its message last."""
    parts = [prefix, metadata]
    if timeout_ns:
        parts.append(varint_field(4, timeout_ns))
    if codec:
        parts.append(varint_field(16, codec))
    if payload:
        parts.append(bytes_field(3, payload))
    return b"".join(parts)


@dataclass
class Request:
    """A Request as it arrived."""

    service: str = ""
    method: str = ""
    payload: bytes = b""
    #: None without a deadline; negative if it is over.
    timeout_ns: Optional[int] = None
    metadata: Dict[str, str] = field(default_factory=dict)
    codec: int = PROTOBUF

    @classmethod
    def decode(cls, data: bytes) -> Request:
        """Reads the message; names of metadata are lowered, repeated ones joined. Raises MalformedError."""
        request = cls()
        for at, value in fields(data):
            if at == 1:
                request.service = text(value)
            elif at == 2:
                request.method = text(value)
            elif at == 3:
                request.payload = blob(value)
            elif at == 4:
                request.timeout_ns = signed(number(value)) or None
            elif at == 5:
                _add_pair(request.metadata, blob(value))
            elif at == 16:
                request.codec = number(value)
        return request


def _pair(data: bytes) -> Tuple[str, str]:
    key = value = ""
    for at, part in fields(data):
        if at == 1:
            key = text(part).lower()
        elif at == 2:
            value = text(part)
    return key, value


def response_body(payload: bytes) -> bytes:
    """The bytes of a Response that succeeded."""
    return bytes_field(2, payload) if payload else b""


def failure_body(error: ServiceError) -> bytes:
    """The bytes of a Response that failed."""
    return bytes_field(1, encode_status(error))


def decode_response(data: bytes) -> Tuple[Optional[ServiceError], bytes]:
    """The error, if it is one, and the message. Raises MalformedError."""
    error: Optional[ServiceError] = None
    payload = b""
    for at, value in fields(data):
        if at == 1:
            error = decode_status(blob(value))
        elif at == 2:
            payload = blob(value)
    return error, payload


def encode_status(error: ServiceError) -> bytes:
    """An error as google.rpc.Status; long texts are cut, details beyond 1 MiB left out."""
    message = error.message
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = f"{message[:_MAX_MESSAGE_CHARACTERS]} …"
    head = varint_field(1, code_number(error.code)) + text_field(2, message)
    details = b"".join(bytes_field(3, packed) for packed in _details(error))
    return head + details if len(details) <= _MAX_DETAIL_BYTES else head


def _details(error: ServiceError) -> List[bytes]:
    packed: List[bytes] = []
    if error.reason is not None or error.metadata:
        info = text_field(1, error.reason or "") + text_field(2, _DOMAIN)
        for key, value in error.metadata.items():
            info += bytes_field(3, text_field(1, key) + text_field(2, str(value)))
        packed.append(_any("google.rpc.ErrorInfo", info))
    if error.violations:
        found = (text_field(1, each.field) + text_field(2, each.description) for each in error.violations)
        packed.append(_any("google.rpc.BadRequest", b"".join(bytes_field(1, each) for each in found)))
    if error.retry_after is not None:
        nanos = round(error.retry_after * 1e9)
        delay = varint_field(1, nanos // 1_000_000_000) + varint_field(2, nanos % 1_000_000_000)
        packed.append(_any("google.rpc.RetryInfo", bytes_field(1, delay)))
    return packed


def _any(type_name: str, value: bytes) -> bytes:
    return text_field(1, _TYPE_PREFIX + type_name) + bytes_field(2, value)


def decode_status(data: bytes) -> Optional[ServiceError]:
    """The error in a google.rpc.Status; None for code 0. Unknown details are skipped. Raises MalformedError."""
    code = 0
    message = ""
    packed: List[bytes] = []
    for at, value in fields(data):
        if at == 1:
            code = number(value)
        elif at == 2:
            message = text(value)
        elif at == 3:
            packed.append(blob(value))
    if code == 0:
        return None
    error = error_class(code)(message)
    for detail in packed:
        _read_detail(detail, error)
    return error


def cancel_reason(data: bytes) -> ServiceError:
    """Why a caller cancels: what its CANCEL says, or that it does."""
    try:
        said = decode_status(data)
    except MalformedError:
        # The reason is for people only; the wish to cancel is clear without it.
        said = None
    return said or CancelledCallError("The caller cancelled the call.")


def _read_detail(data: bytes, error: ServiceError) -> None:
    type_url, value = "", b""
    for at, part in fields(data):
        if at == 1:
            type_url = text(part)
        elif at == 2:
            value = blob(part)
    read = _READERS.get(type_url.rsplit("/", 1)[-1])
    if read is None:
        return
    try:
        read(value, error)
    except MalformedError:
        # A detail that is not what its type says must not hide the error itself.
        return


def _read_info(data: bytes, error: ServiceError) -> None:
    for at, value in fields(data):
        if at == 1:
            error.reason = text(value) or None
        elif at == 3:
            key, said = "", ""
            for place, part in fields(blob(value)):
                if place == 1:
                    key = text(part)
                elif place == 2:
                    said = text(part)
            error.metadata[key] = said


def _read_violations(data: bytes, error: ServiceError) -> None:
    for at, value in fields(data):
        if at != 1:
            continue
        found = {1: "", 2: ""}
        for place, part in fields(blob(value)):
            if place in found:
                found[place] = text(part)
        error.violations.append(FieldViolation(found[1], found[2]))


def _read_retry(data: bytes, error: ServiceError) -> None:
    for at, value in fields(data):
        if at == 1:
            seconds = nanos = 0
            for place, part in fields(blob(value)):
                if place == 1:
                    seconds = signed(number(part))
                elif place == 2:
                    nanos = signed(number(part))
            error.retry_after = seconds + nanos / 1e9


_READERS = {
    "google.rpc.ErrorInfo": _read_info,
    "google.rpc.BadRequest": _read_violations,
    "google.rpc.RetryInfo": _read_retry,
}
