"""Calls by the Connect protocol over HTTP/1.1, for platforms that are reached by "http://host:port" only: calls with
one request. One thread for each call, so it is no way for many."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple
from urllib.parse import urlsplit

from .addresses import not_connected
from .blocking_connection import deadline_exceeded
from .client_session import CallState, Order
from .connect_errors import connect_error, error_of_status
from .envelope import JSON
from .errors import CancelledCallError, ServiceError, UnavailableError, UnimplementedError
from .protobuf_wire import blob, fields, text

_END_OF_STREAM = 2
_MOST_WAITING = 64
_MAX_MESSAGE_BYTES = 8 << 20


def is_http(address: str) -> bool:
    """Whether an address is one of HTTP."""
    return address.startswith(("http://", "https://"))


class _HttpCalls:
    """Makes calls and keeps what has arrived for them."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._changed = threading.Condition()
        self._calls: Dict[int, Tuple[CallState, http.client.HTTPConnection]] = {}
        self._next = 0
        self.usable = True

    @property
    def running(self) -> int:
        """How many calls have not ended."""
        return len(self._calls)

    def start(self, order: Order) -> CallState:
        """Sends a request. Raises UnimplementedError if more are to follow: HTTP/1.1 cannot."""
        if order.open:
            raise UnimplementedError(
                f"A call that sends a stream cannot be made over {self._address}: HTTP/1.1 sends one request. Run the "
                "program on the platform's machine and set HMS_FFI_SOCKET."
            )
        parts = urlsplit(self._address)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        limit = order.timeout_ns / 1e9 if order.timeout_ns else None
        connection = kind(parts.hostname or "", parts.port, timeout=limit)
        with self._changed:
            self._next += 1
            call = CallState(self._next, order, self._tell)
            self._calls[self._next] = (call, connection)
        threading.Thread(target=self._run, args=(order, call, connection), daemon=True, name="hms-http").start()
        return call

    def _run(self, order: Order, call: CallState, connection: http.client.HTTPConnection) -> None:
        error: Optional[ServiceError] = None
        try:
            self._exchange(order, call, connection)
        except ServiceError as failure:
            error = failure
        except TimeoutError:
            error = deadline_exceeded()
        except ConnectionRefusedError as failure:
            error = not_connected(self._address, failure)
        except (OSError, ValueError, http.client.HTTPException, struct.error) as failure:
            error = UnavailableError(f"The connection to {self._address} broke: {failure}.", reason="CONNECTION_LOST")
        finally:
            connection.close()
        self._end(call, error)

    def _exchange(self, order: Order, call: CallState, connection: http.client.HTTPConnection) -> None:
        path, metadata = _named(order)
        kind = "json" if order.codec == JSON else "proto"
        headers = {**metadata, "content-type": f"application/{'' if order.single else 'connect+'}{kind}"}
        headers["connect-protocol-version"] = "1"
        if order.timeout_ns:
            headers["connect-timeout-ms"] = str(max(1, order.timeout_ns // 1_000_000))
        payload = order.payload or b""
        body = payload if order.single else struct.pack(">BI", 0, len(payload)) + payload
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise error_of_status(answer.status, answer.read(_MAX_MESSAGE_BYTES))
        if order.single:
            self._push(call, answer.read())
            return
        for message in _messages(answer):
            self._push(call, message)

    def _push(self, call: CallState, message: bytes) -> None:
        with self._changed:
            call.messages.append(message)
            self._tell()
            # Who does not read is not read ahead for.
            self._changed.wait_for(lambda: call.ended or len(call.messages) < _MOST_WAITING)

    def _end(self, call: CallState, error: Optional[ServiceError]) -> None:
        with self._changed:
            self._calls.pop(call.stream, None)
            call.finish(error)
            self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def take(self, call: CallState) -> Optional[bytes]:
        """The next message that is there; None at the end. Raises the error that ended the call."""
        with self._changed:
            if call.messages:
                message = call.messages.popleft()
                self._tell()
                return message
        if call.error is not None:
            raise call.error
        return None

    def send_end(self, call: CallState) -> None:
        """Nothing: the one request has been sent."""

    def cancel(self, call: CallState, error: Optional[ServiceError] = None) -> None:
        """Ends a call from this side; whoever waits for it gets the error."""
        known = self._calls.get(call.stream)
        self._end(call, error or CancelledCallError("The call was cancelled."))
        if known is not None:
            _cut(known[1])

    def close(self) -> None:
        """Ends every call."""
        self.usable = False
        for call, _ in list(self._calls.values()):
            self.cancel(call, CancelledCallError("The client was closed."))

    def abandon(self) -> None:
        """Forgets the calls of the process that this one was forked from."""
        self._calls.clear()


class HttpConnection(_HttpCalls):
    """Calls of threads; used as a BlockingConnection is."""

    def unary(self, order: Order, deadline: Optional[float]) -> bytes:
        """Makes a call with one answer. Raises ServiceError."""
        call = self.start(order)
        try:
            self.wait(lambda: call.ended, deadline)
        except BaseException:
            self.cancel(call, deadline_exceeded())
            raise
        return self.take(call) or b""

    def send(self, call: CallState, payload: bytes, deadline: Optional[float]) -> bool:
        """False: nothing more can be sent."""
        return False

    def wait(self, ready: Callable[[], bool], deadline: Optional[float]) -> None:
        """Returns once something holds that arriving messages change. Raises DeadlineExceededError."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        with self._changed:
            if not self._changed.wait_for(ready, left):
                raise deadline_exceeded()


class AsyncHttpConnection(_HttpCalls):
    """Calls of one event loop; used as an AsyncConnection is."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._loop = asyncio.get_running_loop()
        self._waiting: List[asyncio.Future[None]] = []

    async def unary(self, order: Order, deadline: Optional[float]) -> bytes:
        """Makes a call with one answer; cancelling the task cancels the call. Raises ServiceError."""
        call = self.start(order)
        try:
            await self.wait(lambda: call.ended, deadline)
        except BaseException:
            self.cancel(call)
            raise
        return self.take(call) or b""

    async def send(self, call: CallState, payload: bytes, deadline: Optional[float]) -> bool:
        """False: nothing more can be sent."""
        return False

    async def wait(self, ready: Callable[[], bool], deadline: Optional[float]) -> None:
        """Returns once something holds that arriving messages change. Raises DeadlineExceededError."""
        while not ready():
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(future)
            if ready():
                return
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                await asyncio.wait_for(future, left)
            except asyncio.TimeoutError:
                raise deadline_exceeded() from None

    def _tell(self) -> None:
        super()._tell()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)


def _named(order: Order) -> Tuple[str, Dict[str, str]]:
    """The path and the metadata of a call."""
    names = {at: text(value) for at, value in fields(order.prefix)}
    pairs = [{at: text(part) for at, part in fields(blob(value))} for _, value in fields(order.metadata)]
    return f"/{names[1]}/{names[2]}", {pair.get(1, ""): pair.get(2, "") for pair in pairs}


def _messages(answer: http.client.HTTPResponse) -> Iterable[bytes]:
    while True:
        flags, length = struct.unpack(">BI", _exactly(answer, 5))
        if length > _MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {length} bytes is larger than is taken")
        data = _exactly(answer, length)
        if flags & _END_OF_STREAM:
            end: Dict[str, Any] = json.loads(data or b"{}")
            if end.get("error"):
                raise connect_error(end["error"])
            return
        yield data


def _exactly(answer: http.client.HTTPResponse, length: int) -> bytes:
    data = answer.read(length)
    if len(data) < length:
        raise http.client.IncompleteRead(data)
    return data


def _cut(connection: http.client.HTTPConnection) -> None:
    # Its own thread sits in a read, which only this ends.
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
