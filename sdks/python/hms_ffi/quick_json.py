"""proto3 JSON as Python's values, quickly: readers made once for each message type, which know no problems, only that
there is one; `from_json` then finds out which."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from . import contract as types
from .contract import Contract, FieldInfo, MessageInfo

Read = Callable[[Any], Any]


class Readers:
    """The readers of one contract. `special`, `default` and `scalar` are those of `from_json`."""

    def __init__(
        self,
        contract: Contract,
        skip_unknown: bool,
        special: Dict[str, Read],
        default: Callable[[Contract, FieldInfo], Any],
        scalar: Callable[[int, Any], Any],
    ) -> None:
        self._contract = contract
        self._skip_unknown = skip_unknown
        self._special = special
        self._default = default
        self._scalar = scalar
        self._made: Dict[str, Read] = {}

    def message(self, type_name: str) -> Read:
        """Reads messages of a type. What it answers with raises ValueError, TypeError or KeyError."""
        known = self._special.get(type_name) or self._made.get(type_name)
        if known is not None:
            return known
        info = self._contract.messages.get(type_name)
        if info is None or type_name == "google.protobuf.Any":
            return _refuse
        # Messages may contain themselves: their reader is looked up when it is needed.
        self._made[type_name] = lambda value: self._made[type_name](value)
        made = self._made[type_name] = self._make(info)
        return made

    def _make(self, info: MessageInfo) -> Read:
        plan: Dict[str, Tuple[str, Read, bool]] = {}
        oneofs: Dict[str, str] = {}
        template: Dict[str, Any] = {}
        fresh: List[Tuple[str, Callable[[], Any]]] = []
        for field in info.fields:
            nullable = field.type_name == "google.protobuf.Value" and not field.repeated
            plan[field.name] = plan[field.json_name] = (field.name, self._field(field), nullable)
            if field.oneof is not None:
                oneofs[field.name] = field.oneof
                continue
            default = self._default(self._contract, field)
            template[field.name] = default
            if field.repeated:
                fresh.append((field.name, type(default)))
        aliases = [(field.name, field.json_name) for field in info.fields if field.name != field.json_name]
        skip = self._skip_unknown

        def read(value: Any) -> Dict[str, Any]:
            if type(value) is not dict:
                raise ValueError
            result = template.copy()
            for name, make in fresh:
                result[name] = make()
            for key, each in value.items():
                found = plan.get(key)
                if found is None:
                    if skip:
                        continue
                    raise ValueError
                name, read_field, nullable = found
                if each is not None or nullable:
                    result[name] = read_field(each)
            if aliases and any(name in value and other in value for name, other in aliases):
                raise ValueError
            if oneofs:
                chosen = [oneofs[name] for name in result if name in oneofs]
                if len(chosen) != len(set(chosen)):
                    raise ValueError
            return result

        return read

    def _field(self, field: FieldInfo) -> Read:
        entry: Optional[MessageInfo] = self._contract.messages.get(field.type_name)
        if field.repeated and entry is not None and entry.map_entry:
            return self._map(entry)
        single = self._single(field)
        return _list_of(single) if field.repeated else single

    def _map(self, entry: MessageInfo) -> Read:
        if entry.by_name["key"].type != types.STRING:
            return _refuse
        read = self._single(entry.by_name["value"])

        def read_map(value: Any) -> Dict[str, Any]:
            if type(value) is not dict:
                raise ValueError
            return {name: read(each) for name, each in value.items()}

        return read_map

    def _single(self, field: FieldInfo) -> Read:
        kind = field.type
        if kind == types.MESSAGE:
            name = field.type_name
            return self._special.get(name) or (lambda value: self.message(name)(value))
        if kind == types.STRING:
            return _text
        if kind == types.BOOL:
            return _bool
        if kind == types.ENUM:
            return self._enum(field.type_name)
        return lambda value: self._scalar(kind, value)

    def _enum(self, type_name: str) -> Read:
        info = self._contract.enums.get(type_name)
        if info is None:
            return _refuse
        numbers = info.numbers

        def read_enum(value: Any) -> str:
            if type(value) is not str or value not in numbers:
                raise ValueError
            return value

        return read_enum


def _refuse(value: Any) -> Any:
    raise ValueError


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _list_of(read: Read) -> Read:
    def read_list(value: Any) -> List[Any]:
        if type(value) is not list:
            raise ValueError
        return [read(each) for each in value]

    return read_list
