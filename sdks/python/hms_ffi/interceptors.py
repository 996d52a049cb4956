"""What interceptors see of a call, and how they are chained."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, Optional, Sequence


class CallRequest:
    """A call as interceptors see it; they may change everything but the method."""

    __slots__ = ("metadata", "method", "request", "service", "timeout")

    def __init__(
        self, service: str, method: str, request: Any, metadata: Dict[str, str], timeout: Optional[float]
    ) -> None:
        self.service = service
        self.method = method
        self.request = request
        self.metadata = metadata
        self.timeout = timeout


Interceptor = Callable[[CallRequest, Callable[[CallRequest], Any]], Any]
AsyncInterceptor = Callable[[CallRequest, Callable[[CallRequest], Awaitable[Any]]], Awaitable[Any]]


def chain(interceptors: Sequence[Any], last: Callable[[CallRequest], Any]) -> Callable[[CallRequest], Any]:
    """One function that runs the interceptors, the first outermost, and then makes the call."""
    for each in reversed(interceptors):
        last = _wrapped(each, last)
    return last


def _wrapped(interceptor: Any, after: Callable[[CallRequest], Any]) -> Callable[[CallRequest], Any]:
    return lambda what: interceptor(what, after)
