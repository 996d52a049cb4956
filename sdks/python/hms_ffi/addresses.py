"""Addresses of instances: "unix:/path", "tcp://127.0.0.1:port" and "tls://host:port"."""

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
    #: Whether TLS is spoken there.
    tls: bool = False


_WHAT_TO_DO = {
    "grpc": "gRPC is not in Python's standard library: call the service by its id, then the platform passes the call "
    "on, or call this address with grpcio",
    "http": "this SDK speaks no HTTP: call the service by its id, then the platform passes the call on",
}


def parse_address(text: str) -> Address:
    """Reads an address. Raises ValidationError for one that cannot be reached from here, saying what to do."""
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        return Address(path=path[2:] if path.startswith("///") else path)
    parts = urlsplit(text)
    if parts.scheme == "tls" and parts.hostname and parts.port:
        return Address(host=parts.hostname, port=parts.port, tls=True)
    if parts.scheme == "tcp" and parts.hostname and parts.port and _loopback(parts.hostname):
        return Address(host=parts.hostname, port=parts.port)
    advice = _WHAT_TO_DO.get(parts.scheme.rstrip("s"))
    why = advice or 'this SDK speaks to "unix:/path", "tcp://127.0.0.1:port" and "tls://host:port"'
    raise ValidationError(f'"{text}" cannot be reached from here: {why}.')


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


#: What `transport.default` may be, and the kinds of address that come before nearer ones by it. "grpc" is the network's
#: way, with certificates on both sides: between HMS programs, frames over mutual TLS.
TRANSPORTS = {
    "auto": "",
    "in_process": "",
    "local_socket": "unix",
    "tcp": "tcp",
    "tls": "tls",
    "grpc": "tls",
    "http": "",
}


class Ways(NamedTuple):
    """Which addresses a program calls, and which it prefers."""

    #: Whether it has a certificate, which tls addresses need.
    tls: bool = False
    #: One of TRANSPORTS.
    transport: str = "auto"
    #: Whether sockets of this machine are called directly.
    local_sockets: bool = True


_ANY_WAY = Ways()


def best_address(offered: Iterable[str], ways: Ways = _ANY_WAY) -> Optional[str]:
    """The first of an instance's addresses that this program can use, the preferred kind first, then the nearest; None
    if there is none."""
    usable = []
    for each in offered:
        try:
            parsed = parse_address(each)
        except ValidationError:
            continue
        kind = "tls" if parsed.tls else "tcp" if parsed.path is None else "unix"
        if (kind == "tls" and not ways.tls) or (kind == "unix" and not ways.local_sockets):
            continue
        usable.append((kind != TRANSPORTS[ways.transport], ("unix", "tcp", "tls").index(kind), each))
    return min(usable, key=lambda known: known[:2])[2] if usable else None


def not_connected(address: str, cause: OSError) -> UnavailableError:
    """The error of a call whose server could not be reached; it was not served."""
    error = UnavailableError(
        f"Nobody answers at {address} ({cause.strerror or cause}): is the service running?", reason="NOT_CONNECTED"
    )
    error.__cause__ = cause
    return error
