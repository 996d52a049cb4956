"""One peer of a server: reads its requests, runs them, writes the answers."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

from . import frames
from .call_context import CallContext
from .envelope import (
    FEATURE_GOAWAY,
    FEATURE_HEADERS,
    FEATURE_WINDOW,
    FEATURES,
    STREAM_WINDOW_BYTES,
    Hello,
    Request,
    cancel_reason,
    encode_status,
    failure_body,
    metadata_fields,
    response_body,
)
from .errors import (
    CancelledCallError,
    DeadlineExceededError,
    ResourceExhaustedError,
    ServiceError,
    UnimplementedError,
    ValidationError,
    as_service_error,
)
from .frames import HEADER_BYTES, MAX_DATA_BYTES, Frame, FrameReader, NotFramesError, frame
from .handler_runner import answer_many, answer_once
from .metrics import SERVED
from .protobuf_wire import MalformedError
from .server_call import Requests, ServerCall, access_changed, too_large
from .service_definition import MethodDefinition
from .tickets import TicketGate
from .tls import FRAMES_PROTOCOL, ServerCertificate, spiffe_id

if TYPE_CHECKING:
    from .server import ServiceServer

_GREETING = b"This socket speaks HMS-FFI frames (docs/wire.md): call it with an SDK.\n"


class ServerConnection(asyncio.Protocol):
    """One connection; belongs to the server's event loop."""

    def __init__(self, server: ServiceServer, certificate: Optional[ServerCertificate] = None) -> None:
        self._server = server
        self._certificate = certificate
        #: The SPIFFE id that the caller's certificate has shown.
        self._peer_id = ""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._reader = FrameReader()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._calls: Dict[int, ServerCall] = {}
        self._last_stream = 0
        self._peer: Optional[Hello] = None
        self._begun = False
        self._draining: Optional[ServiceError] = None
        self._writable = True
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=STREAM_WINDOW_BYTES)
        self._server.connections.add(self)
        if self._certificate is not None:
            agreed = transport.get_extra_info("ssl_object")
            if agreed.selected_alpn_protocol() != FRAMES_PROTOCOL:
                transport.abort()
                return
            self._peer_id = spiffe_id(agreed.getpeercert()) or ""

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if data[0] != 0:
                self._transport.write(_GREETING)
                self._transport.close()
                return
        try:
            for each in self._reader.feed(data):
                self._frame(each)
        except NotFramesError:
            self._break("What arrived is not a frame: its length is beyond any limit.")
        self._regulate()

    def _regulate(self) -> None:
        """Reads nothing while a stream holds too much, or the peer does not read."""
        full = any(call.overfull for call in self._calls.values()) or (
            not self._writable and self._transport.get_write_buffer_size() > 4 * MAX_DATA_BYTES
        )
        if full != self._paused and not self._transport.is_closing():
            self._paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._regulate()
        for call in self._calls.values():
            call.wake()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._server.connections.discard(self)
        self._writable = True
        error = CancelledCallError("The caller's connection has ended.")
        for call in list(self._calls.values()):
            call.abandon(error)

    def _frame(self, each: Frame) -> None:
        if self._transport.is_closing():
            return
        if each.oversized:
            self._oversized(each)
        elif each.type == frames.REQUEST:
            self._request(each)
        elif each.type == frames.DATA:
            self._data(each)
        elif each.type == frames.HELLO:
            self._hello(each)
        elif each.type == frames.CANCEL:
            call = self._calls.get(each.stream)
            if call is not None:
                call.abandon(cancel_reason(each.data))
        elif each.type == frames.WINDOW:
            self._window(each)
        elif each.type == frames.PING and not each.flags & frames.PONG:
            self._transport.write(frame(0, frames.PING, frames.PONG, each.data))

    def _hello(self, each: Frame) -> None:
        if self._peer is not None:
            return
        try:
            self._peer = Hello.decode(each.data)
        except MalformedError:
            self._break("The HELLO is malformed.")
            return
        ours = Hello(1, FEATURES, STREAM_WINDOW_BYTES, self._server.max_waiting_calls)
        self._transport.write(frame(each.stream, frames.HELLO, 0, ours.encode()))

    def _window(self, each: Frame) -> None:
        call = self._calls.get(each.stream)
        if call is not None and call.credit is not None:
            call.credit += frames.read_u32(each.data)
            call.wake()

    def _has(self, feature: int) -> bool:
        return self._peer is not None and bool(self._peer.features & feature)

    def _oversized(self, each: Frame) -> None:
        error = ResourceExhaustedError(
            f"The frame has {each.oversized} bytes of data; at most {MAX_DATA_BYTES} can travel. "
            "Send less, or in parts.",
            reason="MESSAGE_TOO_LARGE",
        )
        if each.type == frames.REQUEST and self._opens(each.stream):
            self._fail(each.stream, error)
        elif each.type == frames.DATA and each.stream in self._calls:
            self._end(self._calls[each.stream], error)

    def _fail(self, stream: int, error: ServiceError) -> None:
        self._transport.write(frame(stream, frames.RESPONSE, 0, failure_body(error)))

    def _opens(self, stream: int) -> bool:
        """Checks and notes the id of a new stream."""
        if stream % 2 == 1 and stream > self._last_stream:
            self._last_stream = stream
            return True
        odd = stream % 2 == 1
        why = "Stream ids must increase and are never used again" if odd else "Stream ids of clients must be odd"
        self._fail(stream, ValidationError(f"{why} ({stream})."))
        return False

    def _request(self, each: Frame) -> None:
        if not self._opens(each.stream):
            return
        try:
            if self._draining is not None:
                raise self._draining
            request = Request.decode(each.data)
            definition = self._server.method(request.service, request.method)
            if definition is None:
                raise UnimplementedError(f"{request.service}/{request.method} is not served here.")
            self._admit(each, request, definition)
        except MalformedError as error:
            self._fail(each.stream, ValidationError(f"The request cannot be read: {error}."))
        except ServiceError as error:
            self._fail(each.stream, error)

    def _admit(self, each: Frame, request: Request, definition: MethodDefinition) -> None:
        """Starts a call, and counts it if it is refused. Raises ServiceError."""
        begun = time.perf_counter()
        try:
            self._server.admit()
            self._start(each, request, definition)
        except ServiceError as error:
            SERVED.ended(definition.service, definition.name, error, time.perf_counter() - begun)
            raise

    def _start(self, each: Frame, request: Request, definition: MethodDefinition) -> None:
        server = self._server
        credentials = request.metadata.pop("authorization", None)
        ticket, level = server.check(definition, credentials, request.metadata)
        timeout = server.timeout if request.timeout_ns is None else min(request.timeout_ns / 1e9, server.timeout or 1e9)
        if definition.server_streaming and request.timeout_ns is None:
            timeout = None
        if timeout is not None and timeout <= 0:
            raise DeadlineExceededError("The call's deadline had passed before it arrived.")
        call = ServerCall(self._loop, each.stream, definition, definition.codecs(request.codec))
        call.context = CallContext(
            definition.path,
            request.metadata,
            None if timeout is None else time.monotonic() + timeout,
            principal=ticket.principal if ticket else "",
            environment=ticket.environment if ticket else "",
            roles=ticket.roles if ticket else (),
            mfa=ticket.mfa if ticket else False,
            peer=self._peer_id,
        )
        if self._has(FEATURE_HEADERS):
            call.context.tell = lambda metadata: self._tell(call, metadata)
        call.audit_level, call.ticket = level, ticket
        if level == "request":
            call.audited_request = request.payload
        if self._has(FEATURE_WINDOW) and self._peer is not None:
            call.credit = self._peer.stream_window or STREAM_WINDOW_BYTES
        call.taken = lambda amount: self._grant(call, amount)
        self._feed(call, each, request.payload)
        self._calls[call.stream] = call
        server.running += 1
        call.task = self._loop.create_task(self._run(call))
        if timeout is not None:
            call.timer = self._loop.call_later(timeout, self._expire, call)

    def _tell(self, call: ServerCall, metadata: Mapping[str, str]) -> None:
        """Sends what a handler says beside its answers; from any thread."""
        data = frame(call.stream, frames.HEADERS, 0, metadata_fields(metadata))
        if threading.get_ident() == self._thread:
            self._write_headers(call, data)
        else:
            self._loop.call_soon_threadsafe(self._write_headers, call, data)

    def _write_headers(self, call: ServerCall, data: bytes) -> None:
        if not call.finished:
            self._transport.write(data)

    def _feed(self, call: ServerCall, each: Frame, payload: bytes) -> None:
        more = bool(each.flags & frames.REMOTE_OPEN)
        # An empty message takes no bytes, so only a method that must have one can tell it from none.
        if payload or not (call.definition.client_streaming or more):
            call.push(payload)
        if not more:
            call.close_requests()

    def _grant(self, call: ServerCall, amount: int) -> None:
        if self._has(FEATURE_WINDOW) and not call.finished:
            self._transport.write(frame(call.stream, frames.WINDOW, 0, frames.u32(amount)))
        if self._paused:
            self._regulate()

    def _data(self, each: Frame) -> None:
        call = self._calls.get(each.stream)
        if call is None:
            # A stream that has ended may still have messages on the way; one that never was is the peer's mistake.
            if each.stream > self._last_stream or each.stream % 2 == 0:
                self._fail(each.stream, ValidationError(f"Stream {each.stream} is not open."))
            return
        if not each.flags & frames.NO_DATA:
            call.push(each.data)
        if each.flags & frames.REMOTE_CLOSED:
            call.close_requests()

    async def _run(self, call: ServerCall) -> None:
        error: Optional[ServiceError] = None
        try:
            async with self._server.turns:
                await self._handle(call)
        except asyncio.CancelledError:
            error = call.why
            if not call.stopped:
                call.context.stop(error)
        except Exception as raised:
            error = call.why if call.stopped else as_service_error(raised)
            if error is not raised and not call.stopped:
                self._server.report_failure(call.definition.path, raised)
        self._over(call, error)

    async def _handle(self, call: ServerCall) -> None:
        definition, around = call.definition, self._server.around
        request: Any = Requests(call) if definition.client_streaming else await call.take()
        if definition.server_streaming:
            await answer_many(call, request, around, lambda answer: self._send(call, answer))
            if not call.finished:
                self._transport.write(frame(call.stream, frames.DATA, frames.REMOTE_CLOSED | frames.NO_DATA))
                call.finished = True
            return
        body = response_body(call.codecs.response.encode(await answer_once(call, request, around)))
        if len(body) > MAX_DATA_BYTES:
            raise too_large(len(body))
        if not call.finished:
            self._transport.write(frame(call.stream, frames.RESPONSE, 0, body))
            call.finished = True

    async def _send(self, call: ServerCall, answer: Any) -> bool:
        """Sends one answer of a stream when the peer takes it; False if nobody waits for more."""
        payload = call.codecs.response.encode(answer)
        if len(payload) > MAX_DATA_BYTES:
            raise too_large(len(payload))
        while (
            not call.finished and not call.stopped and not (self._writable and (call.credit is None or call.credit > 0))
        ):
            await call.changed()
        if call.finished or call.stopped:
            return False
        if call.credit is not None:
            call.credit -= HEADER_BYTES + len(payload)
        self._transport.write(frame(call.stream, frames.DATA, 0, payload))
        return True

    def _over(self, call: ServerCall, error: Optional[ServiceError]) -> None:
        if call.timer is not None:
            call.timer.cancel()
        if error is not None and not call.finished:
            self._fail(call.stream, error)
        call.finished = True
        self._server.running -= 1
        SERVED.ended(call.definition.service, call.definition.name, error, time.perf_counter() - call.begun)
        self._server.finished(call, error)
        self._calls.pop(call.stream, None)
        self._regulate()
        self._end_if_drained()

    def _expire(self, call: ServerCall) -> None:
        self._end(call, DeadlineExceededError("The call's deadline has passed."))

    def _end(self, call: ServerCall, error: ServiceError) -> None:
        """Ends a call with an error now, whatever its handler does."""
        if not call.finished:
            self._fail(call.stream, error)
        call.abandon(error)

    def end_revoked(self, gate: TicketGate) -> None:
        """Ends the streams of callers whose tickets are revoked by now; calls with one answer go on to their end."""
        for call in list(self._calls.values()):
            if call.streams and call.ticket is not None and gate.revoked(call.ticket):
                self._end(call, access_changed())

    def drain(self, error: ServiceError) -> None:
        """Takes no new calls, ends reading streams, lets the others finish, then says goodbye."""
        if self._draining is not None:
            return
        self._draining = error
        if self._has(FEATURE_GOAWAY):
            data = frames.u32(self._last_stream) + encode_status(error)
            self._transport.write(frame(0, frames.GOAWAY, 0, data))
        for call in list(self._calls.values()):
            definition = call.definition
            if definition.server_streaming and not definition.client_streaming and definition.repeatable:
                # It may last for ever, and whoever reads has to come back anyway.
                self._end(call, error)
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._draining is not None and not self._calls:
            self._transport.close()

    def abort(self, error: ServiceError) -> List[asyncio.Task[None]]:
        """Ends every call with an error and the connection after it; answers with the handlers that still run."""
        calls = list(self._calls.values())
        for call in calls:
            self._end(call, error)
        self._transport.close()
        return [call.task for call in calls if call.task is not None]

    def _break(self, why: str) -> None:
        error = ValidationError(why)
        if self._has(FEATURE_GOAWAY):
            data = frames.u32(self._last_stream) + encode_status(error)
            self._transport.write(frame(0, frames.GOAWAY, 0, data))
        self.abort(error)
