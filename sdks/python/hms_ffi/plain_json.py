"""JSON on the wire, and Python's values in it where no contract says more."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Mapping, NoReturn

from .wellknown import base64_text, moment_text, span_text

#: Beyond this JavaScript's numbers are not exact: larger ones travel as text, as proto3 JSON has it.
_EXACT = 2**53

_SURROGATE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=True).encode


def dump(value: Any) -> bytes:
    """JSON in UTF-8. Raises ValueError or TypeError for what JSON cannot hold."""
    return _dumps(value).encode()


def load(data: bytes) -> Any:
    """Reads JSON in UTF-8; no bytes are an empty object. Raises ValueError."""
    if not data:
        return {}
    text = data.decode()
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if _SURROGATE.search(text):
            # Pairs have been put together; halves cannot be encoded.
            _dumps(value).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text has half of a surrogate pair, which is no character") from None
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def plain(value: Any) -> Any:
    """A Python value as JSON can hold it: bytes are base64, moments RFC 3339, large numbers text. Raises TypeError."""
    if value is None or isinstance(value, (bool, str)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else str(value)
    if isinstance(value, float):
        return float_json(value)
    if isinstance(value, Mapping):
        return {_key(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64_text(bytes(value))
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, timedelta):
        return span_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} cannot travel; give a dict, a dataclass or plain values")


def _key(name: Any) -> str:
    if isinstance(name, bool):
        return "true" if name else "false"
    return name if isinstance(name, str) else str(name)


def float_json(value: float) -> Any:
    """A float; what JSON has no number for is text."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
