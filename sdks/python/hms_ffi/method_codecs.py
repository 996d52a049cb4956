"""How a client speaks with each method of a service: from the contract it has, or without one."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple, Union

from . import protobuf_messages
from .codecs import UNTYPED, Codec, MethodCodecs, generated_codec, json_codec, protobuf_codec
from .contract import Contract, MethodInfo, pascal, service_name
from .errors import UnimplementedError, ValidationError

#: A contract as users have it: bytes or file of a FileDescriptorSet, a generated file's or service's descriptor, or
#: False: none, not even the registry's.
ContractSource = Union[None, bool, bytes, str, "os.PathLike[str]", Contract, Any]


def read_contract(source: ContractSource) -> Optional[Contract]:
    """The contract a user gave; None without one. Raises ValidationError."""
    if source is None or source is False:
        return None
    if isinstance(source, Contract):
        return source
    if isinstance(source, bytes):
        return Contract(source)
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return Contract(file.read())
    descriptor = getattr(source, "DESCRIPTOR", source)
    if protobuf_messages.INSTALLED and hasattr(descriptor, "full_name" if hasattr(descriptor, "file") else "name"):
        return Contract(protobuf_messages.file_descriptor_set(descriptor))
    raise ValidationError("A contract is the bytes or path of a FileDescriptorSet, or a generated module.")


def _lenient_json(contract: Contract, type_name: str) -> Codec:
    return json_codec(contract, type_name, skip_unknown=True)


class MethodBook:
    """The methods of one service version, as far as they are known."""

    def __init__(
        self, service_id: str, version: str, *, service: Optional[str], codec: str, contract: ContractSource
    ) -> None:
        if codec not in ("json", "protobuf"):
            raise ValidationError(f'There is no codec "{codec}"; "json" and "protobuf" are there.')
        self._id = service_id
        self._versioned = f"{service_id}.{version}"
        self._named = service
        self._codec = codec
        self._contract = read_contract(contract)
        self._asked = self._contract is not None or contract is False
        self._default = service_name(service_id, version)
        self._methods: Dict[Tuple[str, Any], MethodCodecs] = {}

    @property
    def service(self) -> str:
        """The full name of the service that is called by default."""
        if self._named is not None:
            return self._full_name(self._named)
        inside = self._inside()
        return inside[0] if len(inside) == 1 else self._default

    def _inside(self) -> List[str]:
        if self._contract is None:
            return []
        return [name for name in self._contract.services if name.rsplit(".", 1)[0] == self._package]

    @property
    def _package(self) -> str:
        """The contract's package; a stock gRPC server's may have no version ("helloworld")."""
        packages = {name.rpartition(".")[0] for name in self._contract.services} if self._contract else set()
        return self._id if self._id in packages and self._versioned not in packages else self._versioned

    def _full_name(self, service: str) -> str:
        return service if "." in service else f"{self._package}.{service}"

    @property
    def needs_contract(self) -> bool:
        """Whether the registry is to be asked for the contract before the first call."""
        return not self._asked

    def learn(self, contract: Optional[Contract]) -> None:
        """Takes what the registry said."""
        self._contract = contract
        self._asked = True

    def method(self, name: str, request: Any) -> MethodCodecs:
        """How to speak with a method; "OtherService/Method" names another service of the package. Raises
        UnimplementedError if the contract does not have it."""
        kind = type(request) if protobuf_messages.is_message(request) else None
        known = self._methods.get((name, kind))
        if known is None:
            known = self._methods[(name, kind)] = self._make(name, request if kind is not None else None)
        return known

    def answers_in(self, codec: str, name: str) -> Codec:
        """How an answer of a method is read that was kept in "json" or "protobuf", whatever this client speaks itself.
        Raises UnimplementedError without what that needs."""
        codecs = self.method(name, None)
        if codecs.info is None or self._contract is None:
            return codecs.response
        make = protobuf_codec if codec == "protobuf" else _lenient_json
        return make(self._contract, codecs.info.output)

    def _make(self, name: str, message: Any) -> MethodCodecs:
        service, _, method = name.rpartition("/")
        service = self._full_name(service) if service else self.service
        info = self._info(service, method)
        if info is not None:
            method = info.name
        if message is not None:
            try:
                request, response = protobuf_messages.classes_of(message, service, method)
            except KeyError:
                raise UnimplementedError(
                    f"{service}/{method} is not in the generated code that this message comes from."
                ) from None
            return MethodCodecs(service, method, generated_codec(request), generated_codec(response), info)
        if info is None or self._contract is None:
            if self._codec == "protobuf":
                raise UnimplementedError(f"There is no contract of {service}, which the protobuf codec needs.")
            return MethodCodecs(service, method, UNTYPED, UNTYPED, None)
        if self._codec == "protobuf":
            return MethodCodecs(
                service,
                method,
                protobuf_codec(self._contract, info.input),
                protobuf_codec(self._contract, info.output),
                info,
            )
        return MethodCodecs(
            service,
            method,
            _lenient_json(self._contract, info.input),
            _lenient_json(self._contract, info.output),
            info,
        )

    def _info(self, service: str, method: str) -> Optional[MethodInfo]:
        contract = self._contract
        if contract is None:
            return None
        found = contract.method(service, method) or contract.method(service, pascal(method))
        if found is None and service in contract.services:
            known = ", ".join(contract.services[service])
            raise UnimplementedError(f"{service} has no method {method}; it has {known}.")
        return found
