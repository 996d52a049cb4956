"""Keeps one service of a server in the registry: registers, renews, hears revocations, reports calls."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Dict, Optional

from .call_reports import CallReports
from .errors import ServiceError, UnavailableError
from .registry import Registry, Watch
from .service_definition import ServiceDefinition
from .settings import Settings
from .tickets import TicketGate
from .wellknown import base64_bytes, base64_text, moment, span, span_text

if TYPE_CHECKING:
    from .server import ServiceServer

_log = logging.getLogger("hms_ffi.registration")

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_REPORT_SECONDS = 1.0
_WATCH_AGAIN_SECONDS = 1.0


class Registration:
    """One service's place in the registry; its threads end with `close`."""

    def __init__(self, settings: Settings, definition: ServiceDefinition, server: ServiceServer) -> None:
        self._registry = Registry(settings)
        self._settings = settings
        self._definition = definition
        self._server = server
        self._left = threading.Event()
        self._talking = threading.Lock()
        self._renew_after = _FIRST_PAUSE
        self._pause = _FIRST_PAUSE
        self._watch: Optional[Watch] = None
        self.reports = CallReports()
        #: Checks tickets; None until the registry has given the key.
        self.gate: Optional[TicketGate] = None

    @property
    def _identity(self) -> Dict[str, str]:
        return {
            "serviceId": self._definition.service_id,
            "version": self._definition.version,
            "environment": self._server.environment,
            "instanceId": self._server.instance_id,
        }

    def start(self) -> None:
        """Registers; a registry that is away is asked again in the background. Raises its refusal."""
        try:
            self._register()
        except UnavailableError as error:
            _log.warning("%s is not registered yet: %s", self._definition.name, error.message)
        for work in (self._keep, self._listen):
            threading.Thread(target=work, daemon=True, name=f"hms-{work.__name__.strip('_')}").start()

    def _register(self) -> None:
        # A renewal that is under way must not overtake the farewell.
        with self._talking:
            if not self._left.is_set():
                self._tell()

    def _tell(self) -> None:
        definition = self._definition
        request: Dict[str, Any] = {
            **self._identity,
            "address": self._server.advertised,
            "metadata": {**self._server.labels, "pid": str(os.getpid())},
            "replica": self._settings.replica,
        }
        if self._server.lease is not None:
            request["leaseDuration"] = span_text(timedelta(seconds=self._server.lease))
        if definition.contract is not None:
            request["fileDescriptorSet"] = base64_text(definition.contract.bytes)
        else:
            request["methodSchemas"] = definition.schemas()
        answer = self._registry.call("Register", request)
        self._renew_after = span(answer.get("renewInterval") or "10s").total_seconds()
        self._pause = _FIRST_PAUSE
        key = base64_bytes(answer.get("ticketKey", ""))
        if key and (self.gate is None or self.gate.key != key):
            identity = self._identity
            audience = (
                f"{identity['environment']}/{identity['serviceId']}/{identity['version']}/{identity['instanceId']}"
            )
            self.gate = TicketGate(key, audience)
        for each in answer.get("warnings", []):
            _log.warning("%s: %s", each.get("subject"), each.get("description"))

    def _keep(self) -> None:
        """Renews in time, reports in between."""
        renew_at = time.monotonic() + self._renew_after
        while not self._left.wait(min(_REPORT_SECONDS, max(0.05, renew_at - time.monotonic()))):
            self.report()
            if time.monotonic() < renew_at:
                continue
            try:
                self._register()
                renew_at = time.monotonic() + self._renew_after
            except ServiceError as error:
                _log.warning("%s could not be renewed: %s", self._definition.name, error.message)
                renew_at = time.monotonic() + self._pause
                self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    def report(self) -> None:
        """Sends what there is to tell; keeps it if the registry is away."""
        records = self.reports.take()
        while records:
            try:
                self._registry.call("ReportCalls", {**self._identity, "calls": records})
            except ServiceError as error:
                if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    self.reports.give_back(records)
                return
            records = self.reports.take()

    def _listen(self) -> None:
        """Hears revocations; a watch that broke begins again and hears those it missed."""
        while not self._left.is_set():
            try:
                pattern = {"pattern": self._definition.service_id, "environment": self._server.environment}
                self._watch = self._registry.watch(pattern)
                for event in self._watch:
                    self._heed(event)
            except ServiceError:
                pass
            self._left.wait(_WATCH_AGAIN_SECONDS)

    def _heed(self, event: Dict[str, Any]) -> None:
        if event.get("kind") != "WATCH_EVENT_KIND_REVOKED" or self.gate is None:
            return
        said = event.get("revocation", {})
        before = moment(said["issuedBefore"]).timestamp() if said.get("issuedBefore") else time.time()
        self.gate.revoke(said.get("principal", ""), said.get("serviceId", ""), before)
        self._server.end_revoked(self.gate)

    def leave(self) -> None:
        """Is looked up no more; a registry that is away forgets by itself when the lease ends."""
        self._left.set()
        try:
            with self._talking:
                self._registry.call("Unregister", self._identity, timeout=2.0)
        except ServiceError as error:
            _log.warning("%s could not be unregistered: %s", self._definition.name, error.message)

    def close(self) -> None:
        """Sends the last reports and ends the connection."""
        self.report()
        self._registry.close()
