"""Addresses of instances: "unix:/path" and "tcp://127.0.0.1:port"."""

from __future__ import annotations

import ipaddress
from typing import Iterable, NamedTuple, Optional
from urllib.parse import urlsplit

from .errors import UnavailableError, ValidationError


class Address(NamedTuple):
    """Where a socket is: a path, or a host and port."""

    path: Optional[str] = None
    host: str = ""
    port: int = 0


def parse_address(text: str) -> Address:
    """Reads an address. Raises ValidationError for anything but unix sockets and loopback."""
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        return Address(path=path[2:] if path.startswith("///") else path)
    parts = urlsplit(text)
    if parts.scheme == "tcp" and parts.hostname and parts.port and _loopback(parts.hostname):
        return Address(host=parts.hostname, port=parts.port)
    raise ValidationError(
        f'"{text}" cannot be reached from here: this SDK speaks to "unix:/path" and "tcp://127.0.0.1:port".'
    )


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def best_address(offered: Iterable[str]) -> Optional[str]:
    """The first of an instance's addresses that this SDK can use, unix sockets first; None if there is none."""
    usable = []
    for each in offered:
        try:
            usable.append((parse_address(each).path is None, each))
        except ValidationError:
            continue
    return min(usable, key=lambda pair: pair[0])[1] if usable else None


def not_connected(address: str, cause: OSError) -> UnavailableError:
    """The error of a call whose server could not be reached; it was not served."""
    error = UnavailableError(
        f"Nobody answers at {address} ({cause.strerror or cause}): is the service running?", reason="NOT_CONNECTED"
    )
    error.__cause__ = cause
    return error
