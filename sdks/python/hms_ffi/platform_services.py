"""Clients of the platform's own services, which answer at the registry's socket with its token."""

from __future__ import annotations

from typing import Optional

from .client import Client
from .errors import FailedPreconditionError
from .settings import Settings, load_settings


def platform_client(service_id: str, service: str, settings: Optional[Settings] = None) -> Client:
    """A client of one of the platform's services, in JSON. Raises FailedPreconditionError without a platform."""
    known = settings or load_settings()
    if known.socket is None:
        raise FailedPreconditionError(
            f"{service_id} is part of the platform: set HMS_FFI_SOCKET to the path of its socket."
        )
    address = known.socket if known.socket.startswith("tcp:") else f"unix:{known.socket}"
    return Client(service_id, service=service, address=address, token=known.token, contract=False, settings=known)
