"""Sockets to listen on: private files, tcp on loopback, and the network for TLS."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Tuple
from urllib.parse import urlsplit

from .addresses import parse_address
from .errors import AlreadyExistsError, ValidationError

#: The kernel's limit for a socket's path.
_MOST_BYTES = 107


def listen_unix(path: str, mode: int = 0o600) -> Tuple[socket.socket, str]:
    """A listening socket file in a folder of mode 0700 (if it has to be made). Raises AlreadyExistsError
    if somebody answers there, ValidationError if the path is too long. A dead file is replaced."""
    path = os.path.abspath(path)
    if len(path.encode()) > _MOST_BYTES - 6:
        raise ValidationError(
            f"{path} is too long for a socket ({_MOST_BYTES - 6} bytes): choose a shorter HMS_FFI_SERVICE_DIR."
        )
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    made = f"{path}.{os.getpid() % 0x10000:x}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made)
        sock.bind(made)
        os.chmod(made, mode)
        sock.listen(512)
        _take_name(made, path)
    except BaseException:
        sock.close()
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made)
    sock.setblocking(False)
    return sock, f"unix:{path}"


def _take_name(made: str, path: str) -> None:
    for _ in range(3):
        try:
            os.link(made, path)
            return
        except FileExistsError:
            if _answers(path):
                raise AlreadyExistsError(
                    f"Somebody serves at {path} already: stop it, or choose another address."
                ) from None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    raise AlreadyExistsError(f"{path} is taken again and again: choose another address.")


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True


def listen_network(address: str) -> Tuple[socket.socket, str]:
    """A socket for a tcp address on loopback or a tls address; port 0 takes a free one. Raises ValidationError,
    AlreadyExistsError."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    named = f"[{host}]" if ":" in host else host
    parse_address(f"{parts.scheme}://{named}:{parts.port or 1}")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, parts.port or 0))
        sock.listen(512)
    except OSError as error:
        sock.close()
        raise AlreadyExistsError(f"{address} cannot be listened on: {error.strerror}.") from error
    sock.setblocking(False)
    return sock, f"{parts.scheme}://{named}:{sock.getsockname()[1]}"
