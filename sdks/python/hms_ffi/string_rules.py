"""Rules of `buf.validate` on texts and bytes."""

from __future__ import annotations

import re
from typing import Any, Callable, Final, List, Mapping, Optional, Tuple

from . import string_formats as formats
from .linear_regex import LinearRegex
from .protobuf_wire import blob, number
from .rule_messages import RawRules, count, flag, word, words

#: What is wrong with a value, as a sentence without its dot; None: nothing.
Check = Callable[[Any], Optional[str]]

#: Numbers of the fields of StringRules that are known here; the last are `strict` and examples.
STRING_FIELDS: Final = frozenset((*range(1, 25), *range(26, 34), 35, 37, 38, 25, 34))
BYTES_FIELDS: Final = frozenset(range(1, 16))


class RulesBrokenError(Exception):
    """Rules that cannot be evaluated on some value."""


Test = Callable[[str], bool]


def _matches(pattern: str) -> Test:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


#: By the number of the field: what the text must be, and how it is judged.
_FORMATS: Final[Mapping[int, Tuple[str, Test]]] = {
    12: ("email address", formats.is_email),
    13: ("hostname", formats.is_hostname),
    14: ("IP address", formats.is_ip),
    15: ("IPv4 address", lambda text: formats.is_ip(text, 4)),
    16: ("IPv6 address", lambda text: formats.is_ip(text, 6)),
    17: ("URI", formats.is_uri),
    21: ("hostname, or ip address", lambda text: formats.is_hostname(text) or formats.is_ip(text)),
    22: ("UUID", _matches("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
    26: ("IP prefix", formats.is_ip_prefix),
    27: ("IPv4 address with prefix length", lambda text: formats.is_ip_prefix(text, 4)),
    28: ("IPv6 address with prefix length", lambda text: formats.is_ip_prefix(text, 6)),
    29: ("IP prefix", lambda text: formats.is_ip_prefix(text, strict=True)),
    30: ("IPv4 prefix", lambda text: formats.is_ip_prefix(text, 4, strict=True)),
    31: ("IPv6 prefix", lambda text: formats.is_ip_prefix(text, 6, strict=True)),
    33: ("trimmed UUID", _matches("[0-9a-fA-F]{32}")),
    35: ("ULID", _matches("[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")),
    37: ("fully-qualified Protobuf name", _matches(r"[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*")),
    38: (
        "fully-qualified Protobuf name with a leading dot",
        _matches(r"(?:\.[A-Za-z_][A-Za-z_0-9]*)+"),
    ),
}
_HEADER_NAME: Final = {True: _matches(r":?[0-9a-zA-Z!#$%&'*+-.^_|~`]+"), False: _matches(r"[^\x00\n\r]+")}
_HEADER_VALUE: Final = {True: _matches(r"[^\x00-\x08\x0A-\x1F\x7F]*"), False: _matches(r"[^\x00\n\r]*")}


def string_checks(rules: RawRules) -> List[Check]:
    """What a text must be. Raises PatternError."""
    checks = [*_equal(rules), *_lengths(rules)]
    pattern = word(rules, 6)
    if pattern is not None:
        search = LinearRegex(pattern).search
        checks.append(_unless(search, f"does not match regex pattern `{pattern}`"))
    checks.extend(_parts(rules))
    allowed, refused = words(rules, 10), words(rules, 11)
    if allowed:
        checks.append(_unless(frozenset(allowed).__contains__, f"must be in list {listed(allowed)}"))
    if refused:
        checks.append(_if(frozenset(refused).__contains__, f"must not be in list {listed(refused)}"))
    checks.extend(_known_formats(rules))
    return checks


def listed(values: List[str]) -> str:
    """Several values in a sentence."""
    return f"[{', '.join(values)}]"


def _unless(test: Callable[..., bool], said: str) -> Check:
    return lambda value: None if test(value) else said


def _if(test: Callable[..., bool], said: str) -> Check:
    return lambda value: said if test(value) else None


def _equal(rules: RawRules) -> List[Check]:
    wanted = word(rules, 1)
    return [] if wanted is None else [_unless(lambda value: value == wanted, f"must equal `{wanted}`")]


def _byte_length(value: str) -> int:
    # Half a surrogate pair travels as U+FFFD, which has three bytes too.
    return len(value.encode("utf-8", "surrogatepass"))


def _lengths(rules: RawRules) -> List[Check]:
    checks: List[Check] = []
    for fields, measure, unit in (((19, 2, 3), len, "characters"), ((20, 4, 5), _byte_length, "bytes")):
        checks.extend(length_checks(rules, fields, measure, unit))
    return checks


def length_checks(rules: RawRules, fields: Tuple[int, int, int], measure: Callable[..., int], unit: str) -> List[Check]:
    """How long a value must be: the fields are those of the exact, the least and the greatest length."""
    exact, least, most = (count(rules, at) for at in fields)
    checks: List[Check] = []
    if exact is not None:
        checks.append(_unless(lambda value: measure(value) == exact, f"must be {exact} {unit}"))
    if least is not None:
        checks.append(_unless(lambda value: measure(value) >= least, f"must be at least {least} {unit}"))
    if most is not None:
        checks.append(_unless(lambda value: measure(value) <= most, f"must be at most {most} {unit}"))
    return checks


def _parts(rules: RawRules) -> List[Check]:
    prefix, suffix, part, not_part = (word(rules, at) for at in (7, 8, 9, 23))
    checks: List[Check] = []
    if prefix is not None:
        checks.append(_unless(lambda value: value.startswith(prefix), f"does not have prefix `{prefix}`"))
    if suffix is not None:
        checks.append(_unless(lambda value: value.endswith(suffix), f"does not have suffix `{suffix}`"))
    if part is not None:
        checks.append(_unless(lambda value: part in value, f"does not contain substring `{part}`"))
    if not_part is not None:
        checks.append(_if(lambda value: not_part in value, f"contains substring `{not_part}`"))
    return checks


def _known_formats(rules: RawRules) -> List[Check]:
    checks = [_format(*_FORMATS[at]) for at in rules if at in _FORMATS and flag(rules, at)]
    if flag(rules, 18):
        checks.append(_unless(formats.is_uri_reference, "must be a valid URI Reference"))
    if flag(rules, 32):
        pair = "host (hostname or IP address) and port pair"
        checks.append(_format(pair, formats.is_host_and_port, "host and port pair"))
    header = number(rules[24][-1]) if 24 in rules else 0
    strict = 25 not in rules or flag(rules, 25)
    if header == 1:
        checks.append(_format("HTTP header name", _HEADER_NAME[strict]))
    elif header == 2:
        checks.append(_unless(_HEADER_VALUE[strict], "must be a valid HTTP header value"))
    return checks


def _format(name: str, test: Test, when_empty: Optional[str] = None) -> Check:
    empty = f"value is empty, which is not a valid {when_empty or name}"

    def check(value: str) -> Optional[str]:
        if value == "":
            return empty
        return None if test(value) else f"must be a valid {name}"

    return check


def bytes_checks(rules: RawRules) -> List[Check]:
    """What bytes must be. Raises PatternError."""
    checks: List[Check] = []
    if 1 in rules:
        checks.append(_unless(blob(rules[1][-1]).__eq__, f"must be {blob(rules[1][-1]).hex()}"))
    checks.extend(length_checks(rules, (13, 2, 3), len, "bytes"))
    pattern = word(rules, 4)
    if pattern is not None:
        search = LinearRegex(pattern).search
        checks.append(_unless(lambda value: search(_as_text(value)), f"must match regex pattern `{pattern}`"))
    for at, named, test in (
        (5, "have prefix", bytes.startswith),
        (6, "have suffix", bytes.endswith),
        (7, "contain", bytes.__contains__),
    ):
        if at in rules:
            checks.append(_bytes_part(test, blob(rules[at][-1]), named))
    for at, said in ((8, "must be"), (9, "must not be")):
        values = [blob(each) for each in rules.get(at, [])]
        if values:
            described = f"{said} in list {listed([each.decode(errors='replace') for each in values])}"
            make = _unless if at == 8 else _if
            checks.append(make(frozenset(values).__contains__, described))
    for at, name, sizes in ((10, "IP address", (4, 16)), (11, "IPv4 address", (4,)), (12, "IPv6 address", (16,))):
        if flag(rules, at):
            checks.append(_bytes_format(name, sizes))
    if flag(rules, 15):
        checks.append(_bytes_format("UUID", (16,)))
    return checks


def _bytes_part(test: Callable[[bytes, bytes], bool], part: bytes, named: str) -> Check:
    return _unless(lambda value: test(value, part), f"does not {named} {part.hex()}")


def _as_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise RulesBrokenError("must be valid UTF-8 to apply regexp") from error


def _bytes_format(name: str, sizes: Tuple[int, ...]) -> Check:
    def check(value: bytes) -> Optional[str]:
        size = len(value)
        if size == 0:
            return f"value is empty, which is not a valid {name}"
        return None if size in sizes else f"must be a valid {name}"

    return check
