"""Contracts: what a FileDescriptorSet says of services and messages, read without any library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from .protobuf_wire import blob, fields, number, text

# google.protobuf.FieldDescriptorProto.Type
DOUBLE, FLOAT, INT64, UINT64, INT32, FIXED64, FIXED32, BOOL, STRING, GROUP, MESSAGE, BYTES, UINT32, ENUM = range(1, 15)
SFIXED32, SFIXED64, SINT32, SINT64 = range(15, 19)

_RULE_EXTENSION = 51000
#: buf.validate's extensions of the options of messages, fields and oneofs.
_VALIDATE_EXTENSION = 1159
_NO_SIDE_EFFECTS, _IDEMPOTENT = 1, 2


@dataclass
class FieldInfo:
    """A field of a message."""

    name: str = ""
    json_name: str = ""
    number: int = 0
    type: int = 0
    #: Full name of the message or enum.
    type_name: str = ""
    repeated: bool = False
    #: Whether being absent differs from having the default.
    presence: bool = False
    #: Name of the oneof it belongs to, if it is a real one.
    oneof: Optional[str] = None
    #: buf.validate.FieldRules, as they travel.
    rules: bytes = b""


@dataclass
class MessageInfo:
    """A message type."""

    name: str
    fields: List[FieldInfo] = field(default_factory=list)
    map_entry: bool = False
    by_name: Dict[str, FieldInfo] = field(default_factory=dict)
    #: buf.validate.MessageRules, as they travel.
    rules: bytes = b""
    #: buf.validate.OneofRules by the name of their oneof.
    oneof_rules: Dict[str, bytes] = field(default_factory=dict)


@dataclass
class EnumInfo:
    """An enum type."""

    name: str
    numbers: Dict[str, int] = field(default_factory=dict)
    names: Dict[int, str] = field(default_factory=dict)


@dataclass
class MethodInfo:
    """A method of a service."""

    service: str
    name: str
    input: str
    output: str
    client_streaming: bool = False
    server_streaming: bool = False
    #: Whether it may be called again when it is unclear if it was served.
    repeatable: bool = False


class Contract:
    """What a set of files describes. Raises MalformedError on bytes that are no FileDescriptorSet."""

    def __init__(self, file_descriptor_set: bytes) -> None:
        self.bytes = file_descriptor_set
        self.messages: Dict[str, MessageInfo] = {}
        self.enums: Dict[str, EnumInfo] = {}
        self.services: Dict[str, Dict[str, MethodInfo]] = {}
        #: Made once by those who read and write messages.
        self.readers: Dict[bool, Any] = {}
        self.dynamic_messages: Any = None
        self.request_rules: Any = None
        for at, value in fields(file_descriptor_set):
            if at == 1:
                self._file(blob(value))

    def _file(self, data: bytes) -> None:
        package, syntax = "", "proto2"
        implicit = False
        parts = []
        for at, value in fields(data):
            if at == 2:
                package = text(value)
            elif at == 8:
                implicit = _presence(option(blob(value), 50)) == _IMPLICIT
            elif at in (12, 14):
                syntax = text(value) if at == 12 else "editions"
            elif at in (4, 5, 6):
                parts.append((at, blob(value)))
        if syntax == "editions" and implicit:
            syntax = _IMPLICIT_EDITIONS
        for at, part in parts:
            if at == 4:
                self._message(part, package, syntax)
            elif at == 5:
                self._enum(part, package)
            else:
                self._service(part, package)

    def _message(self, data: bytes, scope: str, syntax: str) -> None:
        name, raw_fields, nested, oneofs = "", [], [], []
        info = MessageInfo("")
        for at, value in fields(data):
            if at == 1:
                name = text(value)
            elif at == 2:
                raw_fields.append(blob(value))
            elif at in (3, 4):
                nested.append((at, blob(value)))
            elif at == 7:
                info.map_entry = any(place == 7 and part for place, part in fields(blob(value)))
                info.rules += option(blob(value), _VALIDATE_EXTENSION)
            elif at == 8:
                oneof, rules = _oneof(blob(value))
                oneofs.append(oneof)
                if rules:
                    info.oneof_rules[oneof] = rules
        info.name = _joined(scope, name)
        for raw in raw_fields:
            found = _field(raw, oneofs, syntax)
            info.fields.append(found)
            info.by_name[found.name] = info.by_name[found.json_name] = found
        self.messages[info.name] = info
        for at, part in nested:
            if at == 3:
                self._message(part, info.name, syntax)
            else:
                self._enum(part, info.name)

    def _enum(self, data: bytes, scope: str) -> None:
        info = EnumInfo("")
        for at, value in fields(data):
            if at == 1:
                info.name = _joined(scope, text(value))
            elif at == 2:
                name, at_number = "", 0
                for place, part in fields(blob(value)):
                    if place == 1:
                        name = text(part)
                    elif place == 2:
                        at_number = _int32(number(part))
                info.numbers[name] = at_number
                info.names.setdefault(at_number, name)
        self.enums[info.name] = info

    def _service(self, data: bytes, package: str) -> None:
        name, methods = "", []
        for at, value in fields(data):
            if at == 1:
                name = _joined(package, text(value))
            elif at == 2:
                methods.append(blob(value))
        self.services[name] = {each.name: each for each in (_method(name, raw) for raw in methods)}

    def method(self, service: str, name: str) -> Optional[MethodInfo]:
        """A method by its names, if the contract has it."""
        return self.services.get(service, {}).get(name)


def _joined(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def _int32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


_IMPLICIT_EDITIONS = "editions, without presence"
#: google.protobuf.FeatureSet.FieldPresence.IMPLICIT
_IMPLICIT = 2


def option(options: bytes, wanted: int) -> bytes:
    """A message among options, whole where its parts travel separately."""
    return b"".join(blob(value) for at, value in fields(options) if at == wanted)


def _presence(features: bytes) -> int:
    """google.protobuf.FeatureSet.field_presence; 0 where nothing is said."""
    return next((number(value) for at, value in fields(features) if at == 1), 0)


def _oneof(data: bytes) -> Tuple[str, bytes]:
    """Name and rules of a oneof."""
    name, rules = "", b""
    for at, value in fields(data):
        if at == 1:
            name = text(value)
        elif at == 2:
            rules += option(blob(value), _VALIDATE_EXTENSION)
    return name, rules


def _field(data: bytes, oneofs: List[str], syntax: str) -> FieldInfo:
    info = FieldInfo()
    presence = 0
    optional = False
    index: Optional[int] = None
    for at, value in fields(data):
        if at == 1:
            info.name = text(value)
        elif at == 3:
            info.number = number(value)
        elif at == 4:
            info.repeated = value == 3
        elif at == 5:
            info.type = number(value)
        elif at == 6:
            info.type_name = text(value).lstrip(".")
        elif at == 8:
            info.rules += option(blob(value), _VALIDATE_EXTENSION)
            presence = _presence(option(blob(value), 21)) or presence
        elif at == 9:
            index = number(value)
        elif at == 10:
            info.json_name = text(value)
        elif at == 17:
            optional = bool(value)
    info.json_name = info.json_name or camel(info.name)
    if index is not None and not optional:
        info.oneof = oneofs[index]
    implicit = presence == _IMPLICIT or (presence == 0 and syntax in ("proto3", _IMPLICIT_EDITIONS))
    info.presence = not info.repeated and (optional or index is not None or info.type == MESSAGE or not implicit)
    return info


def _method(service: str, data: bytes) -> MethodInfo:
    info = MethodInfo(service, "", "", "")
    for at, value in fields(data):
        if at == 1:
            info.name = text(value)
        elif at == 2:
            info.input = text(value).lstrip(".")
        elif at == 3:
            info.output = text(value).lstrip(".")
        elif at == 4:
            info.repeatable = _repeatable(blob(value))
        elif at == 5:
            info.client_streaming = bool(value)
        elif at == 6:
            info.server_streaming = bool(value)
    return info


def _repeatable(options: bytes) -> bool:
    """Whether the method's rule, or its standard idempotency level, lets it be called again."""
    for at, value in fields(options):
        if at == _RULE_EXTENSION:
            return any(place == 4 and part in (_NO_SIDE_EFFECTS, _IDEMPOTENT) for place, part in fields(blob(value)))
        if at == 34 and value in (_NO_SIDE_EFFECTS, _IDEMPOTENT):
            return True
    return False


def camel(name: str) -> str:
    """A field's name as JSON has it."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def snake(name: str) -> str:
    """A PascalCase or camelCase name as Python has it."""
    out = []
    for at, letter in enumerate(name):
        if letter.isupper() and at and (not name[at - 1].isupper() or name[at + 1 : at + 2].islower()):
            out.append("_")
        out.append(letter.lower())
    return "".join(out)


def pascal(name: str) -> str:
    """A Python name as a contract has it."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def service_name(service_id: str, version: str) -> str:
    """The name of a service without a contract of its own: hms.cdf.debate, v1 → hms.cdf.debate.v1.DebateService."""
    last = service_id.rsplit(".", 1)[-1]
    own = pascal(last.replace("-", "_"))
    return f"{service_id}.{version}.{own if own.endswith('Service') else own + 'Service'}"
