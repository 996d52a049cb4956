"""Traces: W3C trace context always; spans where the program uses OpenTelemetry's API; trace ids for log lines."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional, Tuple

if TYPE_CHECKING:
    from .service_definition import MethodDefinition

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NAME = "hms.ffi"


def parse_traceparent(text: str) -> Optional[Tuple[str, str, int]]:
    """Trace id, span id and flags; None if it is not valid (W3C Trace Context, §3.2)."""
    found = _TRACEPARENT.fullmatch(text)
    return (found.group(1), found.group(2), int(found.group(3), 16)) if found else None


def _api() -> Any:
    # Not imported here: whoever makes spans has done so, and nobody else pays for it.
    return sys.modules.get("opentelemetry.trace")


def active_traceparent() -> Optional[str]:
    """That of the OpenTelemetry span which is active here; None without one."""
    api = _api()
    if api is None:
        return None
    span = api.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return _traceparent(span)


@contextlib.contextmanager
def server_span(method: MethodDefinition, metadata: Mapping[str, str]) -> Iterator[None]:
    """A span of the call that is answered inside the block, below its caller's; nothing without OpenTelemetry."""
    api = _api()
    if api is None:
        yield
        return
    attributes = {"rpc.system": "hms_ffi", "rpc.service": method.service, "rpc.method": method.name}
    tracer = api.get_tracer(_NAME)
    parent = _remote(api, metadata.get("traceparent", ""))
    name = f"{method.service}/{method.name}"
    with tracer.start_as_current_span(name, context=parent, kind=api.SpanKind.SERVER, attributes=attributes):
        yield


class ClientSpan:
    """The span of one call that this program makes."""

    __slots__ = ("_api", "_span")

    def __init__(self, api: Any, service: str, method: str) -> None:
        attributes = {"rpc.system": "hms_ffi", "rpc.service": service, "rpc.method": method}
        self._api = api
        self._span = api.get_tracer(_NAME).start_span(
            f"{service}/{method}", kind=api.SpanKind.CLIENT, attributes=attributes
        )

    @property
    def traceparent(self) -> str:
        """What the callee goes on with."""
        return _traceparent(self._span.get_span_context())

    def end(self, code: int, why: Optional[str]) -> None:
        """The call has ended, with the number of its code."""
        self._span.set_attribute("rpc.grpc.status_code", code)
        if code:
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, why))
        self._span.end()


def client_span(service: str, method: str, metadata: Mapping[str, str]) -> Optional[ClientSpan]:
    """A span below the active one for a call that is made now; None if that one is not sampled, if there is none, or if
    the call belongs to another trace."""
    api = _api()
    if api is None:
        return None
    active = api.get_current_span().get_span_context()
    if not active.is_valid or not active.trace_flags & 1 or metadata.get("traceparent") != _traceparent(active):
        return None
    return ClientSpan(api, service, method)


def _traceparent(span: Any) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags) & 1:02x}"


def _remote(api: Any, traceparent: str) -> Any:
    from opentelemetry.context import Context

    found = parse_traceparent(traceparent)
    if found is None:
        return Context()
    trace_id, span_id, flags = found
    context = api.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=api.TraceFlags(flags))
    return api.set_span_in_context(api.NonRecordingSpan(context), Context())


class TraceFilter(logging.Filter):
    """Gives each log record of a handler `trace_id` and `request_id`, empty outside of calls; filters nothing out."""

    def filter(self, record: logging.LogRecord) -> bool:
        from .call_context import current_call

        call = current_call()
        found = parse_traceparent(call.metadata.get("traceparent", "")) if call else None
        record.trace_id = found[0] if found else ""
        record.request_id = call.metadata.get("x-request-id", "") if call else ""
        return True
