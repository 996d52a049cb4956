"""How the messages of one method are encoded: JSON, JSON led by a contract, or protobuf."""

from __future__ import annotations

from typing import Any, Callable, Optional

from . import protobuf_messages
from .contract import Contract, MethodInfo
from .envelope import JSON, PROTOBUF, request_prefix
from .errors import InternalError, ServiceError, UnimplementedError, ValidationError
from .from_json import from_json
from .plain_json import dump, load, plain
from .to_json import to_json

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


class Codec:
    """Encodes and decodes messages of one type; errors of both are ValidationError."""

    def __init__(self, number: int, encode: Encode, decode: Decode) -> None:
        self.number = number
        self._encode = encode
        self._decode = decode

    def encode(self, value: Any) -> bytes:
        """The bytes of a message. Raises ValidationError."""
        try:
            return self._encode(value)
        except ServiceError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise ValidationError(f"The message cannot be sent: {error}.") from error

    def decode(self, data: bytes) -> Any:
        """The message in some bytes. Raises ValidationError."""
        try:
            return self._decode(data)
        except ServiceError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise ValidationError(f"The message cannot be read: {error}.") from error

    def decode_answer(self, data: bytes) -> Any:
        """The message in a server's answer. Raises InternalError: the sides have different contracts."""
        try:
            return self.decode(data)
        except ValidationError as error:
            raise InternalError(
                f"The answer cannot be read, the sides have different contracts: {error.message}"
            ) from error


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("an object is needed")
    return value


#: Any JSON object, without a contract.
UNTYPED = Codec(
    JSON, lambda value: dump(_object(plain({} if value is None else value))), lambda data: _object(load(data))
)


def json_codec(contract: Contract, type_name: str, *, skip_unknown: bool) -> Codec:
    """JSON led by a contract."""
    return Codec(
        JSON,
        lambda value: dump(to_json(contract, type_name, {} if value is None else value)),
        lambda data: from_json(contract, type_name, load(data), skip_unknown=skip_unknown),
    )


def protobuf_codec(contract: Contract, type_name: str) -> Codec:
    """Protobuf led by a contract. Raises UnimplementedError without the protobuf library."""
    if not protobuf_messages.INSTALLED:
        raise UnimplementedError(
            "This call is made in protobuf, and the protobuf library is not installed here: "
            "use the JSON codec, or pip install protobuf.",
            reason="CODEC_NOT_SUPPORTED",
        )
    messages = _dynamic(contract)
    return Codec(
        PROTOBUF,
        lambda value: messages.encode(type_name, to_json(contract, type_name, {} if value is None else value)),
        lambda data: from_json(contract, type_name, messages.decode(type_name, data), skip_unknown=True),
    )


def _dynamic(contract: Contract) -> protobuf_messages.DynamicMessages:
    known: Optional[protobuf_messages.DynamicMessages] = contract.dynamic_messages
    if known is None:
        known = contract.dynamic_messages = protobuf_messages.DynamicMessages(contract.bytes)
    return known


def generated_codec(message_class: Any) -> Codec:
    """Protobuf by a generated class; dicts are taken as its fields."""

    def encode(value: Any) -> bytes:
        message = value if isinstance(value, message_class) else message_class(**(value or {}))
        return bytes(message.SerializeToString())

    def decode(data: bytes) -> Any:
        try:
            return message_class.FromString(data)
        except Exception as error:  # The library's DecodeError has no stable base.
            raise ValueError(str(error)) from error

    return Codec(PROTOBUF, encode, decode)


class MethodCodecs:
    """How a client speaks with one method."""

    def __init__(self, service: str, name: str, request: Codec, response: Codec, info: Optional[MethodInfo]) -> None:
        self.service = service
        self.name = name
        self.prefix = request_prefix(service, name)
        self.request = request
        self.response = response
        self.info = info

    @property
    def repeatable(self) -> bool:
        """Whether the contract says that a second call does no harm; without one: no."""
        return self.info is not None and self.info.repeatable
