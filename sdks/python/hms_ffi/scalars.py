"""The numbers of protobuf: their kinds and limits."""

from __future__ import annotations

import math
import struct
from typing import Any, Dict, Final, FrozenSet, Tuple

from . import contract as types

_LIMITS: Final[Dict[int, Tuple[int, int]]] = {
    **dict.fromkeys((types.INT32, types.SINT32, types.SFIXED32), (-(2**31), 2**31 - 1)),
    **dict.fromkeys((types.UINT32, types.FIXED32), (0, 2**32 - 1)),
    **dict.fromkeys((types.INT64, types.SINT64, types.SFIXED64), (-(2**63), 2**63 - 1)),
    **dict.fromkeys((types.UINT64, types.FIXED64), (0, 2**64 - 1)),
}
INTEGERS: Final = frozenset(_LIMITS)
SIXTY_FOUR: Final[FrozenSet[int]] = frozenset((types.INT64, types.SINT64, types.SFIXED64, types.UINT64, types.FIXED64))
FLOATS: Final = frozenset((types.FLOAT, types.DOUBLE))

_LARGEST_FLOAT: Final = 3.4028234663852886e38

#: The wrapper messages, which are their value in JSON.
WRAPPERS: Final[Dict[str, int]] = {
    "DoubleValue": types.DOUBLE,
    "FloatValue": types.FLOAT,
    "Int64Value": types.INT64,
    "UInt64Value": types.UINT64,
    "Int32Value": types.INT32,
    "UInt32Value": types.UINT32,
    "BoolValue": types.BOOL,
    "StringValue": types.STRING,
    "BytesValue": types.BYTES,
}


def integer(kind: int, value: Any) -> int:
    """A whole number within its kind's limits; texts and whole floats are read. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"a whole number is needed, not {type(value).__name__}")
    if isinstance(value, str):
        if value.strip() != value or "_" in value:
            raise ValueError(f'"{value}" is no whole number')
        try:
            whole = int(value)
        except ValueError:
            whole = _whole(value)
    elif isinstance(value, float):
        whole = _whole(value)
    else:
        whole = value
    low, high = _LIMITS[kind]
    if not low <= whole <= high:
        raise ValueError(f"{whole} is not between {low} and {high}")
    return whole


def _whole(value: Any) -> int:
    try:
        as_float = float(value)
        if as_float.is_integer():
            return int(as_float)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{value!r} is no whole number")


def floating(kind: int, value: Any) -> float:
    """A fraction; texts are read. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"a number is needed, not {type(value).__name__}")
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity") and not value[-1:].isdigit():
        raise ValueError(f'"{value}" is no number')
    result = float(value)
    if math.isinf(result) and value not in ("Infinity", "-Infinity"):
        raise ValueError(f"{value} is beyond a number's limits")
    if kind == types.FLOAT and math.isfinite(result):
        try:
            rounded = float(struct.unpack("<f", struct.pack("<f", result))[0])
        except OverflowError:
            raise ValueError(f"{value} is beyond a float's limits") from None
        # The shortest text of the largest float lies a little above it.
        return rounded if abs(result) > abs(rounded) and abs(rounded) == _LARGEST_FLOAT else result
    return result
