"""Rules of `buf.validate` on single values: which go with which type of field."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Final, FrozenSet, List, Mapping, NamedTuple, Optional

from . import contract as types
from .contract import Contract, FieldInfo
from .errors import ValidationError
from .linear_regex import PatternError
from .number_rules import (
    DURATION_FIELDS,
    FLOAT_FIELDS,
    INTEGER_FIELDS,
    TIMESTAMP_FIELDS,
    as_float,
    bool_checks,
    duration_checks,
    duration_nanoseconds,
    enum_checks,
    moment_nanoseconds,
    number_checks,
    timestamp_checks,
)
from .protobuf_wire import blob
from .rule_messages import (
    ANY_RULES,
    BOOL_RULES,
    BYTES_RULES,
    DURATION_RULES,
    ENUM_RULES,
    FIELD_MASK_RULES,
    RULES_OF_TYPE,
    STRING_RULES,
    TIMESTAMP_RULES,
    FieldRules,
    RawRules,
    raw_rules,
    words,
)
from .scalars import FLOATS, WRAPPERS
from .string_rules import BYTES_FIELDS, STRING_FIELDS, Check, bytes_checks, listed, string_checks

_MESSAGES: Final[Mapping[str, int]] = {
    "google.protobuf.Any": ANY_RULES,
    "google.protobuf.Duration": DURATION_RULES,
    "google.protobuf.FieldMask": FIELD_MASK_RULES,
    "google.protobuf.Timestamp": TIMESTAMP_RULES,
}
_KNOWN_FIELDS: Final[Mapping[int, FrozenSet[int]]] = {
    ANY_RULES: frozenset((2, 3)),
    BOOL_RULES: frozenset((1, 2)),
    BYTES_RULES: BYTES_FIELDS,
    DURATION_RULES: DURATION_FIELDS,
    ENUM_RULES: frozenset(range(1, 6)),
    FIELD_MASK_RULES: frozenset(range(1, 5)),
    STRING_RULES: STRING_FIELDS,
    TIMESTAMP_RULES: TIMESTAMP_FIELDS,
}
_ZEROS: Final[Mapping[int, Any]] = {types.BOOL: False, types.STRING: "", types.BYTES: b""}


class ValueRules(NamedTuple):
    """What a value must be."""

    checks: List[Check]
    #: Makes of a value what the checks compare; None: it is so already.
    adapt: Optional[Callable[[Any], Any]]
    #: Whether there are rules in CEL, or some that are not known here.
    beyond: bool

    def problems(self, value: Any) -> List[str]:
        """What is wrong with a value."""
        compared = value if self.adapt is None else self.adapt(value)
        return [said for said in (check(compared) for check in self.checks) if said is not None]


def value_rules(contract: Contract, field: FieldInfo, rules: FieldRules, where: str) -> ValueRules:
    """The rules on a value of a field, which may be an item of a list, a key or a value of a map. Raises
    ValidationError if they do not fit."""
    kind, wanted = _compared_type(field)
    if rules.kind not in (0, wanted):
        raise unfit(where)
    if rules.kind == 0:
        return ValueRules([], None, rules.beyond)
    known = _KNOWN_FIELDS.get(wanted) or (FLOAT_FIELDS if kind in FLOATS else INTEGER_FIELDS)
    beyond = rules.beyond or any(at not in known for at in rules.rules)
    try:
        checks = _checks(contract, field, wanted, rules.rules)
    except PatternError as error:
        raise ValidationError(f"{where} has a pattern that cannot be used: {error}. Correct the contract.") from error
    return ValueRules(checks, _adaption(contract, field, wanted), beyond)


def unfit(where: str) -> ValidationError:
    """The error of a field whose rules are for another type."""
    return ValidationError(f"{where} has rules of buf.validate that are not made for its type. Correct the contract.")


def _compared_type(field: FieldInfo) -> tuple[int, int]:
    """The scalar type of a field, that of its value for wrappers, and the rules that go with it."""
    if field.type != types.MESSAGE:
        return field.type, RULES_OF_TYPE.get(field.type, 0)
    if field.type_name in _MESSAGES:
        return field.type, _MESSAGES[field.type_name]
    wrapped = WRAPPERS.get(field.type_name[len("google.protobuf.") :], 0)
    return wrapped, RULES_OF_TYPE.get(wrapped, 0)


def _checks(contract: Contract, field: FieldInfo, kind: int, rules: RawRules) -> List[Check]:
    if kind == STRING_RULES:
        return string_checks(rules)
    if kind == BYTES_RULES:
        return bytes_checks(rules)
    if kind == ENUM_RULES:
        return enum_checks(rules, frozenset(_numbers(contract, field).values()))
    simple = {
        ANY_RULES: _any_checks,
        BOOL_RULES: bool_checks,
        DURATION_RULES: duration_checks,
        FIELD_MASK_RULES: _field_mask_checks,
        TIMESTAMP_RULES: timestamp_checks,
    }.get(kind)
    return simple(rules) if simple is not None else number_checks(rules, _compared_type(field)[0])


def _numbers(contract: Contract, field: FieldInfo) -> Dict[str, int]:
    info = contract.enums.get(field.type_name)
    return info.numbers if info is not None else {}


def _adaption(contract: Contract, field: FieldInfo, kind: int) -> Optional[Callable[[Any], Any]]:
    if kind == ENUM_RULES:
        return enum_number(contract, field)
    if kind == RULES_OF_TYPE[types.FLOAT]:
        return as_float
    return {
        ANY_RULES: lambda value: value.get("@type", ""),
        DURATION_RULES: duration_nanoseconds,
        FIELD_MASK_RULES: _paths,
        TIMESTAMP_RULES: moment_nanoseconds,
    }.get(kind)


def enum_number(contract: Contract, field: FieldInfo) -> Callable[[Any], Any]:
    """Makes numbers of the names of an enum's values."""
    numbers = _numbers(contract, field)
    return lambda value: numbers.get(value, value) if isinstance(value, str) else value


def zero_test(contract: Contract, field: FieldInfo) -> Callable[[Any], bool]:
    """Whether a single value is its type's zero; messages never are."""
    if field.type == types.ENUM:
        number = enum_number(contract, field)
        first = next(iter(_numbers(contract, field).values()), 0)
        return lambda value: bool(number(value) == first)
    if field.type == types.MESSAGE:
        return lambda value: False
    zero = _ZEROS.get(field.type, 0)
    return lambda value: bool(value == zero)


def _any_checks(rules: RawRules) -> List[Check]:
    allowed, refused = words(rules, 2), words(rules, 3)
    checks: List[Check] = []
    if allowed:
        checks.append(lambda value: None if value in allowed else "type URL must be in the allow list")
    if refused:
        checks.append(lambda value: "type URL must not be in the block list" if value in refused else None)
    return checks


def _paths(value: str) -> List[str]:
    """The paths of a field mask as contracts write them."""
    snake = re.sub("[A-Z]", lambda found: f"_{found.group().lower()}", value)
    return snake.split(",") if snake else []


def _field_mask_checks(rules: RawRules) -> List[Check]:
    checks: List[Check] = []
    if 1 in rules:
        wanted = words(raw_rules(blob(rules[1][-1])), 1)
        checks.append(lambda value: None if value == wanted else f"must equal paths {listed(wanted)}")
    allowed, refused = words(rules, 2), words(rules, 3)
    if allowed:
        said_in = f"must only contain paths in {listed(allowed)}"
        checks.append(lambda value: None if all(_covers(allowed, path) for path in value) else said_in)
    if refused:
        said_not_in = f"must not contain any paths in {listed(refused)}"
        checks.append(lambda value: said_not_in if any(_covers(refused, path) for path in value) else None)
    return checks


def _covers(paths: List[str], path: str) -> bool:
    return any(path == each or path.startswith(f"{each}.") for each in paths)
