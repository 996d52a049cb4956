"""A server of services: its socket, its registration, its limits, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Set, Tuple

from .addresses import parse_address
from .call_reports import CallReports
from .errors import ResourceExhaustedError, ServiceError, UnavailableError
from .handler_runner import Around
from .interceptors import AsyncInterceptor
from .listening import listen_network, listen_unix
from .registration import Registration
from .server_call import ServerCall, stopping
from .server_connection import ServerConnection
from .service_definition import MethodDefinition, ServiceDefinition
from .settings import Settings, load_settings
from .tickets import Ticket, TicketGate
from .tls import ServerCertificate, TlsIdentity, known

_log = logging.getLogger("hms_ffi.server")

DEFAULT_TIMEOUT = 30.0
DEFAULT_GRACE = 5.0
_HANDSHAKE_SECONDS = 10.0


class ServiceServer:
    """Serves instances of service classes on one socket. Without a registry (`HMS_FFI_SOCKET` unset, or
    `register=False`) whoever may open the socket may call; with one, calls need tickets."""

    def __init__(
        self,
        *services: Any,
        address: Optional[str] = None,
        register: Optional[bool] = None,
        instance_id: Optional[str] = None,
        environment: Optional[str] = None,
        metadata: Optional[Mapping[str, str]] = None,
        max_concurrent_calls: Optional[int] = None,
        timeout: Optional[float] = DEFAULT_TIMEOUT,
        interceptors: Sequence[AsyncInterceptor] = (),
        lease: Optional[float] = None,
        advertise: Optional[str] = None,
        gate: Optional[TicketGate] = None,
        tls: Optional[TlsIdentity] = None,
        settings: Optional[Settings] = None,
    ) -> None:
        from .service import definition_of

        self._settings = settings or load_settings()
        if tls is not None:
            self._settings = replace(self._settings, tls=tls)
        self.definitions = [each if isinstance(each, ServiceDefinition) else definition_of(each) for each in services]
        self._methods: Dict[Tuple[str, str], Tuple[MethodDefinition, ServiceDefinition]] = {
            (method.service, method.name): (method, definition)
            for definition in self.definitions
            for method in definition.methods.values()
        }
        self.instance_id = instance_id or f"{socket.gethostname().split('.')[0]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.environment = environment or self._settings.environment or "default"
        self.max_concurrent_calls = max_concurrent_calls or self._settings.max_concurrent_streams
        #: Calls that run or wait for their turn; more are refused.
        self.max_waiting_calls = 10 * self.max_concurrent_calls
        #: Taken by each call that runs.
        self.turns: asyncio.Semaphore = None  # type: ignore[assignment]
        self.timeout = timeout
        self._wanted = address
        self._register = self._settings.socket is not None if register is None else register
        self._metadata = dict(metadata or {})
        self._gate = gate
        self._registrations: Dict[str, Registration] = {}
        self._reports: Dict[str, CallReports] = {}
        self.connections: Set[ServerConnection] = set()
        self.running = 0
        self._executor = ThreadPoolExecutor(self.max_concurrent_calls, "hms-handler")
        #: What handlers run in.
        self.around = Around(self._executor, list(interceptors))
        #: Seconds that the registry believes in it without a sign of life; None: the registry's 30.
        self.lease = lease
        self._advertise = advertise
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._listener: Optional[asyncio.AbstractServer] = None
        self._draining = False
        #: Where it answers, once it does.
        self.address = ""

    @property
    def advertised(self) -> str:
        """What others call, where that is not the address it listens at itself."""
        return self._advertise or self.address

    async def start(self) -> None:
        """Listens, then registers; a registry that is away is asked until it is back. Raises ServiceError."""
        loop = self._loop = asyncio.get_running_loop()
        self.turns = asyncio.Semaphore(self.max_concurrent_calls)
        sock, self.address = self._listen()
        parsed = parse_address(self.address)
        if parsed.path is not None:
            self._listener = await loop.create_unix_server(lambda: ServerConnection(self), sock=sock)
        elif parsed.tls:
            keeper = ServerCertificate(known(self._settings.tls, self.address))
            self._listener = await loop.create_server(
                lambda: ServerConnection(self, keeper),
                sock=sock,
                ssl=keeper.context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        else:
            self._listener = await loop.create_server(lambda: ServerConnection(self), sock=sock)
        if self._register:
            for definition in self.definitions:
                registration = Registration(self._settings, definition, self)
                self._registrations[definition.name] = registration
                self._reports[definition.name] = registration.reports
                await loop.run_in_executor(None, registration.start)

    def _listen(self) -> Tuple[socket.socket, str]:
        if self._wanted is not None:
            parsed = parse_address(self._wanted) if not self._wanted.endswith(":0") else None
            return listen_unix(parsed.path, self._mode) if parsed and parsed.path else listen_network(self._wanted)
        if self._settings.service_dir is not None:
            last = self.definitions[0].service_id.rsplit(".", 1)[-1]
            name = f"{last[:24]}-{uuid.uuid4().hex[:8]}.sock"
            return listen_unix(os.path.join(self._settings.service_dir, name), self._mode)
        return listen_network("tcp://127.0.0.1:0")

    @property
    def _mode(self) -> int:
        """Callers may be other users of the machine, as deployed services are, where they need tickets."""
        return 0o666 if self._register or self._gate is not None else 0o600

    @property
    def labels(self) -> Mapping[str, str]:
        """What the registry shows beside the service."""
        return {"language": "python", **self._metadata}

    def method(self, service: str, name: str) -> Optional[MethodDefinition]:
        """A method that is served here."""
        found = self._methods.get((service, name))
        return found[0] if found is not None else None

    def admit(self) -> None:
        """Raises ResourceExhaustedError if one more call would be too many."""
        if self.running >= self.max_waiting_calls:
            raise ResourceExhaustedError(
                f"This server has {self.running} calls running or waiting, the most it may have. Try again later.",
                reason="TOO_MANY_STREAMS",
            )

    def check(
        self, method: MethodDefinition, credentials: Optional[str], metadata: Mapping[str, str]
    ) -> Tuple[Optional[Ticket], str]:
        """Who calls, and the audit level. Raises UnauthenticatedError, PermissionDeniedError, UnavailableError."""
        gate = self._gate
        if gate is None and not self._register:
            return None, "none"
        if gate is None:
            registration = self._registrations.get(method.service)
            gate = registration.gate if registration is not None else None
            if gate is None:
                raise UnavailableError("This instance is not registered yet; try again.", reason="SERVER_STOPPING")
        kind, _, value = (credentials or "").partition(" ")
        package = method.service.rsplit(".", 1)[0]
        try:
            return gate.admit(value.strip() if kind.lower() == "ticket" else None, package, method.path)
        except ServiceError as refused:
            reports = self._reports.get(method.service)
            if reports is not None and refused.reason not in ("TICKET_EXPIRED", "TICKET_REVOKED"):
                reports.refused(method.path, metadata, refused)
            raise

    def end_revoked(self, gate: TicketGate) -> None:
        """Ends the streams of callers whose tickets the gate has revoked meanwhile; from any thread."""

        def end() -> None:
            for connection in list(self.connections):
                connection.end_revoked(gate)

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(end)

    def finished(self, call: ServerCall, error: Optional[ServiceError]) -> None:
        """A call has ended; the registry is told if its audit level says so."""
        reports = self._reports.get(call.definition.service)
        if reports is not None and call.audit_level != "none":
            reports.answered(call, error)

    def report_failure(self, path: str, error: BaseException) -> None:
        """A handler raised what is no ServiceError: its caller sees INTERNAL, the log says what it was."""
        _log.error("%s failed", path, exc_info=error)

    async def stop(self, grace: float = DEFAULT_GRACE) -> None:
        """Unregisters, takes no new calls, lets running ones finish for `grace` seconds, then interrupts them."""
        if self._draining:
            return
        self._draining = True
        loop = asyncio.get_running_loop()
        for registration in self._registrations.values():
            await loop.run_in_executor(None, registration.leave)
        if self._listener is not None:
            self._listener.close()
        self._remove_socket()
        for connection in list(self.connections):
            connection.drain(stopping())
        await self._until_idle(grace)
        error = UnavailableError("The server stopped before the call had ended.", reason="INTERRUPTED")
        for connection in list(self.connections):
            connection.abort(error)
        await self._until_idle(0.5)
        for registration in self._registrations.values():
            await loop.run_in_executor(None, registration.close)
        self._executor.shutdown(wait=False)

    async def _until_idle(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (self.running or self.connections) and loop.time() < until:
            await asyncio.sleep(0.01)

    def _remove_socket(self) -> None:
        path = parse_address(self.address).path if self.address else None
        if path is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)

    async def __aenter__(self) -> ServiceServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def serve_async(server: ServiceServer, grace: float = DEFAULT_GRACE) -> None:
    """Serves until SIGTERM or SIGINT, then drains. Raises ServiceError if it cannot start."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(each, ended.set)
    await server.start()
    _log.info("serving %s at %s", ", ".join(each.name for each in server.definitions), server.address)
    await ended.wait()
    await server.stop(grace)


def serve(*services: Any, grace: float = DEFAULT_GRACE, **options: Any) -> None:
    """Serves instances of service classes until SIGTERM or SIGINT; options as of ServiceServer. Raises ServiceError if
    it cannot start."""
    asyncio.run(serve_async(ServiceServer(*services, **options), grace))


@contextlib.contextmanager
def serving(*services: Any, **options: Any) -> Iterator[ServiceServer]:
    """Serves in a thread of its own while the block runs: for programs that do something else, and for tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hms-server", daemon=True)
    thread.start()
    server = ServiceServer(*services, **options)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
