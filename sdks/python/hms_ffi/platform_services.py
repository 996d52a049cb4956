"""Clients of the platform's own services, which answer at the registry's socket with its token."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Dict, Iterator, Optional

from .client import Client
from .errors import FailedPreconditionError, UnavailableError
from .registry import registry_address
from .settings import Settings, load_settings


def platform_client(service_id: str, service: str, settings: Optional[Settings] = None) -> Client:
    """A client of one of the platform's services, in JSON. Raises FailedPreconditionError without a platform."""
    known = settings or load_settings()
    if known.socket is None:
        raise FailedPreconditionError(
            f"{service_id} is part of the platform: set HMS_FFI_SOCKET to the path of its socket."
        )
    address = registry_address(known.socket)
    client = Client(service_id, service=service, address=address, token=known.token, contract=False, settings=known)
    # What the platform is asked for on a program's behalf is none of its own calls.
    client.metrics = None
    return client


#: Seconds that a platform which restarts is waited for.
PATIENCE = 30.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


def call_patiently(client: Client, method: str, request: Dict[str, Any], limit: float = PATIENCE) -> Any:
    """Makes a call that may be made twice; a platform that restarts is waited for, `limit` seconds in all. Raises
    ServiceError."""
    until = time.monotonic() + limit
    for pause in _pauses():
        try:
            return client.call(method, request, timeout=max(0.001, until - time.monotonic()), repeatable=True)
        except UnavailableError:
            if time.monotonic() + pause >= until:
                raise
            time.sleep(pause)
    return None


async def call_patiently_async(client: Client, method: str, request: Dict[str, Any], limit: float = PATIENCE) -> Any:
    """As `call_patiently`, with asyncio. Raises ServiceError."""
    until = time.monotonic() + limit
    for pause in _pauses():
        left = max(0.001, until - time.monotonic())
        try:
            return await client.call_async(method, request, timeout=left, repeatable=True)
        except UnavailableError:
            if time.monotonic() + pause >= until:
                raise
            await asyncio.sleep(pause)
    return None


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.5)
        pause = min(_LONGEST_PAUSE, pause * 2)
