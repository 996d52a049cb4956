"""Services that tests call."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import unittest
from decimal import Decimal
from typing import Any, AsyncIterator, Dict, Iterable, Iterator, Optional

from hms_ffi.call_context import CallContext, current_call
from hms_ffi.client import Client
from hms_ffi.errors import ResourceNotFoundError
from hms_ffi.server import ServiceServer, serving
from hms_ffi.service import method, service


@service("hms.ach.transaction")
class TransactionService:
    """Every kind of handler."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.started = threading.Event()

    @method
    def process_transaction(
        self, type: str, amount: Decimal, source_account_id: str = "", description: Optional[str] = None
    ) -> Dict[str, Any]:
        """Processes one transaction."""
        if amount < 0:
            raise ResourceNotFoundError("No such account.", resource_type="account", resource_id=source_account_id)
        return {"transaction_id": f"{type}-{amount}", "status": "settled", "description": description}

    @method
    async def echo(self, request: Dict[str, Any]) -> Dict[str, Any]:
        await asyncio.sleep(0)
        return request

    @method
    def who(self, context: CallContext) -> Dict[str, Any]:
        current = current_call()
        return {
            "pid": os.getpid(),
            "same": current is context,
            "metadata": dict(context.metadata),
            "remaining": context.remaining,
        }

    @method
    def block(self, context: CallContext) -> Dict[str, Any]:
        self.started.set()
        context.wait_cancelled(10)
        self.stopped.set()
        return {}

    @method
    async def sleep(self) -> Dict[str, Any]:
        self.started.set()
        try:
            await asyncio.sleep(10)
        finally:
            self.stopped.set()
        return {}

    @method
    def crash(self) -> Dict[str, Any]:
        raise RuntimeError("a secret")

    @method(stream=True)
    def count(self, to: int) -> Iterator[Dict[str, int]]:
        for at in range(to):
            yield {"at": at}

    @method(stream=True)
    async def count_async(self, to: int) -> AsyncIterator[Dict[str, int]]:
        for at in range(to):
            await asyncio.sleep(0)
            yield {"at": at}

    @method(client_stream=True)
    def add(self, requests: Iterable[Dict[str, int]]) -> Dict[str, int]:
        return {"sum": sum(each["n"] for each in requests)}

    @method(client_stream=True, stream=True)
    async def double(self, requests: Any) -> AsyncIterator[Dict[str, int]]:
        async for each in requests:
            yield {"n": each["n"] * 2}


class ServedTest(unittest.TestCase):
    """A test with a server of its own at a socket of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="hms-py-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.service = TransactionService()
        self.server = self.serve(self.service)

    def serve(self, *services: Any, **options: Any) -> ServiceServer:
        """Serves until the test ends."""
        address = options.pop("address", f"unix:{self.folder}/{len(os.listdir(self.folder))}.sock")
        block = serving(*services, address=address, register=False, **options)
        server = block.__enter__()
        self.addCleanup(block.__exit__, None, None, None)
        return server

    def client(self, **options: Any) -> Client:
        """A client that is closed when the test ends."""
        made = Client("hms.ach.transaction", address=options.pop("address", self.server.address), **options)
        self.addCleanup(made.close)
        return made
