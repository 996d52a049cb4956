"""Type hints as JSON Schemas (2020-12), and JSON as the values that hints promise."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Callable, Dict, Mapping, Tuple, Union, get_args, get_origin

from .wellknown import base64_bytes, moment, span

Schema = Dict[str, Any]

_SIMPLE: Mapping[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    timedelta: {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"},
    Decimal: {"type": ["string", "number"]},
    uuid.UUID: {"type": "string", "format": "uuid"},
    type(None): {"type": "null"},
}
_UNIONS = (Union, getattr(types, "UnionType", Union))


def schema_of(hint: Any) -> Schema:
    """The schema of a hint; what has none may be anything."""
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, args = get_origin(hint), get_args(hint)
    if origin in _UNIONS:
        return {"anyOf": [schema_of(each) for each in args]}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if _is_list(hint, origin):
        return {"type": "array", "items": schema_of(args[0])} if args else {"type": "array"}
    if _is_dict(hint, origin):
        return {"type": "object", "additionalProperties": schema_of(args[1])} if args else {"type": "object"}
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return {"enum": [each.value for each in hint]}
    if dataclasses.is_dataclass(hint):
        return _dataclass_schema(hint)
    if inspect.isclass(hint) and typing.is_typeddict(hint) if hasattr(typing, "is_typeddict") else False:
        hints = typing.get_type_hints(hint)
        required = sorted(hint.__required_keys__)
        return object_schema({name: (each, name in required) for name, each in hints.items()})
    return {}


def _is_list(hint: Any, origin: Any) -> bool:
    kinds = (list, tuple, set, frozenset)
    return hint in kinds or origin in kinds or _abstract(origin, "Sequence", "Iterable", "Collection")


def _is_dict(hint: Any, origin: Any) -> bool:
    return hint is dict or origin is dict or _abstract(origin, "Mapping", "MutableMapping")


def _abstract(origin: Any, *names: str) -> bool:
    return getattr(origin, "__module__", "") == "collections.abc" and getattr(origin, "__name__", "") in names


def _dataclass_schema(hint: Any) -> Schema:
    hints = typing.get_type_hints(hint)
    return object_schema({each.name: (hints[each.name], _required(each)) for each in dataclasses.fields(hint)})


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def object_schema(properties: Mapping[str, Tuple[Any, bool]]) -> Schema:
    """The schema of an object with these properties: hint, and whether it must be there."""
    return {
        "type": "object",
        "properties": {name: schema_of(hint) for name, (hint, _) in properties.items()},
        "required": [name for name, (_, required) in properties.items() if required],
        "additionalProperties": False,
    }


def empty(hint: Any) -> Any:
    """What an absent value of a hint stands for: contracts know no difference between empty and absent lists and maps.
    None if it is missed."""
    origin = get_origin(hint)
    if _is_list(hint, origin):
        return []
    return {} if _is_dict(hint, origin) else None


def converted(hint: Any, value: Any) -> Any:
    """JSON as the value a hint promises; hints that promise nothing leave it. Raises ValueError."""
    reader = _READERS.get(hint)
    if reader is not None:
        return reader(value)
    origin, args = get_origin(hint), get_args(hint)
    if origin in _UNIONS:
        return _union(args, value)
    if _is_list(hint, origin):
        return _list(hint, origin, args, value)
    if _is_dict(hint, origin):
        return _dict(args, value)
    if origin is typing.Literal and value not in args:
        raise ValueError(f"{value!r} is none of {', '.join(map(repr, args))}")
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return hint(value) if value in [each.value for each in hint] else hint[value]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint, value)
    return value


def _union(args: Tuple[Any, ...], value: Any) -> Any:
    problems = []
    for each in sorted(args, key=lambda each: each is not type(None)):
        try:
            return converted(each, value)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems))


def _list(hint: Any, origin: Any, args: Tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"a list is needed, not {type(value).__name__}")
    items = [converted(args[0], each) for each in value] if args else value
    kind = origin or hint
    return kind(items) if kind in (tuple, set, frozenset) else items


def _dict(args: Tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"a dict is needed, not {type(value).__name__}")
    if not args:
        return value
    return {converted(args[0], name): converted(args[1], each) for name, each in value.items()}


def _dataclass(hint: Any, value: Any) -> Any:
    if isinstance(value, hint):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"an object is needed, not {type(value).__name__}")
    hints = typing.get_type_hints(hint)
    known = {each.name: each for each in dataclasses.fields(hint)}
    unknown = [name for name in value if name not in known]
    absent = [name for name, each in known.items() if _required(each) and name not in value]
    value = {**value, **{name: empty(hints[name]) for name in absent if empty(hints[name]) is not None}}
    missing = [name for name in absent if name not in value]
    if unknown or missing:
        said = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(missing)}"] * bool(missing)
        raise ValueError(f"{hint.__name__} has other fields ({'; '.join(said)})")
    return hint(**{name: converted(hints[name], each) for name, each in value.items()})


def _exact(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{kind.__name__} is needed, not {type(value).__name__}")
        return value

    return read


def _int(value: Any) -> int:
    if isinstance(value, str):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(_exact(int)(value))


def _float(value: Any) -> float:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"a number is needed, not {type(value).__name__}")
    return float(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"a number is needed, not {type(value).__name__}")
    try:
        return Decimal(str(value))
    except ArithmeticError:
        raise ValueError(f"{value!r} is no number") from None


def _from_text(kind: type, read: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kind) else read(_exact(str)(value))


_READERS: Mapping[Any, Callable[[Any], Any]] = {
    bool: _exact(bool),
    int: _int,
    float: _float,
    str: _exact(str),
    bytes: _from_text(bytes, base64_bytes),
    datetime: _from_text(datetime, moment),
    date: _from_text(date, date.fromisoformat),
    timedelta: _from_text(timedelta, span),
    Decimal: _decimal,
    uuid.UUID: _from_text(uuid.UUID, uuid.UUID),
    type(None): _exact(type(None)),
}
