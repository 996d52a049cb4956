"""One call being answered: its messages, its handler, its end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import CancelledError as FutureCancelledError
from typing import Any, AsyncIterator, Callable, Deque, Iterator, List, Optional

from .call_context import CallContext
from .client_session import OVERFULL_BYTES
from .envelope import STREAM_WINDOW_BYTES
from .errors import CancelledCallError, ResourceExhaustedError, ServiceError, UnauthenticatedError, UnavailableError
from .frames import HEADER_BYTES, MAX_DATA_BYTES
from .service_definition import CallCodecs, MethodDefinition
from .tickets import Ticket


class ServerCall:
    """What a connection knows of a call; belongs to the server's event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stream: int, definition: MethodDefinition, codecs: CallCodecs
    ) -> None:
        self.loop = loop
        self.stream = stream
        self.definition = definition
        #: On the clock of `time.perf_counter`.
        self.begun = time.perf_counter()
        self.codecs = codecs
        self.context: CallContext = None  # type: ignore[assignment]
        #: Whether nothing may be sent on the stream any more.
        self.finished = False
        self.credit: Optional[int] = None
        self.audit_level = "none"
        #: By what it was let in; None where nobody asks for one.
        self.ticket: Optional[Ticket] = None
        #: The request as it came, if it belongs in the audit log.
        self.audited_request: Optional[bytes] = None
        #: The handler, once it runs.
        self.task: Optional[asyncio.Task[None]] = None
        self.timer: Optional[asyncio.TimerHandle] = None
        #: Told how many bytes the handler has taken.
        self.taken: Callable[[int], None] = lambda _: None
        self._messages: Deque[bytes] = deque()
        self._open = True
        self._error: Optional[ServiceError] = None
        self._unread = 0
        self._untold = 0
        self._changed: List[asyncio.Future[None]] = []

    @property
    def request_json(self) -> Optional[bytes]:
        """The request for the audit log; None if it does not belong there, or cannot be read."""
        return None if self.audited_request is None else self.definition.json_of(self.codecs, self.audited_request)

    @property
    def streams(self) -> bool:
        """Whether either side sends more than one message."""
        return self.definition.client_streaming or self.definition.server_streaming

    @property
    def overfull(self) -> bool:
        """Whether so much waits for the handler that the connection must not be read."""
        return self._unread > OVERFULL_BYTES

    @property
    def stopped(self) -> bool:
        """Whether the handler was told to stop."""
        return self._error is not None

    def push(self, message: bytes) -> None:
        """A request of a stream has arrived."""
        if self._open and not self.finished:
            self._messages.append(message)
            self._unread += len(message) + HEADER_BYTES
            self.wake()

    def close_requests(self) -> None:
        """No more requests follow."""
        self._open = False
        self.wake()

    def wake(self) -> None:
        """Lets whoever waits look again."""
        waiting, self._changed = self._changed, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def changed(self) -> None:
        """Returns when something has changed."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._changed.append(future)
        await future

    async def take(self) -> Any:
        """The next request of a stream. Raises StopAsyncIteration at the end, ServiceError if the call was stopped or
        the request breaks the contract's rules."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            if not self._open:
                raise StopAsyncIteration
            await self.changed()
        message = self._messages.popleft()
        size = len(message) + HEADER_BYTES
        self._unread -= size
        self._untold += size
        if self._open and self._untold >= STREAM_WINDOW_BYTES // 2:
            self.taken(self._untold)
            self._untold = 0
        request = self.codecs.request.decode(message)
        if self.definition.check is not None:
            self.definition.check(request)
        return request

    def stop(self, error: ServiceError) -> None:
        """Tells the handler to stop, and why."""
        if self._error is not None:
            return
        self._error = error
        self.context.stop(error)
        self.wake()
        if self.task is not None:
            self.task.cancel()

    def abandon(self, error: ServiceError) -> None:
        """Tells the handler to stop; nobody waits for an answer."""
        self.finished = True
        self._messages.clear()
        self._unread = 0
        self.stop(error)

    @property
    def why(self) -> ServiceError:
        """Why the handler was told to stop."""
        return self._error or CancelledCallError("The call was cancelled.")


class Requests:
    """The requests of a stream as a handler reads them, with `for` in a thread or `async for` in the event loop."""

    def __init__(self, call: ServerCall) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        while True:
            taking = asyncio.run_coroutine_threadsafe(_take(self._call), self._call.loop)
            try:
                found = taking.result()
            except FutureCancelledError:
                raise self._call.why from None
            if not found:
                return
            yield found[0]

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            found = await _take(self._call)
            if not found:
                return
            yield found[0]


async def _take(call: ServerCall) -> List[Any]:
    """The next request in a list, or an empty one at the end."""
    try:
        return [await call.take()]
    except StopAsyncIteration:
        return []


def too_large(size: int) -> ResourceExhaustedError:
    """The error of an answer that no frame can carry."""
    return ResourceExhaustedError(
        f"The answer takes {size} bytes; a frame carries at most {MAX_DATA_BYTES}. Ask for less.",
        reason="MESSAGE_TOO_LARGE",
    )


def access_changed() -> UnauthenticatedError:
    """The error of streams whose callers may do less than when they began."""
    return UnauthenticatedError(
        "What you may do here has changed. Call again; sign in again if that is refused.", reason="ACCESS_CHANGED"
    )


def stopping() -> UnavailableError:
    """The error of calls that a stopping server does not take."""
    return UnavailableError("The server is stopping; try again when it is back.", reason="SERVER_STOPPING")
