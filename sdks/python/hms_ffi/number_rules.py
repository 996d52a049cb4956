"""Rules of `buf.validate` on numbers, moments and spans of time."""

from __future__ import annotations

import math
import struct
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Callable, Final, List, NamedTuple, Optional, Tuple

from . import contract as types
from .protobuf_wire import blob
from .rule_messages import RawRules, flag, nanoseconds, numbers
from .scalars import FLOATS
from .string_rules import Check, listed

#: Numbers of the fields that are known here, examples included.
INTEGER_FIELDS: Final = frozenset(range(1, 9))
FLOAT_FIELDS: Final = frozenset(range(1, 10))
DURATION_FIELDS: Final = frozenset(range(2, 10))
TIMESTAMP_FIELDS: Final = frozenset(range(2, 11))

_SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


class _Bound(NamedTuple):
    value: Any
    #: Whether the value itself is allowed.
    included: bool


def number_checks(rules: RawRules, kind: int) -> List[Check]:
    """What a number of a type of fields must be."""
    floats = kind in FLOATS
    show = float_text if floats else str
    checks = _equal(numbers(rules, 1, kind), show)
    bounds = _bounds(rules, (2, 3), (4, 5), lambda at: numbers(rules, at, kind)[-1])
    checks.extend(_range(*bounds, show=show))
    checks.extend(_lists(numbers(rules, 6, kind), numbers(rules, 7, kind), show))
    if floats and flag(rules, 8):
        checks.append(lambda value: None if math.isfinite(value) else "must be finite")
    return checks


def as_float(value: float) -> float:
    """A number as a field of 32 bits holds it."""
    if not math.isfinite(value):
        return value
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return value


def float_text(value: float) -> str:
    """The shortest text of a number, as ECMAScript writes it."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(repr(value)), "f")
        return text[:-2] if text.endswith(".0") else text
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        digits, _, exponent = f"{Decimal(repr(value)):e}".partition("e")
    return f"{digits}e{'+' if int(exponent) > 0 else ''}{int(exponent)}"


def _equal(wanted: List[Any], show: Callable[[Any], str]) -> List[Check]:
    return [lambda value: None if value == wanted[-1] else f"must equal {show(wanted[-1])}"] if wanted else []


def _lists(allowed: List[Any], refused: List[Any], show: Callable[[Any], str]) -> List[Check]:
    checks: List[Check] = []
    if allowed:
        said_in = f"must be in list {listed([show(each) for each in allowed])}"
        checks.append(lambda value: None if value in allowed else said_in)
    if refused:
        said_not_in = f"must not be in list {listed([show(each) for each in refused])}"
        checks.append(lambda value: said_not_in if value in refused else None)
    return checks


def enum_checks(rules: RawRules, known: frozenset[int]) -> List[Check]:
    """What the number of an enum's value must be."""
    checks: List[Check] = []
    if flag(rules, 2):
        said = "value must be one of the defined enum values"
        checks.append(lambda value: None if value in known else said)
    checks.extend(_equal(numbers(rules, 1, types.ENUM), str))
    checks.extend(_lists(numbers(rules, 3, types.ENUM), numbers(rules, 4, types.ENUM), str))
    return checks


def bool_checks(rules: RawRules) -> List[Check]:
    """What a bool must be."""
    return _equal(numbers(rules, 1, types.BOOL), lambda value: str(value).lower())


def _bounds(
    rules: RawRules, upper: Tuple[int, int], lower: Tuple[int, int], read: Callable[[int], Any]
) -> Tuple[Optional[_Bound], Optional[_Bound]]:
    """The lower and the upper bound; each is a oneof, of which the last member that came is meant."""
    found: List[Optional[_Bound]] = []
    for exclusive, inclusive in (lower, upper):
        at = next((each for each in reversed(list(rules)) if each in (exclusive, inclusive)), None)
        found.append(None if at is None else _Bound(read(at), at == inclusive))
    return found[0], found[1]


def _range(low: Optional[_Bound], high: Optional[_Bound], *, show: Callable[[Any], str]) -> List[Check]:
    said = [
        f"{word} than {'or equal to ' if bound.included else ''}{show(bound.value)}"
        for word, bound in (("greater", low), ("less", high))
        if bound is not None
    ]
    if not said or any(bound is not None and bound.value != bound.value for bound in (low, high)):
        return []
    outside = low is not None and high is not None and high.value < low.value

    def check(value: Any) -> Optional[str]:
        above = low is None or value > low.value or (low.included and value == low.value)
        below = high is None or value < high.value or (high.included and value == high.value)
        # Where the upper bound lies below the lower one, what lies between them is refused.
        fits = (above or below) if outside else (above and below)
        return None if fits else f"must be {(' or ' if outside else ' and ').join(said)}"

    return [check]


def duration_nanoseconds(value: timedelta) -> int:
    """A span of time as rules compare it."""
    return ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1000


def moment_nanoseconds(value: datetime) -> int:
    """A moment as rules compare it."""
    return duration_nanoseconds(value - _EPOCH)


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    digits = f"{nanos:09}"
    return f".{digits[:3] if nanos % 1_000_000 == 0 else digits[:6] if nanos % 1000 == 0 else digits}"


def duration_text(nanos: int) -> str:
    """A span of time in a sentence."""
    seconds, rest = divmod(abs(nanos), _SECOND)
    return f"{'-' if nanos < 0 else ''}{seconds}{_fraction(rest)}s"


def moment_text(nanos: int) -> str:
    """A moment in a sentence."""
    seconds, rest = divmod(nanos, _SECOND)
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except OverflowError:
        return duration_text(nanos)
    return f"{whole}{_fraction(rest)}Z"


def duration_checks(rules: RawRules) -> List[Check]:
    """What the nanoseconds of a span of time must be."""

    def read(at: int) -> List[int]:
        return [nanoseconds(blob(each)) for each in rules.get(at, [])]

    checks = _equal(read(2), duration_text)
    checks.extend(_range(*_bounds(rules, (3, 4), (5, 6), lambda at: read(at)[-1]), show=duration_text))
    checks.extend(_lists(read(7), read(8), duration_text))
    return checks


def timestamp_checks(rules: RawRules) -> List[Check]:
    """What the nanoseconds of a moment, since 1970, must be."""

    def read(at: int) -> int:
        return nanoseconds(blob(rules[at][-1]))

    checks = _equal([read(2)] if 2 in rules else [], moment_text)
    upper = next((at for at in reversed(list(rules)) if at in (3, 4, 7)), 0)
    lower = next((at for at in reversed(list(rules)) if at in (5, 6, 8)), 0)
    if upper == 7 and flag(rules, 7):
        checks.append(lambda value: "must be less than now" if value > time.time_ns() else None)
    kept = {at: value for at, value in rules.items() if at in (upper, lower)}
    checks.extend(_range(*_bounds(kept, (3, 4), (5, 6), read), show=moment_text))
    if lower == 8 and flag(rules, 8):
        checks.append(lambda value: "must be greater than now" if value < time.time_ns() else None)
    if 9 in rules:
        checks.append(_within(read(9)))
    return checks


def _within(span: int) -> Check:
    said = f"must be within {duration_text(span)} of now"

    def check(value: Any) -> Optional[str]:
        return None if abs(value - time.time_ns()) <= span else said

    return check
