"""The types of streams in both directions, for code that is generated from a contract."""

from __future__ import annotations

from types import TracebackType
from typing import AsyncIterator, Iterator, Optional, Protocol, Type, TypeVar

Sent = TypeVar("Sent", contravariant=True)
Read = TypeVar("Read", covariant=True)


class Conversation(Protocol[Sent, Read]):
    """A stream in both directions, blocking; leaving its `with` block cancels it."""

    def send(self, message: Sent) -> bool:
        """Sends a message once the service wants it; False if the call has ended. Raises ServiceError."""

    def close_send(self) -> None:
        """Says that no more messages follow."""

    def receive(self) -> Read:
        """The next message. Raises StopIteration at the end, ServiceError if the call failed."""

    def cancel(self) -> None:
        """Ends the call; the service is told. From any thread."""

    def __iter__(self) -> Iterator[Read]: ...

    def __enter__(self) -> Conversation[Sent, Read]: ...

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None: ...


class AsyncConversation(Protocol[Sent, Read]):
    """A stream in both directions, with asyncio; leaving its `async with` block cancels it."""

    async def send(self, message: Sent) -> bool:
        """Sends a message once the service wants it; False if the call has ended. Raises ServiceError."""

    async def close_send(self) -> None:
        """Says that no more messages follow."""

    async def receive(self) -> Read:
        """The next message. Raises StopAsyncIteration at the end, ServiceError if the call failed."""

    def cancel(self) -> None:
        """Ends the call; the service is told."""

    def __aiter__(self) -> AsyncIterator[Read]: ...

    async def __aenter__(self) -> AsyncConversation[Sent, Read]: ...

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None: ...
