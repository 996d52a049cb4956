"""The answers of a server-streaming call, for `for` and `async for`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, AsyncIterator, Iterator, Mapping

from .call_context import deadline_for_call
from .errors import ServiceError
from .metrics import Stopwatch
from .retries import Attempts

if TYPE_CHECKING:
    from .client import Client


class ServerStream:
    """The answers of a server-streaming call."""

    def __init__(self, client: Client, method: str, request: Any, options: Mapping[str, Any]) -> None:
        self._client = client
        self._method = method
        self._request = {} if request is None else request
        self._options = options

    def __iter__(self) -> Iterator[Any]:
        attempts = self._attempts()
        with Stopwatch(self._client.metrics) as watch:
            while True:
                begun = False
                try:
                    with self._client.read(self._method, self._request, {**self._options, "watch": watch}) as stream:
                        for each in stream:
                            begun = True
                            yield each
                    return
                except ServiceError as error:
                    time.sleep(self._again(error, attempts, begun))

    async def __aiter__(self) -> AsyncIterator[Any]:
        attempts = self._attempts()
        with Stopwatch(self._client.metrics) as watch:
            while True:
                begun = False
                options = {**self._options, "watch": watch}
                try:
                    async with await self._client.read_async(self._method, self._request, options) as stream:
                        async for each in stream:
                            begun = True
                            yield each
                    return
                except ServiceError as error:
                    await asyncio.sleep(self._again(error, attempts, begun))

    def _attempts(self) -> Attempts:
        return self._client.attempts(deadline_for_call(self._options["timeout"]))

    def _again(self, error: ServiceError, attempts: Attempts, begun: bool) -> float:
        """Seconds after which to begin anew; raises the error if messages have come or repeating is no use."""
        self._client.failed(error)
        delay = None if begun else attempts.delay(error)
        if delay is None:
            raise error
        return delay
