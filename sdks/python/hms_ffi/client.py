"""Calls of a service, blocking and with asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AsyncIterable, Iterable, Mapping, Optional, Union

from .async_stream import AsyncStream
from .blocking_stream import BlockingStream
from .call_kinds import Kind, OnMetadata, each_of
from .client_calls import DEFAULT_TIMEOUT, ClientCalls
from .interceptors import CallRequest, chain
from .server_stream import ServerStream

if TYPE_CHECKING:
    from .operations import AsyncCall, Operations

__all__ = ["DEFAULT_TIMEOUT", "Client"]


class Client(ClientCalls):
    """Calls one service: by its id through the registry, or at a given address. Safe for threads, tasks and forks."""

    _started: Optional[Operations] = None

    def call(
        self,
        method: str,
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        repeatable: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
        on_metadata: Optional[OnMetadata] = None,
    ) -> Any:
        """Calls a method and waits for its answer, at most `timeout` seconds (default: the client's, 30).
        `repeatable` says that a second call does no harm, where no contract does; `idempotency_key` (1 to 128 visible
        characters) lets the service know a call that is made again; `on_metadata` is told what the service says beside
        its answer. Raises ServiceError."""

        def proceed(what: CallRequest) -> Any:
            terms = self._terms(what, repeatable, on_metadata)
            payload = terms.codecs.request.encode(what.request)
            return terms.codecs.response.decode_answer(self._unary(terms, payload))

        own = self._own(metadata, idempotency_key)
        limit = self.timeout if timeout is None else timeout
        return chain(self._interceptors, proceed)(CallRequest(self._book.service, method, request, own, limit))

    async def call_async(
        self,
        method: str,
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        repeatable: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
        on_metadata: Optional[OnMetadata] = None,
    ) -> Any:
        """As `call`, with asyncio; cancelling the task cancels the call at the service. Raises ServiceError."""

        async def proceed(what: CallRequest) -> Any:
            await self._learn()
            terms = self._terms(what, repeatable, on_metadata)
            payload = terms.codecs.request.encode(what.request)
            return terms.codecs.response.decode_answer(await self._unary_async(terms, payload))

        own = self._own(metadata, idempotency_key)
        limit = self.timeout if timeout is None else timeout
        return await chain(self._async_interceptors, proceed)(
            CallRequest(self._book.service, method, request, own, limit)
        )

    def stream(
        self,
        method: str,
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
    ) -> ServerStream:
        """The answers of a streaming method, for `for` or `async for`; the call is made when reading begins.
        Without `timeout` it may last. Raises ServiceError while reading."""
        options = {"timeout": timeout, "metadata": metadata, "idempotency_key": idempotency_key}
        return ServerStream(self, method, request, options)

    def client_stream(self, method: str, requests: Iterable[Any], **options: Any) -> Any:
        """Sends many requests and waits for the one answer. Raises ServiceError."""
        with self._open(method, Kind(sends=True, single=True), **options) as stream:
            for each in requests:
                if not stream.send(each):
                    break
            stream.close_send()
            return stream.answer()

    async def client_stream_async(
        self, method: str, requests: Union[Iterable[Any], AsyncIterable[Any]], **options: Any
    ) -> Any:
        """As `client_stream`, with asyncio. Raises ServiceError."""
        async with await self._open_async(method, Kind(sends=True, single=True), **options) as stream:
            async for each in each_of(requests):
                if not await stream.send(each):
                    break
            await stream.close_send()
            return await stream.answer()

    def open(self, method: str, request: Any = None, **options: Any) -> BlockingStream:
        """Opens a stream of any kind, to send and read by hand; leaving its `with` block cancels it. Without a contract
        it is one of answers if there is a request, otherwise one in both directions. Raises ServiceError."""
        return self._open(method, None, request, **options)

    async def open_async(self, method: str, request: Any = None, **options: Any) -> AsyncStream:
        """As `open`, with asyncio. Raises ServiceError."""
        return await self._open_async(method, None, request, **options)

    def bidi_stream(self, method: str, **options: Any) -> BlockingStream:
        """Opens a stream in both directions. Raises ServiceError."""
        return self._open(method, Kind(sends=True, single=False), **options)

    async def bidi_stream_async(self, method: str, **options: Any) -> AsyncStream:
        """As `bidi_stream`, with asyncio. Raises ServiceError."""
        return await self._open_async(method, Kind(sends=True, single=False), **options)

    def close(self) -> None:
        """Ends the client's connections and the calls on them."""
        self._channels.close()
        self._async_channels.close()
        if self._started is not None:
            self._started.close()
        self._route.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def start(self, method: str, request: Any = None, **options: Any) -> AsyncCall:
        """Starts a call that outlives this process and answers at once; options as of `Operations.start`. Raises
        ServiceError."""
        return self._operations().start(method, request, **options)

    async def start_async(self, method: str, request: Any = None, **options: Any) -> AsyncCall:
        """As `start`, with asyncio. Raises ServiceError."""
        return await self._operations().start_async(method, request, **options)

    def resume(self, method: str, operation_id: str) -> AsyncCall:
        """A call that was started before, perhaps by another process, by its `id`; the method is needed to read the
        answer. Raises ServiceError, ResourceNotFoundError if it is forgotten or another's."""
        return self._operations().get(operation_id, method)

    def _operations(self) -> Operations:
        from .operations import Operations

        if self._started is None:
            self._started = Operations(self, self._settings)
        return self._started
