"""Tickets: who may call what here, checked without asking anybody (docs/tickets.md)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .errors import PermissionDeniedError, UnauthenticatedError
from .wellknown import base64_bytes, base64_text

_LONGEST_SECONDS = 60
_SKEW_SECONDS = 5
_KEEP_REVOCATION_SECONDS = 120
_MOST_CHARACTERS = 8192
_MOST_REMEMBERED = 1024
_LEVELS = ("none", "metadata", "request")
_KINDS = ("operator", "component", "service", "user")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Ticket:
    """What a ticket says that has been found genuine."""

    id: str
    audience: str
    principal: str
    issued_at: int
    expires_at: int
    methods: Mapping[str, str]
    environment: str = ""
    roles: Tuple[str, ...] = ()
    mfa: bool = False


@dataclass(frozen=True)
class Revocation:
    """Tickets that are worth nothing any more."""

    #: Empty: everybody's.
    principal: str
    #: Empty: for every service.
    service_id: str
    issued_before: float
    kept_until: float


def invalid() -> UnauthenticatedError:
    """The error that does not say which check failed."""
    return UnauthenticatedError(
        "This call carries no ticket that is good here. Look the service up again.", reason="TICKET_INVALID"
    )


def read_ticket(text: str, key: bytes, audience: str, now: float) -> Ticket:
    """The ticket, if it is genuine and meant for this instance. Raises UnauthenticatedError TICKET_INVALID."""
    parts = text.split(".")
    if len(text) > _MOST_CHARACTERS or len(parts) != 3 or parts[0] != "hms1":
        raise invalid()
    signed = f"{parts[0]}.{parts[1]}".encode("utf-8", "replace")
    expected = hmac.new(key, signed, hashlib.sha256).digest()
    given = _strict_base64url(parts[2])
    if given is None or not hmac.compare_digest(expected, given):
        raise invalid()
    ticket = _claims(_strict_base64url(parts[1]))
    if ticket is None or ticket.audience != audience:
        raise invalid()
    if ticket.issued_at > now + _SKEW_SECONDS or ticket.expires_at - ticket.issued_at > _LONGEST_SECONDS:
        raise invalid()
    return ticket


def _strict_base64url(text: str) -> Optional[bytes]:
    if not _BASE64URL.fullmatch(text):
        return None
    try:
        data = base64_bytes(text)
    except ValueError:
        return None
    # The last letter may carry bits that mean nothing; only one spelling is good.
    return data if base64_text(data).rstrip("=").replace("+", "-").replace("/", "_") == text else None


def _claims(payload: Optional[bytes]) -> Optional[Ticket]:
    try:
        said = json.loads((payload or b"").decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not _well_typed(said):
        return None
    return Ticket(
        said["id"],
        said["aud"],
        said["sub"],
        int(said["iat"]),
        int(said["exp"]),
        said["mth"],
        said.get("env", ""),
        tuple(said.get("roles", ())),
        said.get("mfa", False),
    )


def _well_typed(said: Dict[str, Any]) -> bool:
    texts = all(isinstance(said.get(name), str) for name in ("id", "aud", "sub"))
    times = all(_whole(said.get(name)) for name in ("iat", "exp"))
    roles = said.get("roles", [])
    methods = said.get("mth")
    return (
        texts
        and times
        and _principal(said["sub"])
        and isinstance(said.get("env", ""), str)
        and isinstance(said.get("mfa", False), bool)
        and isinstance(roles, list)
        and all(isinstance(each, str) for each in roles)
        and isinstance(methods, dict)
        and all(level in _LEVELS for level in methods.values())
    )


def _whole(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 and float(value).is_integer()


def _principal(text: str) -> bool:
    kind, _, name = text.partition(":")
    return kind in _KINDS and bool(name)


class TicketGate:
    """Lets calls in that carry a good ticket; safe for threads."""

    def __init__(self, key: bytes, audience: str, clock: Callable[[], float] = time.time) -> None:
        self.key = key
        self._audience = audience
        self._service_id = audience.split("/")[1]
        self._package = ".".join(audience.split("/")[1:3])
        self._clock = clock
        self._known: Dict[str, Ticket] = {}
        self._revocations: List[Revocation] = []
        self._lock = threading.Lock()

    def admit(self, text: Optional[str], package: str, path: str) -> Tuple[Ticket, str]:
        """The ticket and the audit level of a call. Raises UnauthenticatedError TICKET_INVALID, TICKET_EXPIRED or
        TICKET_REVOKED; PermissionDeniedError."""
        now = self._clock()
        ticket = self._ticket(text, now)
        if now >= ticket.expires_at:
            raise UnauthenticatedError("The ticket has ended. Look the service up again.", reason="TICKET_EXPIRED")
        if self.revoked(ticket):
            raise UnauthenticatedError("The ticket is revoked. Look the service up again.", reason="TICKET_REVOKED")
        level = self._level(ticket, package, path)
        if level is None:
            raise PermissionDeniedError(f"No policy lets {ticket.principal} call {path}.")
        return ticket, level

    def _ticket(self, text: Optional[str], now: float) -> Ticket:
        if text is None:
            raise invalid()
        known = self._known.get(text)
        if known is None:
            known = read_ticket(text, self.key, self._audience, now)
            with self._lock:
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[text] = known
        return known

    def _level(self, ticket: Ticket, package: str, path: str) -> Optional[str]:
        if package != self._package:
            return None
        methods = ticket.methods
        whole = f"{path.split('/')[0]}/*"
        return methods.get(path) or methods.get(whole) or methods.get("*")

    def revoked(self, ticket: Ticket) -> bool:
        """Whether a ticket for this instance is revoked by now."""
        return ticket.audience == self._audience and any(
            _fits(each, ticket, self._service_id) for each in self._revocations
        )

    def revoke(self, principal: str, service_id: str, issued_before: float) -> None:
        """Notes a revocation for as long as tickets from before it may live."""
        now = self._clock()
        with self._lock:
            kept = [each for each in self._revocations if each.kept_until > now]
            kept.append(Revocation(principal, service_id, issued_before, now + _KEEP_REVOCATION_SECONDS))
            self._revocations = kept


def _fits(revocation: Revocation, ticket: Ticket, service_id: str) -> bool:
    return (
        revocation.principal in ("", ticket.principal)
        and revocation.service_id in ("", service_id)
        and ticket.issued_at < revocation.issued_before
    )
