"""Messages of the protobuf library, where it is installed."""

from __future__ import annotations

from typing import Any, Optional, Tuple

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory

    INSTALLED = True
except ImportError:
    INSTALLED = False


def is_message(value: Any) -> bool:
    """Whether a value is a message of the protobuf library."""
    return INSTALLED and isinstance(value, message.Message)


def is_message_class(value: Any) -> bool:
    """Whether a value is a generated class."""
    return INSTALLED and isinstance(value, type) and issubclass(value, message.Message)


def classes_of(request: Any, service: str, method: str) -> Tuple[Any, Any]:
    """The classes of a method of the service that a generated message was made for. Raises KeyError."""
    pool = request.DESCRIPTOR.file.pool
    found = pool.FindServiceByName(service).methods_by_name[method]
    return message_factory.GetMessageClass(found.input_type), message_factory.GetMessageClass(found.output_type)


def service_of(descriptor: Any) -> Optional[str]:
    """The full name if this is a generated service descriptor."""
    return str(descriptor.full_name) if INSTALLED and hasattr(descriptor, "methods_by_name") else None


def file_descriptor_set(descriptor: Any) -> bytes:
    """A generated file's or service's descriptor with all it imports, as a FileDescriptorSet."""
    files: dict[str, Any] = {}

    def add(file: Any) -> None:
        if file.name in files:
            return
        for each in file.dependencies:
            add(each)
        files[file.name] = file

    add(getattr(descriptor, "file", descriptor))
    result = descriptor_pb2.FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(result.file.add())
    return bytes(result.SerializeToString())


class DynamicMessages:
    """Turns proto3 JSON into protobuf and back, by a contract."""

    def __init__(self, file_descriptor_set: bytes) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(file_descriptor_set).file:
            self._pool.Add(file)

    def encode(self, type_name: str, value: Any) -> bytes:
        """The bytes of a message given as JSON. Raises ValueError."""
        kind = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(type_name))
        try:
            return bytes(json_format.ParseDict(value, kind(), descriptor_pool=self._pool).SerializeToString())
        except json_format.ParseError as error:
            raise ValueError(str(error)) from error

    def decode(self, type_name: str, data: bytes) -> Any:
        """The JSON of a message's bytes. Raises ValueError."""
        kind = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(type_name))
        try:
            return json_format.MessageToDict(kind.FromString(data), descriptor_pool=self._pool)
        except (message.DecodeError, json_format.Error, TypeError) as error:
            raise ValueError(str(error)) from error
