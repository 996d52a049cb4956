"""A streaming call for blocking code; one thread may send while another reads."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Iterator, Mapping, Optional, Type

from .blocking_connection import deadline_exceeded
from .client_session import CallState
from .codecs import MethodCodecs
from .connections import AnyBlockingConnection
from .errors import DeadlineExceededError, InternalError


class BlockingStream:
    """Sends and reads messages of one call."""

    def __init__(
        self, connection: AnyBlockingConnection, call: CallState, codecs: MethodCodecs, deadline: Optional[float]
    ) -> None:
        self._connection = connection
        self._call = call
        self._codecs = codecs
        self._deadline = deadline

    def send(self, message: Any) -> bool:
        """Sends a message once the service wants it; False if the call has ended. Raises ServiceError."""
        payload = self._codecs.request.encode(message)
        try:
            return self._connection.send(self._call, payload, self._deadline)
        except DeadlineExceededError as error:
            self._connection.cancel(self._call, error)
            return False

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the service has said beside its answers so far."""
        return self._call.metadata

    def close_send(self) -> None:
        """Says that no more messages follow."""
        self._connection.send_end(self._call)

    def receive(self) -> Any:
        """The next message. Raises StopIteration at the end, ServiceError if the call failed."""
        try:
            self._connection.wait(lambda: self._call.readable, self._deadline)
        except DeadlineExceededError:
            self._connection.cancel(self._call, deadline_exceeded())
        message = self._connection.take(self._call)
        if message is None:
            raise StopIteration
        return self._codecs.response.decode_answer(message)

    def answer(self) -> Any:
        """The one answer of a call that takes many requests. Raises ServiceError."""
        try:
            return self.receive()
        except StopIteration:
            raise InternalError("The service ended the call without an answer.") from None

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                message = self.receive()
            except StopIteration:
                return
            yield message

    def cancel(self) -> None:
        """Ends the call; the service is told. From any thread."""
        self._connection.cancel(self._call)

    def __enter__(self) -> BlockingStream:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.cancel()
