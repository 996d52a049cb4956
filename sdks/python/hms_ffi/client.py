"""Calls of a service, blocking and with asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterable,
    Dict,
    Iterable,
    Iterator,
    Mapping,
    Optional,
    Sequence,
    Union,
)

from .async_stream import AsyncStream
from .blocking_stream import BlockingStream
from .call_context import deadline_for_call, metadata_for_call
from .call_kinds import READ, UNARY, Kind, OnMetadata, Terms, each_of, kind_of
from .channels import AsyncChannels, BlockingChannels
from .client_session import OnEnd, Order
from .codecs import Codec, MethodCodecs
from .directory import Instance
from .envelope import metadata_fields
from .errors import DeadlineExceededError, ServiceError
from .interceptors import AsyncInterceptor, CallRequest, Interceptor, chain
from .method_codecs import ContractSource, MethodBook
from .metrics import MADE, CallMetrics, Stopwatch
from .retries import Attempts, RetryBudget
from .route import Route, time_left
from .server_stream import ServerStream
from .settings import Settings, load_settings
from .tls import TlsIdentity

if TYPE_CHECKING:
    from .operations import AsyncCall, Operations

#: Seconds that a call may take if nothing else is said.
DEFAULT_TIMEOUT = 30.0


class Client:
    """Calls one service: by its id through the registry, or at a given address. Safe for threads, tasks and forks."""

    def __init__(
        self,
        service_id: str,
        *,
        version: str = "v1",
        service: Optional[str] = None,
        environment: Optional[str] = None,
        address: Optional[str] = None,
        contract: ContractSource = None,
        codec: str = "json",
        token: Optional[str] = None,
        ticket: Optional[str] = None,
        timeout: Optional[float] = DEFAULT_TIMEOUT,
        max_attempts: int = 3,
        metadata: Optional[Mapping[str, str]] = None,
        interceptors: Sequence[Interceptor] = (),
        async_interceptors: Sequence[AsyncInterceptor] = (),
        tls: Optional[TlsIdentity] = None,
        settings: Optional[Settings] = None,
    ) -> None:
        self.service_id = service_id
        self.version = version
        self.timeout = timeout
        self._settings = settings or load_settings()
        if tls is not None:
            self._settings = replace(self._settings, tls=tls)
        self._metadata = dict(metadata or {})
        self._max_attempts = max_attempts
        self._interceptors = list(interceptors)
        self._async_interceptors = list(async_interceptors)
        self._channels = BlockingChannels(self._settings.tls)
        self._async_channels = AsyncChannels(self._settings.tls)
        self._budget = RetryBudget()
        #: What counts its calls; None: nothing does.
        self.metrics: Optional[CallMetrics] = MADE
        self._started: Optional[Operations] = None
        self._route = Route(
            service_id,
            version,
            address=address,
            environment=environment or self._settings.environment,
            credentials=f"Ticket {ticket}" if ticket else f"Bearer {token}" if token else None,
            settings=self._settings,
        )
        self._book = MethodBook(service_id, version, service=service, codec=codec, contract=contract)

    def call(
        self,
        method: str,
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        repeatable: Optional[bool] = None,
        on_metadata: Optional[OnMetadata] = None,
    ) -> Any:
        """Calls a method and waits for its answer, at most `timeout` seconds (default: the client's, 30).
        `repeatable` says that a second call does no harm, where no contract does; `on_metadata` is told what the
        service says beside its answer. Raises ServiceError."""

        def proceed(what: CallRequest) -> Any:
            terms = self._terms(what, repeatable, on_metadata)
            payload = terms.codecs.request.encode(what.request)
            return terms.codecs.response.decode_answer(self._unary(terms, payload))

        return chain(self._interceptors, proceed)(self._asked(method, request, metadata, timeout))

    async def call_async(
        self,
        method: str,
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        repeatable: Optional[bool] = None,
        on_metadata: Optional[OnMetadata] = None,
    ) -> Any:
        """As `call`, with asyncio; cancelling the task cancels the call at the service. Raises ServiceError."""

        async def proceed(what: CallRequest) -> Any:
            await self._learn()
            terms = self._terms(what, repeatable, on_metadata)
            payload = terms.codecs.request.encode(what.request)
            return terms.codecs.response.decode_answer(await self._unary_async(terms, payload))

        return await chain(self._async_interceptors, proceed)(self._asked(method, request, metadata, timeout))

    def stream(
        self,
        method: str,
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
    ) -> ServerStream:
        """The answers of a streaming method, for `for` or `async for`; the call is made when reading begins.
        Without `timeout` it may last. Raises ServiceError while reading."""
        return ServerStream(self, method, request, timeout, metadata)

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

    def _open(
        self,
        method: str,
        kind: Optional[Kind],
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        watch: Optional[Stopwatch] = None,
    ) -> BlockingStream:
        terms = self._terms(CallRequest(self._book.service, method, request, self._own(metadata), timeout), None)
        kind = kind or kind_of(terms.codecs, request)
        payload = None if kind.sends else terms.codecs.request.encode(request)
        attempts = self._attempts(terms)
        with self._opening(terms.codecs, watch) as on_end:
            while True:
                target = self._route.target(terms.deadline, self._channels.running)
                try:
                    connection = self._channels.get(target.address, time_left(terms.deadline))
                    call = connection.start(self._order(terms, target, payload, kind)._replace(on_end=on_end))
                    return BlockingStream(connection, call, terms.codecs, terms.deadline)
                except ServiceError as error:
                    time.sleep(self._again(error, attempts, target))

    async def _open_async(
        self,
        method: str,
        kind: Optional[Kind],
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        watch: Optional[Stopwatch] = None,
    ) -> AsyncStream:
        await self._learn()
        terms = self._terms(CallRequest(self._book.service, method, request, self._own(metadata), timeout), None)
        kind = kind or kind_of(terms.codecs, request)
        payload = None if kind.sends else terms.codecs.request.encode(request)
        attempts = self._attempts(terms)
        with self._opening(terms.codecs, watch) as on_end:
            while True:
                target = await self._route.target_async(terms.deadline, self._async_channels.running)
                try:
                    connection = await self._async_channels.get(target.address)
                    call = connection.start(self._order(terms, target, payload, kind)._replace(on_end=on_end))
                    return AsyncStream(connection, call, terms.codecs, terms.deadline)
                except ServiceError as error:
                    await asyncio.sleep(self._again(error, attempts, target))

    @contextlib.contextmanager
    def _opening(self, codecs: MethodCodecs, watch: Optional[Stopwatch]) -> Iterator[Optional[OnEnd]]:
        """Counts a stream when it ends, or fails to open, unless whoever watches it does."""
        own = watch or Stopwatch(self.metrics)
        own.measure(codecs.service, codecs.name)
        try:
            yield own.end if watch is None else None
        except BaseException as error:
            if watch is None:
                own.end(error)
            raise

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

    def _asked(
        self, method: str, request: Any, metadata: Optional[Mapping[str, str]], timeout: Optional[float]
    ) -> CallRequest:
        limit = self.timeout if timeout is None else timeout
        return CallRequest(self._book.service, method, request, self._own(metadata), limit)

    def _own(self, metadata: Optional[Mapping[str, str]]) -> Dict[str, str]:
        if not self._metadata:
            return dict(metadata) if metadata else {}
        return {**self._metadata, **(metadata or {})}

    async def _learn(self) -> None:
        """Asks for the contract off the event loop, the first time."""
        if self._book.needs_contract:
            await asyncio.get_running_loop().run_in_executor(None, self._ask_for_contract, None)

    def _ask_for_contract(self, deadline: Optional[float]) -> None:
        if self._book.needs_contract:
            self._book.learn(self._route.contract(deadline))

    def _terms(self, what: CallRequest, repeatable: Optional[bool], on_metadata: Optional[OnMetadata] = None) -> Terms:
        deadline = deadline_for_call(what.timeout)
        if deadline is not None and deadline <= time.monotonic():
            raise DeadlineExceededError("The call's deadline has passed before it was made.")
        self._ask_for_contract(deadline)
        codecs = self._book.method(what.method, what.request)
        metadata = metadata_for_call(what.metadata)
        may_repeat = codecs.repeatable if repeatable is None else repeatable
        return Terms(codecs, metadata, deadline, may_repeat, on_metadata)

    def method_codecs(self, method: str, request: Any) -> MethodCodecs:
        """How this client speaks with a method. Raises ServiceError."""
        self._ask_for_contract(None)
        return self._book.method(method, request)

    def answer_codec(self, method: str, codec: str) -> Codec:
        """How an answer of a method is read that was kept in "json" or "protobuf". Raises ServiceError."""
        self._ask_for_contract(None)
        return self._book.answers_in(codec, method)

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

    def read(self, method: str, request: Any, options: Mapping[str, Any]) -> BlockingStream:
        """Opens a stream of answers, which whoever reads counts; for `stream`."""
        return self._open(method, READ, request, **options)

    async def read_async(self, method: str, request: Any, options: Mapping[str, Any]) -> AsyncStream:
        """Opens a stream of answers, which whoever reads counts; for `stream`."""
        return await self._open_async(method, READ, request, **options)

    def attempts(self, deadline: Optional[float], repeatable: bool = False) -> Attempts:
        """The attempts of one call."""
        return Attempts(self._max_attempts, repeatable, deadline, self._budget)

    def failed(self, error: ServiceError) -> None:
        """A stream has failed; for `stream`."""
        self._route.failed(error)

    def _attempts(self, terms: Terms) -> Attempts:
        return self.attempts(terms.deadline, terms.repeatable)

    def _order(self, terms: Terms, target: Instance, payload: Optional[bytes], kind: Kind) -> Order:
        codecs, metadata = terms.codecs, terms.metadata
        if target.ticket is not None:
            metadata = {**metadata, "authorization": target.ticket}
        if target.environment is not None:
            metadata = {**metadata, "x-hms-environment": target.environment}
        timeout_ns = 0
        if terms.deadline is not None:
            timeout_ns = max(1, int((terms.deadline - time.monotonic()) * 1e9))
        encoded = metadata_fields(metadata) if metadata else b""
        number = codecs.request.number
        return Order(codecs.prefix, encoded, timeout_ns, number, payload, kind.single, kind.sends, terms.on_metadata)

    def _unary(self, terms: Terms, payload: bytes) -> bytes:
        attempts = self._attempts(terms)
        with Stopwatch(self.metrics) as watch:
            watch.measure(terms.codecs.service, terms.codecs.name)
            while True:
                target = self._route.target(terms.deadline, self._channels.running)
                try:
                    connection = self._channels.get(target.address, time_left(terms.deadline))
                    return connection.unary(self._order(terms, target, payload, UNARY), terms.deadline)
                except ServiceError as error:
                    time.sleep(self._again(error, attempts, target))

    async def _unary_async(self, terms: Terms, payload: bytes) -> bytes:
        attempts = self._attempts(terms)
        with Stopwatch(self.metrics) as watch:
            watch.measure(terms.codecs.service, terms.codecs.name)
            while True:
                target = await self._route.target_async(terms.deadline, self._async_channels.running)
                try:
                    connection = await self._async_channels.get(target.address)
                    return await connection.unary(self._order(terms, target, payload, UNARY), terms.deadline)
                except ServiceError as error:
                    await asyncio.sleep(self._again(error, attempts, target))

    def _again(self, error: ServiceError, attempts: Attempts, target: Instance) -> float:
        """Seconds after which to try again; raises the error if it is the caller's."""
        self._route.failed(error, target)
        delay = attempts.delay(error)
        if delay is None:
            raise error
        return delay
