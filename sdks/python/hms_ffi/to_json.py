"""Python's values as proto3 JSON, led by a contract."""

from __future__ import annotations

import dataclasses
import enum
import functools
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, List, Mapping, Optional

from . import contract as types
from .contract import Contract, FieldInfo, MessageInfo
from .errors import FieldViolation, ValidationError
from .plain_json import float_json, plain
from .scalars import FLOATS, INTEGERS, SIXTY_FOUR, WRAPPERS, integer
from .wellknown import base64_text, moment_text, span_text


class _Problems(List[FieldViolation]):
    def add(self, path: str, what: str) -> None:
        self.append(FieldViolation(path, what))


def to_json(contract: Contract, type_name: str, value: Any) -> Any:
    """A message as proto3 JSON with lowerCamelCase names; None is absent. Raises ValidationError with all problems."""
    problems = _Problems()
    written = _message(contract, type_name, value, "", problems)
    if problems:
        listed = "; ".join(f"{each.field or 'the message'}: {each.description}" for each in problems[:10])
        raise ValidationError(f"This is no {type_name}: {listed}.", violations=problems)
    return written


def _message(contract: Contract, type_name: str, value: Any, path: str, problems: _Problems) -> Any:
    special = _SPECIAL.get(type_name)
    if special is not None:
        return _try(lambda: special(value), path, problems)
    if type_name == "google.protobuf.Any":
        return _any(contract, value, path, problems)
    info = contract.messages.get(type_name)
    if info is None:
        return _try(lambda: plain(value), path, problems)
    names = _attributes(value)
    if names is None:
        problems.add(path, f"a dict or dataclass is needed, not {type(value).__name__}")
        return {}
    return _fields(contract, info, names, path, problems)


def _attributes(value: Any) -> Optional[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return None


def _fields(
    contract: Contract, info: MessageInfo, names: Mapping[str, Any], path: str, problems: _Problems
) -> Dict[str, Any]:
    written: Dict[str, Any] = {}
    for name, value in names.items():
        field = info.by_name.get(name)
        where = f"{path}.{name}" if path else str(name)
        if field is None:
            problems.add(where, f"{info.name} has no such field{_nearest(name, info)}")
        elif value is not None:
            written[field.json_name] = _field(contract, field, value, where, problems)
    return written


def _nearest(name: str, info: MessageInfo) -> str:
    import difflib

    close = difflib.get_close_matches(str(name), [each.name for each in info.fields], 1)
    return f"; did you mean {close[0]}?" if close else ""


def _field(contract: Contract, field: FieldInfo, value: Any, path: str, problems: _Problems) -> Any:
    if not field.repeated:
        return _single(contract, field, value, path, problems)
    entry = contract.messages.get(field.type_name)
    if entry is not None and entry.map_entry:
        if not isinstance(value, Mapping):
            problems.add(path, f"a dict is needed, not {type(value).__name__}")
            return {}
        of = entry.by_name["value"]
        key = _map_key(entry.by_name["key"])
        written: Dict[Any, Any] = {}
        for name, each in value.items():
            written[_try(functools.partial(key, name), path, problems)] = _single(
                contract, of, each, f"{path}[{name!r}]", problems
            )
        return written
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        problems.add(path, f"a list is needed, not {type(value).__name__}")
        return []
    return [_single(contract, field, each, f"{path}[{at}]", problems) for at, each in enumerate(value)]


def _map_key(field: FieldInfo) -> Callable[[Any], str]:
    def write(key: Any) -> str:
        if field.type == types.BOOL:
            if not isinstance(key, bool) and key not in ("true", "false"):
                raise ValueError(f"{key!r} is no bool")
            return str(key).lower()
        if field.type == types.STRING:
            return _text(key)
        return str(integer(field.type, key))

    return write


def _single(contract: Contract, field: FieldInfo, value: Any, path: str, problems: _Problems) -> Any:
    if field.type == types.MESSAGE:
        return _message(contract, field.type_name, value, path, problems)
    if field.type == types.ENUM:
        return _try(lambda: _enum(contract, field.type_name, value), path, problems)
    return _try(lambda: _scalar(field.type, value), path, problems)


def _try(write: Callable[[], Any], path: str, problems: _Problems) -> Any:
    try:
        return write()
    except (TypeError, ValueError) as error:
        problems.add(path, str(error))
        return None


def _scalar(kind: int, value: Any) -> Any:
    if kind in INTEGERS:
        whole = integer(kind, value)
        return str(whole) if kind in SIXTY_FOUR else whole
    if kind in FLOATS:
        if isinstance(value, bool) or (not isinstance(value, (int, float, str)) and not hasattr(value, "__float__")):
            raise ValueError(f"a number is needed, not {type(value).__name__}")
        return float_json(float(value))
    if kind == types.BOOL:
        if not isinstance(value, bool):
            raise ValueError(f"a bool is needed, not {type(value).__name__}")
        return value
    if kind == types.BYTES:
        if isinstance(value, str) or not isinstance(value, (bytes, bytearray, memoryview)):
            raise ValueError(f"bytes are needed, not {type(value).__name__}")
        return base64_text(bytes(value))
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, bool, int, float, list, tuple, dict)):
        raise ValueError(f"a text is needed, not {type(value).__name__}")
    return str(plain(value))


def _enum(contract: Contract, type_name: str, value: Any) -> Any:
    info = contract.enums.get(type_name)
    if isinstance(value, enum.Enum):
        value = value.name if info is not None and value.name in info.numbers else value.value
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"a name or number of {type_name} is needed, not {type(value).__name__}")
    if isinstance(value, str) and info is not None and value not in info.numbers:
        raise ValueError(f'"{value}" is none of {", ".join(info.numbers)}')
    if isinstance(value, int) and info is not None:
        return info.names.get(value, value)
    return value


def _any(contract: Contract, value: Any, path: str, problems: _Problems) -> Any:
    if not isinstance(value, Mapping) or not isinstance(value.get("@type"), str):
        problems.add(path, 'a dict with "@type" is needed')
        return {}
    inner = str(value["@type"]).rsplit("/", 1)[-1]
    rest = {name: each for name, each in value.items() if name != "@type"}
    if inner in _SPECIAL:
        return {"@type": value["@type"], "value": _message(contract, inner, rest.get("value"), path, problems)}
    return {"@type": value["@type"], **_message(contract, inner, rest, path, problems)}


def _moment(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, datetime):
        raise ValueError(f"a datetime is needed, not {type(value).__name__}")
    return moment_text(value)


def _span(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return span_text(timedelta(seconds=value))
    if not isinstance(value, timedelta):
        raise ValueError(f"a timedelta or seconds are needed, not {type(value).__name__}")
    return span_text(value)


def _struct(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"a dict is needed, not {type(value).__name__}")
    return plain(value)


_SPECIAL: Dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": _moment,
    "google.protobuf.Duration": _span,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": plain,
    "google.protobuf.ListValue": plain,
    "google.protobuf.FieldMask": lambda value: value if isinstance(value, str) else ",".join(value),
    **{f"google.protobuf.{name}": functools.partial(_scalar, kind) for name, kind in WRAPPERS.items()},
}
