"""Servers that vanish from the network without ending their connections."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
import unittest
from typing import Tuple
from unittest import mock

from hms_ffi import keep_alive
from hms_ffi.addresses import parse_address
from hms_ffi.client import Client
from hms_ffi.errors import DeadlineExceededError, UnavailableError

from .services import ServedTest, TransactionService

_SECONDS = 0.15


class SwallowingProxy:
    """Carries bytes to a server and back until it is told to swallow them all."""

    def __init__(self, target: Tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._swallows = False
        self._ended = False
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def swallow(self) -> None:
        self._swallows = True

    def _carry(self) -> None:
        here, _ = self._listener.accept()
        with here, socket.create_connection(self._target) as there:
            while not self._ended:
                for each in select.select([here, there], [], [], 0.02)[0]:
                    data = each.recv(65536)
                    if not data:
                        return
                    if not self._swallows:
                        (there if each is here else here).sendall(data)

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._listener.close()


class HalfOpen(ServedTest):
    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(keep_alive, "SECONDS", _SECONDS)
        patch.start()
        self.addCleanup(patch.stop)
        self.service = TransactionService()
        parsed = parse_address(self.serve(self.service, address="tcp://127.0.0.1:0").address)
        self.proxy = SwallowingProxy((str(parsed.host), int(parsed.port or 0)))
        self.addCleanup(self.proxy.close)
        self.client = Client("hms.ach.transaction", address=self.proxy.address)
        self.addCleanup(self.client.close)

    def test_end_a_waiting_call_after_two_intervals(self) -> None:
        self.client.call("Echo", {"a": 1})
        self.proxy.swallow()
        begun = time.monotonic()
        with self.assertRaisesRegex(UnavailableError, "no sign of life") as caught:
            self.client.call("Block", timeout=5)
        self.assertEqual("CONNECTION_LOST", caught.exception.reason)
        self.assertLess(time.monotonic() - begun, 2)

    def test_end_a_waiting_call_of_asyncio_too(self) -> None:
        async def calls() -> None:
            await self.client.call_async("Echo", {"a": 1})
            self.proxy.swallow()
            with self.assertRaisesRegex(UnavailableError, "no sign of life") as caught:
                await self.client.call_async("Block", timeout=5)
            self.assertEqual("CONNECTION_LOST", caught.exception.reason)

        asyncio.run(calls())

    def test_are_told_from_servers_that_take_their_time(self) -> None:
        self.client.call("Echo", {"a": 1})
        with self.assertRaises(DeadlineExceededError):
            self.client.call("Block", timeout=5 * _SECONDS)

    def test_are_told_from_servers_that_take_their_time_with_asyncio_too(self) -> None:
        async def calls() -> None:
            await self.client.call_async("Echo", {"a": 1})
            with self.assertRaises(DeadlineExceededError):
                await self.client.call_async("Block", timeout=5 * _SECONDS)

        asyncio.run(calls())


if __name__ == "__main__":
    unittest.main()
