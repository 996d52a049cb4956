"""What a server knows of a service and its methods."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .call_context import CallContext
from .codecs import UNTYPED, Codec, json_codec, protobuf_codec
from .contract import Contract, MethodInfo
from .envelope import JSON, PROTOBUF
from .errors import ServiceError, UnimplementedError, ValidationError
from .validation import RequestCheck, request_check


class CallCodecs(NamedTuple):
    """How one call's messages are encoded."""

    request: Codec
    response: Codec


@dataclass
class MethodDefinition:
    """A method and its handler."""

    service: str
    name: str
    function: Callable[..., Any]
    arguments: Callable[[Any, CallContext], Dict[str, Any]]
    client_streaming: bool
    server_streaming: bool
    repeatable: bool
    description: str = ""
    contract: Optional[Contract] = None
    info: Optional[MethodInfo] = None
    input_schema: Optional[Dict[str, Any]] = None
    output_schema: Optional[Dict[str, Any]] = None

    def __post_init__(self) -> None:
        self._codecs: Dict[int, CallCodecs] = {}
        #: Judges requests by the rules of their contract, each message of a stream; None: there are no rules.
        self.check: Optional[RequestCheck] = None
        if self.contract is not None and self.info is not None:
            self.check = request_check(self.contract, self.info)

    @property
    def path(self) -> str:
        """As tickets and reports name it: "DebateService/CreateDebate"."""
        return f"{self.service.rsplit('.', 1)[-1]}/{self.name}"

    def codecs(self, number: int) -> CallCodecs:
        """How messages are encoded in a call with this codec. Raises ValidationError, UnimplementedError."""
        known = self._codecs.get(number)
        if known is None:
            known = self._codecs[number] = self._make(number)
        return known

    def _make(self, number: int) -> CallCodecs:
        contract, info = self.contract, self.info
        if number == JSON:
            if contract is None or info is None:
                return CallCodecs(UNTYPED, UNTYPED)
            return CallCodecs(
                json_codec(contract, info.input, skip_unknown=False),
                json_codec(contract, info.output, skip_unknown=False),
            )
        if number != PROTOBUF:
            raise ValidationError(f"There is no codec {number}: 0 is protobuf, 1 is JSON.")
        if contract is None or info is None:
            # Callers that know the service's schemas from the registry begin in protobuf: they change over.
            raise UnimplementedError(
                f"{self.path} has no contract here: call it in JSON (codec 1).", reason="CODEC_NOT_SUPPORTED"
            )
        return CallCodecs(protobuf_codec(contract, info.input), protobuf_codec(contract, info.output))

    def json_of(self, codecs: CallCodecs, request: bytes) -> Optional[bytes]:
        """A request that came in some codec, as JSON; None if it cannot be read."""
        if codecs.request.number == JSON:
            return request
        try:
            return self.codecs(JSON).request.encode(codecs.request.decode(request))
        except ServiceError:
            return None

    def schema(self) -> Dict[str, Any]:
        """As the registry takes it (hms.ffi.v1.MethodSchema)."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": json.dumps(self.input_schema) if self.input_schema else "",
            "outputSchema": json.dumps(self.output_schema) if self.output_schema else "",
            "clientStreaming": self.client_streaming,
            "serverStreaming": self.server_streaming,
            "idempotency": "IDEMPOTENCY_IDEMPOTENT" if self.repeatable else "IDEMPOTENCY_NONE",
        }


@dataclass
class ServiceDefinition:
    """A service version."""

    service_id: str
    version: str
    name: str
    methods: Dict[str, MethodDefinition]
    contract: Optional[Contract]

    def schemas(self) -> List[Dict[str, Any]]:
        """Every method as the registry takes it."""
        return [each.schema() for each in self.methods.values()]
