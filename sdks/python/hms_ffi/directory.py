"""Where services are: lookups kept while they hold, renewed ahead of time, used on while the registry is away."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .addresses import Ways, best_address, parse_address
from .contract import Contract
from .errors import ResourceNotFoundError, ServiceError, UnavailableError
from .http_connection import is_http
from .registry import Registry, Watch
from .settings import Settings
from .wellknown import base64_bytes, moment


#: What an instance gets of which the registry says nothing.
ORDINARY_SHARE = 10_000


class Instance(NamedTuple):
    """One place where a service answers, and the ticket for it."""

    address: str
    ticket: Optional[str] = None
    #: Where the service lives, if the address is the platform's, which passes the call on.
    environment: Optional[str] = None
    #: How many calls it gets, 10,000 being as many as any other; 0: only what nobody else can take.
    share: int = ORDINARY_SHARE


#: An instance that only the platform can reach for this program.
THROUGH_PLATFORM = Instance("")


@dataclass
class _Entry:
    instances: List[Instance]
    #: On the clock of `time.monotonic`.
    ask_again_at: float
    over_at: float
    has_contract: bool
    renewing: bool = False


_Key = Tuple[str, str]
_AGAIN_SECONDS = 1.0
_WATCH_AGAIN_SECONDS = 1.0
#: Calls without a ticket go by the platform; as soon as there is one, they go directly.
_NO_TICKET_SECONDS = 1.0


class Directory:
    """What the registry said of services; safe for threads and forks."""

    def __init__(self, settings: Settings, environment: str) -> None:
        self._settings = settings
        self._environment = environment
        self._registry = Registry(settings)
        self._ways = Ways(settings.tls is not None, settings.transport, settings.local_sockets)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: Dict[_Key, _Entry] = {}
        self._contracts: Dict[_Key, Optional[Contract]] = {}
        self._watches: Dict[_Key, Optional[Watch]] = {}
        self._closed = False
        self._pid = os.getpid()

    def cached(self, service_id: str, version: str) -> Optional[List[Instance]]:
        """The instances if asking is not needed; renews them in the background when it is time."""
        if self._pid != os.getpid():
            self._reset()
        entry = self._entries.get((service_id, version))
        now = time.monotonic()
        if entry is None or now >= entry.over_at:
            return None
        if now >= entry.ask_again_at and not entry.renewing:
            entry.renewing = True
            threading.Thread(target=self._renew, args=(service_id, version), daemon=True, name="hms-lookup").start()
        return entry.instances

    def find(self, service_id: str, version: str, timeout: float) -> List[Instance]:
        """The instances. Raises ResourceNotFoundError, UnavailableError; stays with what it knew while the registry is
        away."""
        known = self.cached(service_id, version)
        if known is not None:
            return known
        key = (service_id, version)
        try:
            entry = self._ask(service_id, version, timeout)
        except UnavailableError:
            old = self._entries.get(key)
            if old is None:
                raise
            # The instances decide about old tickets themselves; the registry is asked again soon, not on each call.
            old.over_at = time.monotonic() + _AGAIN_SECONDS
            return old.instances
        self._watch(key)
        return entry.instances

    def _ask(self, service_id: str, version: str, timeout: float) -> _Entry:
        request = {"serviceId": service_id, "version": version, "environment": self._environment}
        try:
            answer = self._registry.call("Lookup", request, timeout)
        except ResourceNotFoundError:
            self._entries.pop((service_id, version), None)
            raise
        entry = self._entry(answer)
        self._entries[(service_id, version)] = entry
        return entry

    def _entry(self, answer: Dict[str, Any]) -> _Entry:
        tickets: Dict[str, str] = {}
        lifetimes: List[float] = []
        for each in answer.get("tickets", []):
            tickets[each.get("instanceId", "")] = each.get("ticket", "")
            if each.get("expiresAt"):
                lifetimes.append(moment(each["expiresAt"]).timestamp() - time.time())
        service = answer.get("service", {})
        instances: List[Instance] = []
        elsewhere: List[Instance] = []
        for each in service.get("instances", []):
            if each.get("state") == "INSTANCE_STATE_UNAVAILABLE":
                continue
            offered = [each.get("address", ""), *each.get("alternativeAddresses", [])]
            address = best_address(filter(self._is_near, offered), self._ways)
            if address is not None:
                ticket = tickets.get(each.get("instanceId", ""))
                instances.append(Instance(address, ticket, share=each.get("share", ORDINARY_SHARE)))
            elif THROUGH_PLATFORM not in elsewhere:
                elsewhere.append(THROUGH_PLATFORM)
        # What speaks gRPC only, say: the platform passes the call on.
        instances = instances or elsewhere
        now = time.monotonic()
        lives = max(0.0, min([self._settings.cache_ttl, *lifetimes]))
        half = min(self._settings.refresh_interval, lives / 2)
        if not tickets:
            # Nobody tells when a policy allows more than before.
            half = min(half, _NO_TICKET_SECONDS)
        return _Entry(instances, now + half, now + lives, bool(service.get("hasContract")))

    def _is_near(self, address: str) -> bool:
        """Whether an address can be here: one who reaches the platform by HTTP only may be on another machine."""
        if not is_http(self._settings.socket or ""):
            return True
        return address.startswith("unix:") and os.path.exists(parse_address(address).path or "")

    def _renew(self, service_id: str, version: str) -> None:
        entry = self._entries.get((service_id, version))
        try:
            self._ask(service_id, version, 10.0)
        except ServiceError:
            if entry is not None:
                entry.ask_again_at = time.monotonic() + _AGAIN_SECONDS
                entry.renewing = False

    def doubt(self, service_id: str, version: str) -> None:
        """An instance could not be reached: the registry is asked again."""
        entry = self._entries.get((service_id, version))
        if entry is not None:
            entry.ask_again_at = 0.0

    def forget(self, service_id: str, version: str) -> None:
        """The tickets are worth nothing any more: the next call asks."""
        entry = self._entries.get((service_id, version))
        if entry is not None:
            entry.over_at = 0.0

    def contract(self, service_id: str, version: str) -> Optional[Contract]:
        """The contract that the registry stores, asked for once; None if there is none."""
        if self._pid != os.getpid():
            self._reset()
        key = (service_id, version)
        if key in self._contracts:
            return self._contracts[key]
        entry = self._entries.get(key)
        if entry is not None and not entry.has_contract:
            return None
        request = {"serviceId": service_id, "version": version, "environment": self._environment}
        found: Optional[Contract]
        try:
            answer = self._registry.call("GetContract", request)
            found = Contract(base64_bytes(answer.get("fileDescriptorSet", "")))
        except ServiceError as error:
            if error.code not in ("NOT_FOUND", "UNIMPLEMENTED", "PERMISSION_DENIED"):
                raise
            found = None
        self._contracts[key] = found
        return found

    def _watch(self, key: _Key) -> None:
        with self._lock:
            if key in self._watches or self._closed:
                return
            self._watches[key] = None
        threading.Thread(target=self._follow, args=(key,), daemon=True, name="hms-watch").start()

    def _follow(self, key: _Key) -> None:
        while not self._closed:
            try:
                watch = self._registry.watch({"pattern": key[0], "environment": self._environment})
                self._watches[key] = watch
                for event in watch:
                    self._heed(key, event)
            except ServiceError:
                pass
            if not self._closed:
                time.sleep(_WATCH_AGAIN_SECONDS)

    def _heed(self, key: _Key, event: Dict[str, Any]) -> None:
        kind = event.get("kind", "")
        about = event.get("service", {})
        entry = self._entries.get(key)
        if entry is None:
            return
        if kind == "WATCH_EVENT_KIND_REVOKED":
            named = event.get("revocation", {}).get("serviceId", "")
            if named in ("", key[0]):
                entry.over_at = 0.0
        elif kind == "WATCH_EVENT_KIND_REMOVED" and about.get("version") == key[1]:
            entry.over_at = 0.0
            entry.instances = []
        elif kind == "WATCH_EVENT_KIND_CURRENT" and about.get("version") == key[1]:
            self._contracts.pop(key, None)
            if {each.address for each in self._entry({"service": about}).instances} != {
                each.address for each in entry.instances
            }:
                entry.over_at = 0.0

    def close(self) -> None:
        """Ends the watches and the connection."""
        self._closed = True
        if self._pid == os.getpid():
            self._registry.close()
