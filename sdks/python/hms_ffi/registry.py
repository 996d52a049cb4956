"""Calls of the registry (hms.ffi.v1.RegistryService), made in JSON over its socket, or by HTTP."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, Optional

from .channels import BlockingChannels
from .client_session import CallState, Order
from .codecs import UNTYPED
from .connections import AnyBlockingConnection
from .envelope import JSON, metadata_fields, request_prefix
from .errors import FailedPreconditionError
from .settings import Settings

_SERVICE = "hms.ffi.v1.RegistryService"
_SECONDS = 10.0


def registry_address(socket: str) -> str:
    """The address of the registry's socket, as the settings name it."""
    return socket if socket.startswith("tcp:") or "://" in socket else f"unix:{socket}"


class Registry:
    """The registry as this process reaches it; safe for threads and forks."""

    def __init__(self, settings: Settings) -> None:
        if settings.socket is None:
            raise FailedPreconditionError(
                "No registry is known: set HMS_FFI_SOCKET to the path of its socket (HMS-SYS does so for what it "
                "runs), or give the client an address."
            )
        self.address = registry_address(settings.socket)
        self._metadata = metadata_fields({"authorization": f"Bearer {settings.token}"} if settings.token else {})
        self._channels = BlockingChannels(settings.tls)

    def call(self, method: str, request: Dict[str, Any], timeout: float = _SECONDS) -> Dict[str, Any]:
        """Makes a unary call. Raises ServiceError."""
        deadline = time.monotonic() + timeout
        connection = self._channels.get(self.address, timeout)
        answer: Dict[str, Any] = UNTYPED.decode_answer(
            connection.unary(self._order(method, request, timeout), deadline)
        )
        return answer

    def _order(self, method: str, request: Dict[str, Any], timeout: Optional[float]) -> Order:
        nanos = 0 if timeout is None else int(timeout * 1e9)
        prefix = request_prefix(_SERVICE, method)
        return Order(prefix, self._metadata, nanos, JSON, UNTYPED.encode(request), timeout is not None)

    def watch(self, request: Dict[str, Any]) -> Watch:
        """Begins a watch. Raises ServiceError."""
        connection = self._channels.get(self.address, _SECONDS)
        return Watch(connection, connection.start(self._order("Watch", request, None)))

    def close(self) -> None:
        """Ends the connection."""
        self._channels.close()


class Watch:
    """What a watch reports, one dict after the other."""

    def __init__(self, connection: AnyBlockingConnection, call: CallState) -> None:
        self._connection = connection
        self._call = call

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        while True:
            self._connection.wait(lambda: self._call.readable, None)
            message = self._connection.take(self._call)
            if message is None:
                return
            yield UNTYPED.decode_answer(message)

    def cancel(self) -> None:
        """Ends it, from any thread."""
        self._connection.cancel(self._call)
