"""Moments, spans of time and bytes as proto3 JSON writes them."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta, timezone

_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))")
#: Ten thousand years, as google.protobuf.Duration has it.
_LONGEST_SPAN = "315576000000"
_SPAN = re.compile(r"(-?)(\d+)(?:\.(\d{1,9}))?s")


def moment_text(value: datetime) -> str:
    """RFC 3339 in UTC; a moment without time zone is taken as UTC."""
    moment = (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    whole = f"{moment.year:04}-{moment.month:02}-{moment.day:02}T{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
    return f"{whole}{_fraction(moment.microsecond)}Z"


def moment(text: str) -> datetime:
    """Reads RFC 3339; beyond microseconds is cut. Raises ValueError."""
    found = _MOMENT.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" is no moment like "2026-11-20T12:34:56Z"')
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    micros = int((found.group(7) or "").ljust(9, "0")[:6])
    at = datetime(year, month, day, hour, minute, second, micros, tzinfo=timezone.utc)
    if found.group(9):
        offset = timedelta(hours=int(found.group(10)), minutes=int(found.group(11)))
        try:
            at = at - offset if found.group(9) == "+" else at + offset
        except OverflowError:
            raise ValueError(f'"{text}" is not in the years 1 to 9999') from None
    return at


def span_text(value: timedelta) -> str:
    """Seconds with an s."""
    micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    sign = "-" if micros < 0 else ""
    seconds, rest = divmod(abs(micros), 1_000_000)
    return f"{sign}{seconds}{_fraction(rest)}s"


def span(text: str) -> timedelta:
    """Reads seconds with an s; beyond microseconds is cut. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" is no span of time like "1.5s"')
    micros = int((found.group(3) or "").ljust(9, "0")[:6])
    seconds = found.group(2).lstrip("0") or "0"
    if len(seconds) > len(_LONGEST_SPAN) or int(seconds) > int(_LONGEST_SPAN):
        raise ValueError(f"a span of time has at most {_LONGEST_SPAN} seconds")
    value = timedelta(seconds=int(seconds), microseconds=micros)
    return -value if found.group(1) else value


def _fraction(micros: int) -> str:
    if micros == 0:
        return ""
    return f".{micros // 1000:03}" if micros % 1000 == 0 else f".{micros:06}"


def base64_text(value: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(value).decode()


def base64_bytes(text: str) -> bytes:
    """Reads base64 or base64url, with or without padding. Raises ValueError."""
    try:
        standard = text.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        raise ValueError("this is no base64") from error
