"""Connections by address, for threads and for event loops. A forked process starts with none."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import Dict, Optional

from .async_connection import AsyncConnection
from .blocking_connection import BlockingConnection
from .connections import AnyAsyncConnection, AnyBlockingConnection
from .dialing import open_socket
from .http_connection import AsyncHttpConnection, HttpConnection, is_http
from .tls import TlsIdentity


class BlockingChannels:
    """One connection for each address, shared by threads, made when it is needed."""

    def __init__(self, tls: Optional[TlsIdentity] = None) -> None:
        self._tls = tls
        self._reset()

    def _reset(self) -> None:
        # Not under the lock: in a forked child another thread of the parent may hold it for ever.
        self._lock = threading.Lock()
        self._connections: Dict[str, AnyBlockingConnection] = {}
        self._pid = os.getpid()

    def get(self, address: str, timeout: Optional[float]) -> AnyBlockingConnection:
        """A connection that takes calls. Raises UnavailableError NOT_CONNECTED."""
        if self._pid != os.getpid():
            self._leave_parent()
        known = self._connections.get(address)
        if known is not None and known.usable:
            return known
        with self._lock:
            known = self._connections.get(address)
            if known is not None and known.usable:
                return known
            limit = 5.0 if timeout is None else max(0.001, min(5.0, timeout))
            made: AnyBlockingConnection
            if is_http(address):
                made = HttpConnection(address)
            else:
                made = BlockingConnection(open_socket(address, limit, self._tls), address)
            self._connections[address] = made
            return made

    def _leave_parent(self) -> None:
        inherited = list(self._connections.values())
        self._reset()
        for each in inherited:
            # Only this process's descriptors: the parent's connection goes on.
            each.abandon()

    def running(self, address: str) -> int:
        """How many calls run to an address."""
        known = self._connections.get(address)
        return known.running if known is not None else 0

    def close(self) -> None:
        """Ends all connections and the calls on them."""
        if self._pid != os.getpid():
            self._leave_parent()
            return
        with self._lock:
            connections = list(self._connections.values())
            self._connections.clear()
        for each in connections:
            each.close()


class AsyncChannels:
    """One connection for each event loop and address."""

    def __init__(self, tls: Optional[TlsIdentity] = None) -> None:
        self._tls = tls
        self._reset()

    def _reset(self) -> None:
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Dict[str, asyncio.Future[AnyAsyncConnection]]]
        self._loops = weakref.WeakKeyDictionary()
        self._pid = os.getpid()

    async def get(self, address: str) -> AnyAsyncConnection:
        """A connection that takes calls. Raises UnavailableError NOT_CONNECTED."""
        if self._pid != os.getpid():
            self._reset()
        mine = self._loops.setdefault(asyncio.get_running_loop(), {})
        known = mine.get(address)
        if known is None or (known.done() and not _usable(known)):
            known = mine[address] = asyncio.ensure_future(_open(address, self._tls))
        return await asyncio.shield(known)

    def running(self, address: str) -> int:
        """How many calls of this event loop run to an address."""
        known = self._loops.get(asyncio.get_running_loop(), {}).get(address)
        return known.result().running if known is not None and known.done() and _usable(known) else 0

    def close(self) -> None:
        """Ends all connections and the calls on them."""
        for loop, connections in list(self._loops.items()):
            for each in connections.values():
                if each.done() and _usable(each):
                    _close_on(loop, each.result())
        self._reset()


async def _open(address: str, tls: Optional[TlsIdentity]) -> AnyAsyncConnection:
    return AsyncHttpConnection(address) if is_http(address) else await AsyncConnection.open(address, tls)


def _usable(opened: asyncio.Future[AnyAsyncConnection]) -> bool:
    return not opened.cancelled() and opened.exception() is None and opened.result().usable


def _close_on(loop: asyncio.AbstractEventLoop, connection: AnyAsyncConnection) -> None:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        connection.close()
    elif not loop.is_closed():
        loop.call_soon_threadsafe(connection.close)
