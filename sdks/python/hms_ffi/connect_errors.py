"""Errors as the Connect protocol has them."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict

from .envelope import decode_status
from .errors import BY_NUMBER, InternalError, ServiceError, error_class
from .protobuf_wire import bytes_field, text_field, varint_field

_NUMBERS = {each.code.lower(): number for number, each in enumerate(BY_NUMBER, 1)}
#: What an answer means that is none of the Connect protocol (connectrpc.com, "HTTP to Error Code").
_OF_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


def connect_error(said: Dict[str, Any]) -> ServiceError:
    """The error of an object with `code`, `message` and `details`; details that nobody knows are skipped."""
    name = str(said.get("code", "")).replace("canceled", "cancelled")
    status = varint_field(1, _NUMBERS.get(name, 2)) + text_field(2, str(said.get("message", "")))
    for detail in said.get("details", []):
        value = str(detail.get("value", ""))
        packed = base64.b64decode(value + "=" * (-len(value) % 4))
        url = f"type.googleapis.com/{detail.get('type', '')}"
        status += bytes_field(3, text_field(1, url) + bytes_field(2, packed))
    return decode_status(status) or InternalError("The answer holds an error that is none.")


def error_of_status(status: int, body: bytes) -> ServiceError:
    """The error of an answer that is not 200."""
    try:
        said = json.loads(body)
        if isinstance(said, dict) and "code" in said:
            return connect_error(said)
    except ValueError:
        pass
    return error_class(_OF_STATUS.get(status, 2))(f"The platform answered with the HTTP status {status}.")
