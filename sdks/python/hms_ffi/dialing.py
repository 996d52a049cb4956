"""Sockets that are connected to an address."""

from __future__ import annotations

import socket
from typing import Optional, Union

from .addresses import not_connected, parse_address
from .errors import PermissionDeniedError, ServiceError
from .tls import TlsIdentity, TlsSocket, connect_tls

_CONNECT_SECONDS = 5.0


def open_socket(
    address: str, timeout: float = _CONNECT_SECONDS, tls: Optional[TlsIdentity] = None
) -> Union[socket.socket, TlsSocket]:
    """Connects. Raises UnavailableError NOT_CONNECTED, PermissionDeniedError, UnauthenticatedError, ValidationError."""
    parsed = parse_address(address)
    try:
        if parsed.path is None:
            sock = socket.create_connection((parsed.host, parsed.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            sock = _connected_file(parsed.path, timeout)
    except PermissionError as cause:
        raise PermissionDeniedError(f"This user may not open {address}.") from cause
    except OSError as cause:
        raise not_connected(address, cause) from cause
    if parsed.tls:
        return _agreed(sock, address, tls, parsed.host)
    sock.setblocking(False)
    return sock


def _connected_file(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _agreed(sock: socket.socket, address: str, tls: Optional[TlsIdentity], host: str) -> TlsSocket:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    try:
        return connect_tls(sock, address, tls, host)
    except OSError as cause:
        sock.close()
        # ServiceErrors of this kind are OSErrors too, and say it better.
        raise cause if isinstance(cause, ServiceError) else not_connected(address, cause) from cause
    except ServiceError:
        sock.close()
        raise
