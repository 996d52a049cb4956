"""proto3 JSON as Python's values, led by a contract."""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Tuple

from . import contract as types
from .contract import Contract, FieldInfo, MessageInfo
from .errors import FieldViolation, ValidationError
from .quick_json import Readers
from .scalars import FLOATS, INTEGERS, WRAPPERS, floating, integer
from .wellknown import base64_bytes, moment, span

_DEFAULTS: Dict[int, Any] = {
    **dict.fromkeys(INTEGERS, 0),
    **dict.fromkeys(FLOATS, 0.0),
    types.BOOL: False,
    types.STRING: "",
    types.BYTES: b"",
}


class _Reading:
    """What is read, and what is wrong with it."""

    def __init__(self, contract: Contract, skip_unknown: bool) -> None:
        self.contract = contract
        self.skip_unknown = skip_unknown
        self.problems: List[FieldViolation] = []

    def add(self, path: str, what: str) -> None:
        self.problems.append(FieldViolation(path, what))

    def attempt(self, read: Callable[[], Any], path: str) -> Any:
        """What `read` answers, or None and a noted problem."""
        try:
            return read()
        except (TypeError, ValueError) as error:
            self.add(path, str(error))
            return None


def from_json(contract: Contract, type_name: str, value: Any, *, skip_unknown: bool) -> Any:
    """A message as a dict with the contract's names: int, bytes, datetime, timedelta, names of enums. What was not sent
    has its default; None where being absent differs from it. Raises ValidationError with all problems."""
    try:
        return _quick(contract, skip_unknown).message(type_name)(value)
    except (KeyError, TypeError, ValueError):
        # Something is unusual; what it is, if it is wrong at all, takes longer to find out.
        pass
    reading = _Reading(contract, skip_unknown)
    read = _message(reading, type_name, value, "")
    if reading.problems:
        found = reading.problems
        listed = "; ".join(f"{each.field or 'the message'}: {each.description}" for each in found[:10])
        raise ValidationError(f"This is no {type_name}: {listed}.", violations=found)
    return read


def _quick(contract: Contract, skip_unknown: bool) -> Readers:
    known = contract.readers.get(skip_unknown)
    if known is None:
        known = contract.readers[skip_unknown] = Readers(contract, skip_unknown, _SPECIAL, _default, _scalar)
    return known


def _message(reading: _Reading, type_name: str, value: Any, path: str) -> Any:
    special = _SPECIAL.get(type_name)
    if special is not None:
        return reading.attempt(lambda: special(value), path)
    info = reading.contract.messages.get(type_name)
    if not isinstance(value, dict):
        reading.add(path, f"an object is needed, not {_kind(value)}")
        return {}
    if type_name == "google.protobuf.Any":
        return _any(reading, value, path)
    if info is None:
        return value
    return _fields(reading, info, value, path)


def _fields(reading: _Reading, info: MessageInfo, value: Dict[str, Any], path: str) -> Dict[str, Any]:
    read: Dict[str, Any] = {}
    for name, each in value.items():
        field = info.by_name.get(name)
        where = f"{path}.{name}" if path else name
        if field is None:
            if not reading.skip_unknown:
                reading.add(where, f"{info.name} has no such field")
        elif each is not None or field.type_name == "google.protobuf.Value":
            if field.name in read:
                reading.add(where, "it is given twice")
            read[field.name] = _field(reading, field, each, where)
    _check_oneofs(reading, info, read, path)
    for field in info.fields:
        if field.name not in read and field.oneof is None:
            read[field.name] = _default(reading.contract, field)
    return read


def _check_oneofs(reading: _Reading, info: MessageInfo, read: Dict[str, Any], path: str) -> None:
    chosen: Dict[str, str] = {}
    for field in info.fields:
        if field.oneof is not None and field.name in read:
            if field.oneof in chosen:
                reading.add(path, f"only one of {chosen[field.oneof]} and {field.name} may be given")
            chosen[field.oneof] = field.name


def _default(contract: Contract, field: FieldInfo) -> Any:
    if field.repeated:
        entry = contract.messages.get(field.type_name)
        return {} if entry is not None and entry.map_entry else []
    if field.presence:
        return None
    if field.type == types.ENUM:
        info = contract.enums.get(field.type_name)
        return info.names.get(0, 0) if info is not None else 0
    return _DEFAULTS.get(field.type)


def _field(reading: _Reading, field: FieldInfo, value: Any, path: str) -> Any:
    if not field.repeated:
        return _single(reading, field, value, path)
    entry = reading.contract.messages.get(field.type_name)
    if entry is not None and entry.map_entry:
        if not isinstance(value, dict):
            reading.add(path, f"an object is needed, not {_kind(value)}")
            return {}
        key, of = entry.by_name["key"], entry.by_name["value"]
        read: Dict[Any, Any] = {}
        for name, each in value.items():
            read[reading.attempt(functools.partial(_map_key, key, name), path)] = _single(
                reading, of, each, f"{path}[{name!r}]"
            )
        return read
    if not isinstance(value, list):
        reading.add(path, f"an array is needed, not {_kind(value)}")
        return []
    return [_single(reading, field, each, f"{path}[{at}]") for at, each in enumerate(value)]


def _map_key(field: FieldInfo, name: str) -> Any:
    if field.type == types.STRING:
        return name
    if field.type == types.BOOL:
        if name not in ("true", "false"):
            raise ValueError(f'"{name}" is no bool')
        return name == "true"
    return integer(field.type, name)


def _single(reading: _Reading, field: FieldInfo, value: Any, path: str) -> Any:
    kind = field.type
    if kind == types.MESSAGE:
        return _message(reading, field.type_name, value, path)
    if kind == types.STRING and isinstance(value, str):
        return value
    if kind == types.ENUM:
        return reading.attempt(lambda: _enum(reading, field.type_name, value), path)
    return reading.attempt(lambda: _scalar(kind, value), path)


def _scalar(kind: int, value: Any) -> Any:
    if kind in INTEGERS:
        return integer(kind, value)
    if kind in FLOATS:
        return floating(kind, value)
    if kind == types.BOOL:
        if not isinstance(value, bool):
            raise ValueError(f"true or false is needed, not {_kind(value)}")
        return value
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, not {_kind(value)}")
    return base64_bytes(value) if kind == types.BYTES else value


def _enum(reading: _Reading, type_name: str, value: Any) -> Any:
    info = reading.contract.enums.get(type_name)
    if isinstance(value, str):
        if info is not None and value not in info.numbers and not reading.skip_unknown:
            raise ValueError(f'"{value}" is none of {", ".join(info.numbers)}')
        return value
    number = integer(types.INT32, value)
    return info.names.get(number, number) if info is not None else number


def _any(reading: _Reading, value: Dict[str, Any], path: str) -> Any:
    if not isinstance(value.get("@type"), str):
        if value:
            reading.add(path, '"@type" is missing')
        return value
    inner = value["@type"].rsplit("/", 1)[-1]
    rest = {name: each for name, each in value.items() if name != "@type"}
    if inner in _SPECIAL:
        return {"@type": value["@type"], "value": _message(reading, inner, rest.get("value"), path)}
    return {"@type": value["@type"], **_message(reading, inner, rest, path)}


def _needs(kind: type, name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"{name} is needed, not {_kind(value)}")
        return value

    return check


def _text_of(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: read(_needs(str, "a text")(value))


_SPECIAL: Dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": _text_of(moment),
    "google.protobuf.Duration": _text_of(span),
    "google.protobuf.Struct": _needs(dict, "an object"),
    "google.protobuf.Value": lambda value: value,
    "google.protobuf.ListValue": _needs(list, "an array"),
    "google.protobuf.FieldMask": _needs(str, "a text"),
    **{f"google.protobuf.{name}": functools.partial(_scalar, kind) for name, kind in WRAPPERS.items()},
}

_KINDS: Tuple[Tuple[type, str], ...] = (
    (bool, "a bool"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (list, "an array"),
    (dict, "an object"),
)


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")
