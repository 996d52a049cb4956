"""Who a program is over TLS, and whom it believes (docs/wire.md, "Connection")."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any, Final, List, Mapping, Optional, Tuple

from .errors import ServiceError, UnauthenticatedError, UnavailableError, ValidationError

_log = logging.getLogger("hms_ffi.tls")

#: Frames over TLS, as ALPN names them.
FRAMES_PROTOCOL: Final = "hms-frames/1"
#: SPIFFE-ID, section 2: trust domain and path.
_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)+")


@dataclass(frozen=True)
class TlsIdentity:
    """Files in PEM, read anew for each connection, so that a rotated certificate needs no restart."""

    #: The certificate with its SPIFFE id, intermediates after it.
    certificate: str
    key: str
    #: The authorities that peers' certificates come from.
    authority: str
    #: Which server a client expects; None: any of the authorities'.
    expected_id: Optional[str] = None

    def client_context(self) -> ssl.SSLContext:
        """TLS 1.3 and nothing older; host names are not compared. Raises ValidationError if a file cannot be used."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def server_context(self) -> ssl.SSLContext:
        """As `client_context`, for a server, which asks for its callers' certificates."""
        return self._context(ssl.PROTOCOL_TLS_SERVER)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([FRAMES_PROTOCOL])
        problems: List[str] = []
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ValueError) as cause:
            problems.append(f"{self.certificate} with the key {self.key} cannot be used: {cause}.")
        try:
            context.load_verify_locations(self.authority)
        except (OSError, ValueError) as cause:
            problems.append(f"The authority's certificate {self.authority} cannot be used: {cause}.")
        if problems:
            raise ValidationError(" ".join([*problems, "Name files in PEM that this user may read."]))
        return context

    def state(self) -> Tuple[Tuple[int, int, int], ...]:
        """Changes when one of the files does."""
        try:
            found = [os.stat(each) for each in (self.certificate, self.key, self.authority)]
        except OSError:
            return ()
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)


class ServerCertificate:
    """A server's side of TLS, which follows its files: each connection is judged by what is in them as it begins. Files
    that cannot be used change nothing."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._identity = identity
        self._state = identity.state()
        self._current = identity.server_context()
        #: What the listener begins with; it changes over within the handshake.
        self.context = identity.server_context()
        # OpenSSL calls it, with or without a server name, before it shows a certificate or judges the caller's.
        self.context.sni_callback = self._choose
        # A resumed session would not be judged again by authorities that have changed since.
        self.context.num_tickets = 0

    def _choose(self, connection: Any, name: Optional[str], context: ssl.SSLContext) -> None:
        connection.context = self._followed()

    def _followed(self) -> ssl.SSLContext:
        now = self._identity.state()
        if now != self._state:
            try:
                # Nothing can be taken out of a context, so that authorities that have gone need a new one.
                self._current = self._identity.server_context()
                self._state = now
            except ValidationError as error:
                _log.warning("TLS goes on with the files as they were: %s", error.message)
        return self._current


def spiffe_id(certificate: Optional[Mapping[str, Any]]) -> Optional[str]:
    """The SPIFFE id in a certificate as `getpeercert` shows it; None if there is none, or another URI beside it
    (X509-SVID, section 2)."""
    names = (certificate or {}).get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"]
    return uris[0] if len(uris) == 1 and _SPIFFE_ID.fullmatch(uris[0]) else None


def check_server(agreed: Any, expected: Optional[str]) -> None:
    """Judges a server by its SPIFFE id instead of its host name: any of the authorities', or the one expected. Raises
    UnauthenticatedError."""
    shown = spiffe_id(agreed.getpeercert())
    if agreed.selected_alpn_protocol() != FRAMES_PROTOCOL:
        raise UnauthenticatedError(f"The server does not speak {FRAMES_PROTOCOL}: is it another kind of server?")
    if shown is None or expected not in (None, shown):
        raise UnauthenticatedError(
            f"The server shows {shown or 'no SPIFFE id'}; {expected or 'a SPIFFE id'} was expected."
        )


def no_trust(address: str, cause: ssl.SSLError) -> UnauthenticatedError:
    """The error where both sides could not agree on TLS."""
    error = UnauthenticatedError(f"No trust between this side and {address}: {cause.reason or cause}.")
    error.__cause__ = cause
    return error


def refused(address: str) -> UnavailableError:
    """The error of a connection that a server ended before its first frame: some TLS libraries give no reason."""
    return UnavailableError(
        f"{address} ended the connection before its first frame: it does not accept this program's certificate, or it "
        "stopped just then. Compare the authority of the certificate with the server's.",
        reason="CONNECTION_LOST",
    )


class TlsSocket:
    """A connected TLS socket that is used like one without: nothing to read or no room is BlockingIOError."""

    def __init__(self, agreed: ssl.SSLSocket, address: str) -> None:
        self._agreed = agreed
        self._address = address
        self._has_read = False
        # OpenSSL does not let one thread read while another writes.
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """For `poll`."""
        return self._agreed.fileno()

    def recv(self, size: int) -> bytes:
        """What there is, all that has been decrypted included, which `poll` would not tell of. Raises
        BlockingIOError, ServiceError if the peer does not accept this side's certificate."""
        with self._lock:
            try:
                data = self._agreed.recv(size)
                while self._agreed.pending():
                    data += self._agreed.recv(size)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as cause:
                raise BlockingIOError from cause
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            except ssl.SSLError as cause:
                raise no_trust(self._address, cause) from cause
            except ConnectionError as cause:
                if not self._has_read:
                    raise refused(self._address) from cause
                raise
        if not data and not self._has_read:
            raise refused(self._address)
        self._has_read = True
        return data

    def send(self, data: Any) -> int:
        """Sends what there is room for. Raises BlockingIOError, OSError."""
        with self._lock:
            try:
                return self._agreed.send(data)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as cause:
                raise BlockingIOError from cause

    def shutdown(self, how: int) -> None:
        """Ends the connection under whoever reads."""
        socket.socket.shutdown(self._agreed, how)

    def close(self) -> None:
        """Gives the descriptor back."""
        self._agreed.close()


def connect_tls(sock: socket.socket, address: str, identity: Optional[TlsIdentity], host: str) -> TlsSocket:
    """Agrees on TLS over a connected socket that has a timeout. Raises UnauthenticatedError, ValidationError."""
    context = known(identity, address).client_context()
    try:
        agreed = context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLError as cause:
        raise no_trust(address, cause) from cause
    try:
        check_server(agreed, known(identity, address).expected_id)
    except ServiceError:
        agreed.close()
        raise
    agreed.setblocking(False)
    return TlsSocket(agreed, address)


def known(identity: Optional[TlsIdentity], address: str) -> TlsIdentity:
    """The identity, which tls addresses cannot do without. Raises ValidationError."""
    if identity is not None:
        return identity
    raise ValidationError(
        f"{address} needs a certificate: give tls=TlsIdentity(certificate, key, authority), or set "
        "ffi.transport.tls in the configuration file."
    )
