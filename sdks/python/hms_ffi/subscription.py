"""Subscriptions to events (hms.sys.integration.v1.EventService)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from datetime import timedelta
from typing import Any, AsyncIterator, Callable, Coroutine, Dict, Iterator, NamedTuple, Optional

from .client import Client
from .errors import ResourceNotFoundError, ServiceError, UnavailableError, ValidationError
from .event import Event
from .wellknown import span_text

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Habits(NamedTuple):
    """How a subscription behaves on this side."""

    on_subscribed: Optional[Callable[[], Any]]
    auto_ack: bool


class Subscription:
    """Events as they come, for `for` or `async for`; subscribes again by itself when the platform was away, or when
    what this program may do has changed."""

    def __init__(self, client: Client, request: Dict[str, Any], habits: Habits) -> None:
        self._client = client
        self._request = request
        self._habits = habits
        self._ended = threading.Event()
        self._stream: Any = None
        self._pause = _FIRST_PAUSE

    def __iter__(self) -> Iterator[Event]:
        """Each event; one of a group that was not settled when the next is asked for is acknowledged then, unless
        `auto_ack` is false. Raises ServiceError."""
        while not self._ended.is_set():
            try:
                for event in self._connected():
                    yield event
                    if self._habits.auto_ack and not event.settled:
                        with _told():
                            event.ack()
            except ServiceError as error:
                if self._ended.wait(self._pause_after(error)):
                    return

    async def __aiter__(self) -> AsyncIterator[Event]:
        """As with `for`; leaving the loop ends the subscription. Raises ServiceError."""
        while not self._ended.is_set():
            try:
                async for event in self._connected_async():
                    yield event
                    if self._habits.auto_ack and not event.settled:
                        with _told():
                            await event.ack_async()
            except ServiceError as error:
                await asyncio.sleep(self._pause_after(error))

    def _pause_after(self, error: ServiceError) -> float:
        """Seconds until it is worth trying again; raises what no waiting helps against."""
        if self._ended.is_set():
            return 0.0
        if not isinstance(error, UnavailableError) and error.reason != "ACCESS_CHANGED":
            raise error
        pause = self._pause * random.uniform(0.5, 1.5)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        return pause

    def _connected(self) -> Iterator[Event]:
        subscription_id = ""
        with self._client.open("Subscribe", self._request) as stream:
            self._stream = stream
            for answer in stream:
                subscription_id = self._begun(answer) or subscription_id
                if answer.get("delivery"):
                    yield Event(self._client, subscription_id, answer["delivery"])

    async def _connected_async(self) -> AsyncIterator[Event]:
        subscription_id = ""
        async with await self._client.open_async("Subscribe", self._request) as stream:
            self._stream = stream
            async for answer in stream:
                subscription_id = self._begun(answer) or subscription_id
                if answer.get("delivery"):
                    yield Event(self._client, subscription_id, answer["delivery"])

    def _begun(self, answer: Dict[str, Any]) -> str:
        self._pause = _FIRST_PAUSE
        subscription_id = str(answer.get("subscriptionId", ""))
        if subscription_id and self._habits.on_subscribed is not None:
            self._habits.on_subscribed()
        return subscription_id

    def consume(self, handler: Callable[[Event], Any]) -> None:
        """Hands each event to a function, until `close`: acknowledged when it returns, delivered again when it raises,
        unless it has settled the event itself. Raises ServiceError if the platform refuses."""
        for event in self:
            settle: Callable[..., None]
            try:
                handler(event)
            except Exception:
                settle = event.retry
            else:
                settle = event.ack
            with _told():
                settle()

    async def consume_async(self, handler: Callable[[Event], Any]) -> None:
        """As `consume`, with asyncio; the handler may be a coroutine function. Raises ServiceError."""
        async for event in self:
            settle: Callable[..., Coroutine[Any, Any, None]]
            try:
                answer = handler(event)
                if asyncio.iscoroutine(answer):
                    await answer
            except Exception:
                settle = event.retry_async
            else:
                settle = event.ack_async
            with _told():
                await settle()

    def close(self) -> None:
        """Ends it; from any thread, or with asyncio from the task's own event loop."""
        self._ended.set()
        if self._stream is not None:
            self._stream.cancel()


def _told() -> contextlib.AbstractContextManager[None]:
    """Where the subscription has ended with its server, the event is delivered again to the next one."""
    return contextlib.suppress(ResourceNotFoundError, UnavailableError)


def subscribe_request(
    pattern: str,
    group: str,
    *,
    start: str = "",
    ack_wait: Optional[float] = None,
    max_deliveries: int = 0,
    max_in_flight: int = 0,
    environment: str = "",
) -> Dict[str, Any]:
    """What the platform is asked for. Raises ValidationError."""
    if start not in ("", "earliest"):
        raise ValidationError(f'A group starts "earliest" or with what comes from now on, not "{start}".')
    request: Dict[str, Any] = {
        "pattern": pattern,
        "group": group,
        "start": "START_POSITION_EARLIEST" if start else "START_POSITION_UNSPECIFIED",
        "maxDeliveries": max_deliveries,
        "maxInFlight": max_in_flight,
        "environment": environment,
    }
    if ack_wait is not None:
        request["ackWait"] = span_text(timedelta(seconds=ack_wait))
    return request
