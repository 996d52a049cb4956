"""A streaming call for asyncio; one task may send while another reads."""

from __future__ import annotations

from types import TracebackType
from typing import Any, AsyncIterator, Mapping, Optional, Type

from .blocking_connection import deadline_exceeded
from .client_session import CallState
from .codecs import MethodCodecs
from .connections import AnyAsyncConnection
from .errors import DeadlineExceededError, InternalError


class AsyncStream:
    """Sends and reads messages of one call."""

    def __init__(
        self, connection: AnyAsyncConnection, call: CallState, codecs: MethodCodecs, deadline: Optional[float]
    ) -> None:
        self._connection = connection
        self._call = call
        self._codecs = codecs
        self._deadline = deadline

    async def send(self, message: Any) -> bool:
        """Sends a message once the service wants it; False if the call has ended. Raises ServiceError."""
        payload = self._codecs.request.encode(message)
        try:
            return await self._connection.send(self._call, payload, self._deadline)
        except DeadlineExceededError as error:
            self._connection.cancel(self._call, error)
            return False

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the service has said beside its answers so far."""
        return self._call.metadata

    async def close_send(self) -> None:
        """Says that no more messages follow."""
        self._connection.send_end(self._call)

    async def receive(self) -> Any:
        """The next message. Raises StopAsyncIteration at the end, ServiceError if the call failed."""
        try:
            await self._connection.wait(lambda: self._call.readable, self._deadline)
        except DeadlineExceededError:
            self._connection.cancel(self._call, deadline_exceeded())
        message = self._connection.take(self._call)
        if message is None:
            raise StopAsyncIteration
        return self._codecs.response.decode_answer(message)

    async def answer(self) -> Any:
        """The one answer of a call that takes many requests. Raises ServiceError."""
        try:
            return await self.receive()
        except StopAsyncIteration:
            raise InternalError("The service ended the call without an answer.") from None

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            try:
                message = await self.receive()
            except StopAsyncIteration:
                return
            yield message

    def cancel(self) -> None:
        """Ends the call; the service is told."""
        self._connection.cancel(self._call)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.cancel()
