"""How the calls of a client are made: by which contract, to which instance, again or not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any, Dict, Final, Iterator, Mapping, Optional, Sequence, Tuple

from .async_stream import AsyncStream
from .blocking_stream import BlockingStream
from .call_context import deadline_for_call, metadata_for_call
from .call_kinds import READ, UNARY, Kind, OnMetadata, Terms, kind_of
from .channels import AsyncChannels, BlockingChannels
from .client_session import OnEnd, Order
from .codecs import Codec, MethodCodecs
from .directory import Instance
from .envelope import metadata_fields
from .errors import DeadlineExceededError, ServiceError, ValidationError
from .interceptors import AsyncInterceptor, CallRequest, Interceptor, chain
from .method_codecs import ContractSource, MethodBook
from .metrics import MADE, CallMetrics, Stopwatch
from .retries import Attempts, RetryBudget
from .route import Route, time_left
from .settings import Settings, load_settings
from .tls import TlsIdentity

#: Seconds that a call may take if nothing else is said.
DEFAULT_TIMEOUT: Final = 30.0
#: Lets the callee know a call that is made again.
IDEMPOTENCY_KEY: Final = "x-hms-idempotency-key"
_LONGEST_KEY: Final = 128


class ClientCalls:
    """What a client's calls have in common."""

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
        self._route = Route(
            service_id,
            version,
            address=address,
            environment=environment or self._settings.environment,
            credentials=f"Ticket {ticket}" if ticket else f"Bearer {token}" if token else None,
            settings=self._settings,
        )
        self._book = MethodBook(service_id, version, service=service, codec=codec, contract=contract)

    def _open(
        self,
        method: str,
        kind: Optional[Kind],
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
        watch: Optional[Stopwatch] = None,
    ) -> BlockingStream:
        def proceed(what: CallRequest) -> BlockingStream:
            terms = self._terms(what, None)
            meant = kind or kind_of(terms.codecs, what.request)
            payload = None if meant.sends else terms.codecs.request.encode(what.request)
            attempts = self._attempts(terms)
            with self._opening(terms, watch) as (on_end, terms):
                while True:
                    target = self._route.target(terms.deadline, self._channels.running, attempts.tried)
                    try:
                        with self._route.breaker(target).opening(on_end) as ended:
                            connection = self._channels.get(target.address, time_left(terms.deadline))
                            order = self._order(terms, target, payload, meant)._replace(on_end=ended)
                            call = connection.start(order)
                        return BlockingStream(connection, call, terms.codecs, terms.deadline)
                    except ServiceError as error:
                        time.sleep(self._again(error, attempts, target))

        own = self._own(metadata, idempotency_key)
        opened: BlockingStream = chain(self._interceptors, proceed)(
            CallRequest(self._book.service, method, request, own, timeout)
        )
        return opened

    async def _open_async(
        self,
        method: str,
        kind: Optional[Kind],
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
        watch: Optional[Stopwatch] = None,
    ) -> AsyncStream:
        async def proceed(what: CallRequest) -> AsyncStream:
            await self._learn()
            terms = self._terms(what, None)
            meant = kind or kind_of(terms.codecs, what.request)
            payload = None if meant.sends else terms.codecs.request.encode(what.request)
            attempts = self._attempts(terms)
            with self._opening(terms, watch) as (on_end, terms):
                while True:
                    target = await self._route.target_async(
                        terms.deadline, self._async_channels.running, attempts.tried
                    )
                    try:
                        with self._route.breaker(target).opening(on_end) as ended:
                            connection = await self._async_channels.get(target.address)
                            order = self._order(terms, target, payload, meant)._replace(on_end=ended)
                            call = connection.start(order)
                        return AsyncStream(connection, call, terms.codecs, terms.deadline)
                    except ServiceError as error:
                        await asyncio.sleep(self._again(error, attempts, target))

        own = self._own(metadata, idempotency_key)
        opened: AsyncStream = await chain(self._async_interceptors, proceed)(
            CallRequest(self._book.service, method, request, own, timeout)
        )
        return opened

    @contextlib.contextmanager
    def _opening(self, terms: Terms, watch: Optional[Stopwatch]) -> Iterator[Tuple[Optional[OnEnd], Terms]]:
        """Counts a stream when it ends, or fails to open, unless whoever watches it does."""
        own = watch or Stopwatch(self.metrics)
        try:
            yield own.end if watch is None else None, _watched(terms, own)
        except BaseException as error:
            if watch is None:
                own.end(error)
            raise

    def _own(self, metadata: Optional[Mapping[str, str]], idempotency_key: Optional[str]) -> Dict[str, str]:
        own = {**self._metadata, **(metadata or {})}
        if idempotency_key is not None:
            own[IDEMPOTENCY_KEY] = _checked_key(idempotency_key)
        return own

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
            terms = _watched(terms, watch)
            while True:
                target = self._route.target(terms.deadline, self._channels.running, attempts.tried)
                try:
                    with self._route.breaker(target):
                        connection = self._channels.get(target.address, time_left(terms.deadline))
                        return connection.unary(self._order(terms, target, payload, UNARY), terms.deadline)
                except ServiceError as error:
                    time.sleep(self._again(error, attempts, target))

    async def _unary_async(self, terms: Terms, payload: bytes) -> bytes:
        attempts = self._attempts(terms)
        with Stopwatch(self.metrics) as watch:
            terms = _watched(terms, watch)
            while True:
                target = await self._route.target_async(terms.deadline, self._async_channels.running, attempts.tried)
                try:
                    with self._route.breaker(target):
                        connection = await self._async_channels.get(target.address)
                        return await connection.unary(self._order(terms, target, payload, UNARY), terms.deadline)
                except ServiceError as error:
                    await asyncio.sleep(self._again(error, attempts, target))

    def _again(self, error: ServiceError, attempts: Attempts, target: Instance) -> float:
        """Seconds after which to try again; raises the error if it is the caller's."""
        self._route.failed(error, target)
        attempts.tried.append(target.address)
        delay = attempts.delay(error)
        if delay is None:
            raise error
        return delay


def _watched(terms: Terms, watch: Stopwatch) -> Terms:
    metadata = watch.measure(terms.codecs.service, terms.codecs.name, terms.metadata)
    return terms if metadata is terms.metadata else terms._replace(metadata=metadata)


def _checked_key(key: str) -> str:
    if 0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable():
        return key
    raise ValidationError(f"An idempotency key has 1 to {_LONGEST_KEY} visible characters of ASCII, not {key!r:.200}.")
