"""A connection shared by threads: whoever waits for an answer reads for all."""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import select
import socket
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, List, Optional, Tuple, Union

from .client_session import CallState, ClientSession, Order, connection_lost
from .envelope import STREAM_WINDOW_BYTES
from .errors import CancelledCallError, DeadlineExceededError, ServiceError
from .frames import NotFramesError
from .keep_alive import keep_alive_for
from .protobuf_wire import MalformedError
from .tls import TlsSocket

_READ_BYTES = 256 * 1024
_MEET_SECONDS = 0.1
_CANCEL_SECONDS = 0.5


class BlockingConnection:
    """One connection and the calls on it; safe for threads."""

    def __init__(self, sock: Union[socket.socket, TlsSocket], address: str) -> None:
        self._socket = sock
        self._state = threading.Lock()
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        #: What is to be sent; the first may be the rest of one that was sent in part.
        self._outbox: Deque[Any] = deque()
        #: Who waits while another thread reads: for what, and the lock that lets them look again.
        self._followers: List[Tuple[Callable[[], bool], Any]] = []
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll = select.poll()
        self._watched = select.POLLIN
        self._poll.register(sock, select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        self._closed = False
        self.session = ClientSession(self._outbox.append)
        self._keep_alive = keep_alive_for(address, self.session)

    @property
    def usable(self) -> bool:
        """Whether new calls may start here; notices a server that has gone while nobody waited."""
        if self.session.usable and not self.session.running:
            self._read_what_is_there()
        return self.session.usable

    @property
    def running(self) -> int:
        """How many calls run here."""
        return self.session.running

    def _read_what_is_there(self) -> None:
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._watch(select.POLLIN)
            while self.session.usable and self._poll.poll(0):
                self._read()
        finally:
            self._hand_over()

    def start(self, order: Order) -> CallState:
        """Sends a request. Raises the session's errors."""
        with self._state:
            if self.session.failure is not None:
                raise self.session.failure
            if self._keep_alive is not None and not self.session.running:
                self._keep_alive.begin()
            call = self.session.start(order, self._wake_followers)
        self._flush()
        return call

    def unary(self, order: Order, deadline: Optional[float]) -> bytes:
        """Makes a call with one answer. Raises ServiceError."""
        call = self.start(order)
        try:
            self.wait(lambda: call.ended, deadline)
        except BaseException as error:
            self.cancel(call, _why(error))
            raise
        if order.on_metadata is not None and call.metadata:
            order.on_metadata(call.metadata)
        return self.take(call) or b""

    def take(self, call: CallState) -> Optional[bytes]:
        """The next message that is there; None at the end. Raises the error that ended the call."""
        with self._state:
            message = self.session.take(call)
        if self._outbox:
            self._flush()
        return message

    def send(self, call: CallState, payload: bytes, deadline: Optional[float]) -> bool:
        """Sends a message once the peer takes it; False if the call has ended."""
        while True:
            if not self.session.peer_known:
                self._meet(call)
            self.wait(lambda: call.ended or (call.writable and not self._outbox), deadline)
            with self._state:
                if call.ended:
                    return False
                if call.writable:
                    self.session.send_message(call, payload)
                    break
        self._flush()
        return True

    def _meet(self, call: CallState) -> None:
        """Reads the server's HELLO, which sets the window; waits for it a moment once a window's worth is on the way: a
        stock server says nothing until the end."""
        self._read_what_is_there()
        if call.sent > STREAM_WINDOW_BYTES:
            with contextlib.suppress(DeadlineExceededError):
                self.wait(lambda: self.session.peer_known or call.ended, time.monotonic() + _MEET_SECONDS)

    def send_end(self, call: CallState) -> None:
        """Says that no more messages follow."""
        with self._state:
            self.session.send_end(call)
        self._flush()

    def cancel(self, call: CallState, error: Optional[ServiceError] = None) -> None:
        """Ends a call from this side; whoever waits for it gets the error."""
        with self._state:
            self.session.cancel(call, error or CancelledCallError("The call was cancelled."))
        self._wake_leader()
        self._flush()
        if self.session.owes_cancel:
            # Nobody else may ever read here: the call that is to end may have been the only one.
            with contextlib.suppress(ServiceError):
                self.wait(lambda: not self.session.owes_cancel, time.monotonic() + _CANCEL_SECONDS)

    def wait(self, ready: Callable[[], bool], deadline: Optional[float]) -> None:
        """Returns once something holds that arriving frames change. Raises DeadlineExceededError."""
        while True:
            with self._state:
                if ready():
                    return
                leads = self._reading.acquire(blocking=False)
                if not leads:
                    turn = _thread.allocate_lock()
                    turn.acquire()
                    self._followers.append((ready, turn))
            if leads:
                try:
                    self._lead(ready, deadline)
                finally:
                    self._hand_over()
            elif not turn.acquire(timeout=_left(deadline, -1.0)):
                with self._state:
                    self._followers = [each for each in self._followers if each[1] is not turn]
                    if ready():
                        return
                    # It may have become this thread's turn to read.
                    self._promote()
                raise deadline_exceeded()

    def _lead(self, ready: Callable[[], bool], deadline: Optional[float]) -> None:
        while not ready():
            seconds = _left(deadline, None)
            if self.session.overfull:
                self._wait_for_readers(seconds)
            elif not self._serve(self._longest_poll(seconds)) and not ready():
                if seconds is not None and self._left_to_look >= seconds:
                    raise deadline_exceeded()
                self._look()

    @property
    def _left_to_look(self) -> float:
        return math.inf if self._keep_alive is None else self._keep_alive.left

    def _longest_poll(self, seconds: Optional[float]) -> Optional[float]:
        """Milliseconds until a call is over or it is time to look after the server."""
        if self._keep_alive is None:
            return None if seconds is None else seconds * 1000 + 1
        least = min(self._keep_alive.left, math.inf if seconds is None else seconds)
        return None if least == math.inf else least * 1000 + 1

    def _look(self) -> None:
        """Nothing has come: asks a silent server for a sign of life, and gives up one that gave none."""
        with self._state:
            gone = self._keep_alive.look() if self._keep_alive is not None else None
        self._flush()
        if gone is not None:
            self._lose(gone)

    def _serve(self, milliseconds: Optional[float]) -> bool:
        """Waits until the socket can be read or has room for what waits, and does so; False if the time was over."""
        self._watch(select.POLLIN | (select.POLLOUT if self._outbox else 0))
        events = self._poll.poll(milliseconds)
        if self._outbox:
            self._flush()
            with self._state:
                # Somebody may wait for room only.
                self._wake_followers()
        for _, event in events:
            if event & ~select.POLLOUT:
                self._read()
                break
        return bool(events)

    def _watch(self, events: int) -> None:
        """Says what is to be waited for at the socket; the caller leads."""
        if events != self._watched:
            self._watched = events
            self._poll.modify(self._socket, events)

    def _wait_for_readers(self, seconds: Optional[float]) -> None:
        """Leaves the connection unread while a stream holds too much of what its reader has not taken."""
        if seconds == 0:
            raise deadline_exceeded()
        select.select([self._wake_read], [], [], min(0.05, seconds if seconds is not None else 0.05))
        self._drain_wake()
        if self._keep_alive is not None:
            # What lies unread says nothing.
            self._keep_alive.begin()

    def _read(self) -> None:
        """Reads once and hands what came to its calls; the caller leads."""
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            self._drain_wake()
            return
        except ServiceError as error:
            self._end(error)
            return
        except OSError as cause:
            self._lose(
                f"The connection to the server broke ({cause.strerror}); whether the call took effect is unknown"
            )
            return
        if not chunk:
            self._lose("The connection to the server broke; whether the call took effect is unknown")
            return
        try:
            with self._state:
                self.session.receive(chunk)
        except (NotFramesError, MalformedError):
            self._lose("What answers at the socket does not speak frames")
        if self._outbox:
            self._flush()

    def _drain_wake(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except (BlockingIOError, OSError):
            return

    def _lose(self, why: str) -> None:
        self._end(connection_lost(why))

    def _end(self, error: ServiceError) -> None:
        with self._state:
            self.session.lost(error)
        self._shut()

    def _wake_followers(self) -> None:
        """Runs with the state locked: whoever waits for what holds now goes on."""
        waiting = []
        for ready, turn in self._followers:
            if ready():
                turn.release()
            else:
                waiting.append((ready, turn))
        self._followers = waiting

    def _hand_over(self) -> None:
        with self._state:
            self._reading.release()
            self._promote()

    def _promote(self) -> None:
        """Runs with the state locked: if nobody reads, somebody who waits shall."""
        if self._followers and not self._reading.locked():
            self._followers.pop(0)[1].release()

    def _wake_leader(self) -> None:
        if self._reading.locked() and not self._closed:
            try:
                os.write(self._wake_write, b"\0")
            except OSError:
                return

    def _flush(self) -> None:
        """Sends what waits, unless another thread is at it: that one sends ours too."""
        full = False
        while self._outbox and not full and self._sending.acquire(blocking=False):
            try:
                while self._outbox and not full:
                    full = not self._send_first()
            except OSError:
                # The reading side finds out why.
                self._outbox.clear()
                self._wake_leader()
            finally:
                self._sending.release()
        if full:
            # Whoever reads also waits for room.
            self._wake_leader()

    def _send_first(self) -> bool:
        """Sends the first of what waits; False if the socket took only a part of it."""
        data = self._outbox[0]
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return False
        if sent == len(data):
            self._outbox.popleft()
            return True
        self._outbox[0] = memoryview(data)[sent:]
        return True

    def close(self) -> None:
        """Ends the connection and every call on it."""
        with self._state:
            self.session.lost(CancelledCallError("The client was closed."))
        self._wake_leader()
        self._shut()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def __del__(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Gives the descriptors back without a word: the process has forked, or nobody needs them."""
        if self._closed:
            return
        self._closed = True
        self._socket.close()
        os.close(self._wake_read)
        os.close(self._wake_write)


def _left(deadline: Optional[float], forever: Any) -> Any:
    return forever if deadline is None else max(0.0, deadline - time.monotonic())


def deadline_exceeded() -> DeadlineExceededError:
    """The error of a call that takes too long."""
    return DeadlineExceededError("The call's deadline has passed.")


def _why(error: BaseException) -> ServiceError:
    return error if isinstance(error, ServiceError) else CancelledCallError("The caller was interrupted.")
