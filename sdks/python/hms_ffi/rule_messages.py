"""The messages of `buf.validate` as they travel in a contract: what rules a field has
(https://github.com/bufbuild/protovalidate, version 1.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Final, List, Mapping, Optional, Tuple

from . import contract as types
from .protobuf_wire import FieldValue, blob, fields, number, read_varint, signed, text

IGNORE_IF_ZERO: Final = 1
IGNORE_ALWAYS: Final = 3

_CEL: Final = (23, 29)
_REQUIRED: Final = 25
_IGNORE: Final = 27
#: Members of the oneof `type` of FieldRules.
_KINDS: Final = frozenset((*range(1, 17), 18, 19, 20, 21, 22, 28))

BOOL_RULES: Final = 13
STRING_RULES: Final = 14
BYTES_RULES: Final = 15
ENUM_RULES: Final = 16
REPEATED_RULES: Final = 18
MAP_RULES: Final = 19
ANY_RULES: Final = 20
DURATION_RULES: Final = 21
TIMESTAMP_RULES: Final = 22
FIELD_MASK_RULES: Final = 28

#: Which rules go with which type of field.
RULES_OF_TYPE: Final[Mapping[int, int]] = {
    types.FLOAT: 1,
    types.DOUBLE: 2,
    types.INT32: 3,
    types.INT64: 4,
    types.UINT32: 5,
    types.UINT64: 6,
    types.SINT32: 7,
    types.SINT64: 8,
    types.FIXED32: 9,
    types.FIXED64: 10,
    types.SFIXED32: 11,
    types.SFIXED64: 12,
    types.BOOL: BOOL_RULES,
    types.STRING: STRING_RULES,
    types.BYTES: BYTES_RULES,
    types.ENUM: ENUM_RULES,
}

#: The numbers of a message's fields, and what came of each, the last one to come last.
RawRules = Dict[int, List[FieldValue]]


def raw_rules(data: bytes) -> RawRules:
    """The fields of a message of rules."""
    found: RawRules = {}
    for at, value in fields(data):
        found[at] = [*found.pop(at, []), value]
    return found


def rules_inside(rules: RawRules, at: int) -> Optional[bytes]:
    """A message inside of a message of rules, whole where its parts travel separately; None: absent."""
    return b"".join(blob(each) for each in rules[at]) if at in rules else None


@dataclass
class FieldRules:
    """buf.validate.FieldRules."""

    required: bool = False
    #: 0: not said.
    ignore: int = 0
    #: Which rules there are, by their field's number; 0: none.
    kind: int = 0
    rules: RawRules = field(default_factory=dict)
    #: Whether there are rules in CEL, or some that are not known here.
    beyond: bool = False


def field_rules(data: bytes) -> FieldRules:
    """Reads buf.validate.FieldRules."""
    found = FieldRules()
    parts: Dict[int, bytes] = {}
    for at, value in fields(data):
        if at == _REQUIRED:
            found.required = bool(value)
        elif at == _IGNORE:
            found.ignore = number(value)
        elif at in _KINDS:
            # A oneof: the last one that came is meant.
            parts = {at: parts.get(at, b"") + blob(value)}
        else:
            found.beyond = True
    for at, part in parts.items():
        found.kind, found.rules = at, raw_rules(part)
    return found


@dataclass
class MessageRules:
    """buf.validate.MessageRules."""

    #: Fields of which one may be set, and whether one must.
    oneofs: List[Tuple[List[str], bool]] = field(default_factory=list)
    beyond: bool = False


def message_rules(data: bytes) -> MessageRules:
    """Reads buf.validate.MessageRules."""
    found = MessageRules()
    for at, value in fields(data):
        if at != 4:
            found.beyond = True
            continue
        rule = raw_rules(blob(value))
        found.oneofs.append(([text(each) for each in rule.get(1, [])], flag(rule, 2)))
    return found


def oneof_required(data: bytes) -> bool:
    """Reads buf.validate.OneofRules."""
    return flag(raw_rules(data), 1)


def flag(rules: RawRules, at: int) -> bool:
    """A bool among rules."""
    return bool(rules[at][-1]) if at in rules else False


def count(rules: RawRules, at: int) -> Optional[int]:
    """A number that counts."""
    return number(rules[at][-1]) if at in rules else None


def words(rules: RawRules, at: int) -> List[str]:
    """Texts among rules."""
    return [text(each) for each in rules.get(at, [])]


def word(rules: RawRules, at: int) -> Optional[str]:
    """A text among rules."""
    return text(rules[at][-1]) if at in rules else None


def _whole(value: int) -> int:
    return signed(value)


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def _fixed(layout: str, bits: int) -> Callable[[int], Any]:
    raw = "<Q" if bits == 64 else "<I"
    return lambda value: struct.unpack(layout, struct.pack(raw, value))[0]


#: How the numbers of rules travel: whether as varints, else in how many bytes; and what they stand for.
_NUMBERS: Final[Mapping[int, Tuple[int, Callable[[int], Any]]]] = {
    types.FLOAT: (4, _fixed("<f", 32)),
    types.DOUBLE: (8, _fixed("<d", 64)),
    types.INT32: (0, _whole),
    types.INT64: (0, _whole),
    types.UINT32: (0, int),
    types.UINT64: (0, int),
    types.SINT32: (0, _zigzag),
    types.SINT64: (0, _zigzag),
    types.FIXED32: (4, int),
    types.FIXED64: (8, int),
    types.SFIXED32: (4, _fixed("<i", 32)),
    types.SFIXED64: (8, _fixed("<q", 64)),
    types.BOOL: (0, bool),
    types.ENUM: (0, _whole),
}


def numbers(rules: RawRules, at: int, kind: int) -> List[Any]:
    """Numbers among rules, of a type of fields, packed or not."""
    size, read = _NUMBERS[kind]
    found: List[Any] = []
    for each in rules.get(at, []):
        found.extend(read(one) for one in (_unpacked(each, size) if isinstance(each, bytes) else [each]))
    return found


def _unpacked(data: bytes, size: int) -> List[int]:
    # Packed numbers are fields without their keys.
    if size:
        return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
    found: List[int] = []
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        found.append(value)
    return found


def nanoseconds(data: bytes) -> int:
    """A google.protobuf.Duration or Timestamp."""
    rule = raw_rules(data)
    seconds, nanos = (signed(number(rule[at][-1])) if at in rule else 0 for at in (1, 2))
    return seconds * 1_000_000_000 + nanos
