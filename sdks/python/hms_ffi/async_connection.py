"""A connection of one asyncio event loop."""

from __future__ import annotations

import asyncio
import ssl
from typing import Callable, List, Optional, Tuple

from .addresses import not_connected, parse_address
from .blocking_connection import deadline_exceeded
from .client_session import CallState, ClientSession, Order, connection_lost
from .errors import CancelledCallError, PermissionDeniedError, ServiceError
from .frames import NotFramesError
from .keep_alive import KeepAlive, keep_alive_for
from .protobuf_wire import MalformedError
from .tls import TlsIdentity, check_server, known, no_trust, refused

_CONNECT_SECONDS = 5.0


class AsyncConnection(asyncio.Protocol):
    """One connection and the calls on it; belongs to the event loop that made it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._waiting: List[Tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._writable = True
        self._paused = False
        self._address = ""
        self._keep_alive: Optional[KeepAlive] = None
        self._timer: Optional[asyncio.TimerHandle] = None
        self.session: ClientSession = None  # type: ignore[assignment]

    @classmethod
    async def open(cls, address: str, tls: Optional[TlsIdentity] = None) -> AsyncConnection:
        """Connects. Raises UnavailableError NOT_CONNECTED, PermissionDeniedError, UnauthenticatedError,
        ValidationError."""
        parsed = parse_address(address)
        loop = asyncio.get_running_loop()
        try:
            if parsed.path is not None:
                connecting = loop.create_unix_connection(cls, parsed.path)
            else:
                secure = known(tls, address).client_context() if parsed.tls else None
                connecting = loop.create_connection(cls, parsed.host, parsed.port, ssl=secure)
            _, connection = await asyncio.wait_for(connecting, _CONNECT_SECONDS)
        except PermissionError as cause:
            raise PermissionDeniedError(f"This user may not open {address}.") from cause
        except asyncio.TimeoutError as cause:
            raise not_connected(address, TimeoutError("timed out")) from cause
        except ssl.SSLError as cause:
            raise no_trust(address, cause) from cause
        except OSError as cause:
            raise not_connected(address, cause) from cause
        connection._address = address
        connection._keep_alive = keep_alive_for(address, connection.session)
        if parsed.tls:
            connection._check(known(tls, address).expected_id)
        return connection

    def _check(self, expected: Optional[str]) -> None:
        try:
            check_server(self._transport.get_extra_info("ssl_object"), expected)
        except ServiceError:
            self._transport.abort()
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.session = ClientSession(transport.write)

    @property
    def usable(self) -> bool:
        """Whether new calls may start here."""
        return self.session.usable and not self._loop.is_closed()

    @property
    def running(self) -> int:
        """How many calls run here."""
        return self.session.running

    def data_received(self, data: bytes) -> None:
        try:
            self.session.receive(data)
        except (NotFramesError, MalformedError):
            self.session.lost(connection_lost("What answers at the socket does not speak frames"))
            self._transport.close()
        self._regulate()
        self._wake()

    def _regulate(self) -> None:
        """Reads nothing while a stream holds too much of what its reader has not taken."""
        full = self.session.overfull
        if full != self._paused and not self._transport.is_closing():
            self._paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _wake(self) -> None:
        if not self._waiting:
            return
        still = []
        for ready, future in self._waiting:
            if future.done():
                continue
            if ready():
                future.set_result(None)
            else:
                still.append((ready, future))
        self._waiting = still

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if isinstance(exc, ssl.SSLError):
            # In TLS 1.3 a server says afterwards that it does not accept a certificate.
            self.session.lost(no_trust(self._address, exc))
        elif self._transport.get_extra_info("ssl_object") is not None and not self.session.peer_known:
            self.session.lost(refused(self._address))
        else:
            why = "The connection to the server broke; whether the call took effect is unknown"
            self.session.lost(connection_lost(why))
        if self._timer is not None:
            self._timer.cancel()
        self._writable = True
        self._wake()

    def start(self, order: Order) -> CallState:
        """Sends a request. Raises the session's errors."""
        if self.session.failure is not None:
            raise self.session.failure
        if self._keep_alive is not None and not self.session.running:
            self._keep_alive.begin()
            self._look_later(self._keep_alive)
        return self.session.start(order, _nothing)

    def _look_later(self, keep_alive: KeepAlive) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(keep_alive.left, self._look, keep_alive)

    def _look(self, keep_alive: KeepAlive) -> None:
        """Asks a silent server for a sign of life, and gives up one that gave none."""
        self._timer = None
        if not self.session.running:
            return
        if self._paused:
            # What lies unread says nothing.
            keep_alive.begin()
        gone = keep_alive.look()
        if gone is None:
            self._look_later(keep_alive)
            return
        self.session.lost(connection_lost(gone))
        self._transport.abort()
        self._wake()

    async def unary(self, order: Order, deadline: Optional[float]) -> bytes:
        """Makes a call with one answer; cancelling the task cancels the call. Raises ServiceError."""
        call = self.start(order)
        try:
            await self.wait(lambda: call.ended, deadline)
        except ServiceError as error:
            self.cancel(call, error)
            raise
        except asyncio.CancelledError:
            self.cancel(call)
            raise
        if order.on_metadata is not None and call.metadata:
            order.on_metadata(call.metadata)
        return self.take(call) or b""

    def take(self, call: CallState) -> Optional[bytes]:
        """The next message that is there; None at the end. Raises the error that ended the call."""
        message = self.session.take(call)
        if self._paused:
            self._regulate()
        return message

    async def send(self, call: CallState, payload: bytes, deadline: Optional[float]) -> bool:
        """Sends a message once the peer takes it; False if the call has ended."""
        if not self.session.peer_known:
            # The server's HELLO sets the window: let it be read.
            await asyncio.sleep(0)
        await self.wait(lambda: call.ended or (call.writable and self._writable), deadline)
        if call.ended:
            return False
        self.session.send_message(call, payload)
        return True

    def send_end(self, call: CallState) -> None:
        """Says that no more messages follow."""
        self.session.send_end(call)

    def cancel(self, call: CallState, error: Optional[ServiceError] = None) -> None:
        """Ends a call from this side; whoever waits for it gets the error."""
        if self._loop.is_closed():
            return
        self.session.cancel(call, error or CancelledCallError("The call was cancelled."))
        self._regulate()
        self._wake()

    async def wait(self, ready: Callable[[], bool], deadline: Optional[float]) -> None:
        """Returns once something holds that arriving frames change. Raises DeadlineExceededError."""
        if ready():
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((ready, future))
        timer = None
        if deadline is not None:
            timer = self._loop.call_at(deadline - _monotonic_offset(self._loop), _expire, future)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Ends the connection and every call on it."""
        self.session.lost(CancelledCallError("The client was closed."))
        if not self._loop.is_closed():
            self._transport.close()
            self._wake()


def _monotonic_offset(loop: asyncio.AbstractEventLoop) -> float:
    """Between `time.monotonic` and the loop's clock, which are the same for asyncio's own loops."""
    import time

    return time.monotonic() - loop.time()


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(deadline_exceeded())


def _nothing() -> None:
    return
