"""A client's side of one connection without any input or output: what to send, and what arrived for which call."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Callable, Deque, Dict, List, NamedTuple, Optional

from . import frames
from .envelope import (
    FEATURE_CANCEL,
    FEATURE_PING,
    FEATURE_WINDOW,
    FEATURES,
    STREAM_WINDOW_BYTES,
    Hello,
    decode_metadata,
    decode_response,
    decode_status,
    request_body,
)
from .errors import InternalError, ResourceExhaustedError, ServiceError, UnauthenticatedError, UnavailableError
from .frames import HEADER_BYTES, MAX_DATA_BYTES, Frame, FrameReader, frame
from .protobuf_wire import MalformedError

#: More than this of one stream is only there if its sender does not heed windows: nothing more is read then.
OVERFULL_BYTES = STREAM_WINDOW_BYTES + MAX_DATA_BYTES

_HELLO_STREAM = 1


#: Told how a call ended.
OnEnd = Callable[[Optional[ServiceError]], None]


class Order(NamedTuple):
    """A call about to be made."""

    prefix: bytes
    metadata: bytes
    timeout_ns: int
    codec: int
    #: The first or only message; None: all follow as data.
    payload: Optional[bytes]
    #: Whether one answer ends the call.
    single: bool
    #: Whether the client sends more messages.
    open: bool = False
    #: Told, before the answer, what the service said beside it.
    on_metadata: Optional[Callable[[Dict[str, str]], object]] = None
    #: Told once, when a call that is no unary one has ended, with its error.
    on_end: Optional[OnEnd] = None


class CallState:
    """One call on a connection: what has arrived, and what may be sent."""

    __slots__ = (
        "_unread",
        "_untold",
        "credit",
        "ended",
        "error",
        "messages",
        "metadata",
        "notify",
        "on_end",
        "sent",
        "single",
        "stream",
    )

    def __init__(self, stream: int, order: Order, notify: Callable[[], None]) -> None:
        self.stream = stream
        self.single = order.single
        self.on_end = order.on_end
        self.notify = notify
        self.messages: Deque[bytes] = deque()
        #: What the service has said beside its answers so far.
        self.metadata: Dict[str, str] = {}
        self.ended = False
        self.error: Optional[ServiceError] = None
        #: Bytes the peer still takes; None: it has set no window (yet).
        self.credit: Optional[int] = None
        self.sent = 0
        self._unread = 0
        self._untold = 0

    @property
    def readable(self) -> bool:
        """Whether there is a message, or an end, to take."""
        return bool(self.messages) or self.ended

    @property
    def writable(self) -> bool:
        """Whether a message may be sent now, or never again."""
        return self.ended or self.credit is None or self.credit > 0

    @property
    def overfull(self) -> bool:
        """Whether so much waits for the reader that the connection must not be read."""
        return self._unread > OVERFULL_BYTES

    def push(self, message: bytes) -> None:
        """A message has arrived."""
        self.messages.append(message)
        self._unread += len(message) + HEADER_BYTES

    def pop(self) -> int:
        """Forgets the size of the message taken; answers with the bytes to grant the peer now, or 0."""
        size = len(self.messages.popleft()) + HEADER_BYTES
        self._unread -= size
        self._untold += size
        if self.ended or self._untold < STREAM_WINDOW_BYTES // 2:
            return 0
        told, self._untold = self._untold, 0
        return told

    def finish(self, error: Optional[ServiceError]) -> None:
        """The call has ended; its reader gets what has arrived first."""
        if not self.ended:
            self.ended = True
            self.error = error
            if self.on_end is not None:
                self.on_end(error)
            self.notify()


def connection_lost(why: str) -> UnavailableError:
    """The error of a call that ran when its connection broke."""
    return UnavailableError(f"{why}.", reason="CONNECTION_LOST")


class ClientSession:
    """The calls of one connection. Not safe for threads: its owner takes care."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._reader = FrameReader()
        self._calls: Dict[int, CallState] = {}
        self._next = 1
        self._peer: Optional[Hello] = None
        self._cancelled: List[int] = []
        #: Whether new calls may start here.
        self.usable = True
        #: Grows with everything that arrives.
        self.chunks = 0
        self.failure: Optional[ServiceError] = None
        send(frame(_HELLO_STREAM, frames.HELLO, 0, Hello(1, FEATURES, STREAM_WINDOW_BYTES, 0).encode()))

    @property
    def running(self) -> int:
        """How many calls have not ended."""
        return len(self._calls)

    @property
    def peer_known(self) -> bool:
        """Whether the server's first frame has come, which says what it can do."""
        return self._peer is not None

    @property
    def owes_cancel(self) -> bool:
        """Whether the server is to hear of a cancelled call, which it cannot before its first frame has come."""
        return self.failure is None and bool(self._cancelled)

    @property
    def overfull(self) -> bool:
        """Whether the connection must not be read until a reader has taken something."""
        # Whoever reads looks without the lock, while other threads begin and end calls.
        for call in list(self._calls.values()):  # noqa: SIM110  (a generator costs more than all it looks at)
            if call.overfull:
                return True
        return False

    def start(self, order: Order, notify: Callable[[], None]) -> CallState:
        """Sends a request. Raises ResourceExhaustedError if it is too large; nothing was sent then."""
        body = request_body(order.prefix, order.metadata, order.timeout_ns, order.codec, order.payload or b"")
        _check_size(len(body))
        call = CallState(self._next, order, notify)
        self._next += 2
        if self._next > frames.LAST_STREAM:
            self.usable = False
        if self._peer is not None:
            call.credit = self._window()
        self._calls[call.stream] = call
        flags = frames.REMOTE_OPEN if order.open else 0 if order.single else frames.REMOTE_CLOSED
        self._send(frame(call.stream, frames.REQUEST, flags, body))
        return call

    def _window(self) -> Optional[int]:
        peer = self._peer
        if peer is None or not peer.features & FEATURE_WINDOW:
            return None
        return peer.stream_window or STREAM_WINDOW_BYTES

    def send_message(self, call: CallState, payload: bytes) -> None:
        """Sends one more message of a stream; the caller has waited until the call is `writable`."""
        _check_size(len(payload))
        size = HEADER_BYTES + len(payload)
        call.sent += size
        if call.credit is not None:
            call.credit -= size
        self._send(frame(call.stream, frames.DATA, 0, payload))

    def send_end(self, call: CallState) -> None:
        """Says that no more messages follow."""
        if not call.ended:
            self._send(frame(call.stream, frames.DATA, frames.REMOTE_CLOSED | frames.NO_DATA))

    def take(self, call: CallState) -> Optional[bytes]:
        """The next message; None at the end. Raises the error that ended the call, after its messages."""
        if call.messages:
            message = call.messages[0]
            granted = call.pop()
            if granted and self._peer is not None and self._peer.features & FEATURE_WINDOW:
                self._send(frame(call.stream, frames.WINDOW, 0, frames.u32(granted)))
            return message
        if call.error is not None:
            raise call.error
        return None

    def cancel(self, call: CallState, error: ServiceError) -> None:
        """Ends a call from this side and tells the server; nothing happens if it has ended."""
        if self._calls.pop(call.stream, None) is None:
            return
        call.messages.clear()
        call.finish(error)
        if self._peer is None:
            self._cancelled.append(call.stream)
        else:
            self._tell_cancelled(call.stream)

    def _tell_cancelled(self, stream: int) -> None:
        if self._peer is not None and self._peer.features & FEATURE_CANCEL:
            self._send(frame(stream, frames.CANCEL))

    def receive(self, chunk: bytes) -> None:
        """Takes what arrived. Raises NotFramesError or MalformedError if the peer does not speak this protocol."""
        self.chunks += 1
        for each in self._reader.feed(chunk):
            self._frame(each)

    def ping(self) -> bool:
        """Asks the server for a sign of life; False if it is not known to understand that."""
        if self._peer is None or not self._peer.features & FEATURE_PING:
            return False
        self._send(frame(0, frames.PING, 0, bytes(8)))
        return True

    def _frame(self, each: Frame) -> None:
        if each.type == frames.HELLO:
            if self._peer is None:
                self._meet(Hello.decode(each.data))
            return
        if self._peer is None:
            self._meet(Hello())
        call = self._calls.get(each.stream)
        if call is not None:
            self._call_frame(call, each)
        elif each.type == frames.GOAWAY:
            self._goaway(each)
        elif each.type == frames.PING and not each.flags & frames.PONG:
            self._send(frame(0, frames.PING, frames.PONG, each.data))

    def _meet(self, peer: Hello) -> None:
        self._peer = peer
        for stream in self._cancelled:
            self._tell_cancelled(stream)
        self._cancelled.clear()
        window = self._window()
        if window is None:
            return
        for call in self._calls.values():
            # What went out before the window was known counts.
            call.credit = window - call.sent
            call.notify()

    def _call_frame(self, call: CallState, each: Frame) -> None:
        if each.oversized:
            why = f"The answer has {each.oversized} bytes; a frame carries at most {MAX_DATA_BYTES}. Ask for less."
            self.cancel(call, ResourceExhaustedError(why, reason="MESSAGE_TOO_LARGE"))
        elif each.type == frames.RESPONSE:
            self._response(call, each)
        elif each.type == frames.DATA:
            self._data(call, each)
        elif each.type == frames.WINDOW and call.credit is not None:
            call.credit += frames.read_u32(each.data)
            call.notify()
        elif each.type == frames.HEADERS:
            # It goes beside the answer and must not spoil it.
            with contextlib.suppress(MalformedError):
                call.metadata.update(decode_metadata(each.data))

    def _response(self, call: CallState, each: Frame) -> None:
        del self._calls[call.stream]
        try:
            error, payload = decode_response(each.data)
        except MalformedError as cause:
            call.finish(InternalError(f"The server's answer cannot be read: {cause}."))
            return
        # A stream's answer may carry its last message; only for a single answer is an empty one a message too.
        if error is None and (payload or call.single):
            call.push(payload)
        call.finish(error)

    def _data(self, call: CallState, each: Frame) -> None:
        if call.single:
            self.cancel(call, InternalError("The service answered with a stream; one answer was expected."))
            return
        if not each.flags & frames.NO_DATA:
            call.push(each.data)
        if each.flags & frames.REMOTE_CLOSED:
            del self._calls[call.stream]
            call.finish(None)
        else:
            call.notify()

    def _goaway(self, each: Frame) -> None:
        self.usable = False
        last = frames.read_u32(each.data)
        try:
            said = decode_status(each.data[4:])
        except MalformedError:
            said = None
        if isinstance(said, UnauthenticatedError):
            self.lost(said)
            return
        message = said.message if said is not None else "The server is stopping; try again."
        for call in [call for call in self._calls.values() if call.stream > last]:
            del self._calls[call.stream]
            call.finish(UnavailableError(message, reason="SERVER_STOPPING"))

    def lost(self, error: ServiceError) -> None:
        """The connection has ended, and every call on it with an error."""
        self.usable = False
        self.failure = self.failure or error
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.finish(error)


def _check_size(size: int) -> None:
    if size > MAX_DATA_BYTES:
        why = f"The message takes {size} bytes; a frame carries at most {MAX_DATA_BYTES}. Send less, or in parts."
        raise ResourceExhaustedError(why, reason="MESSAGE_TOO_LARGE")
