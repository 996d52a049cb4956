"""The service that does what conformance.proto says."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import threading
from collections import defaultdict
from datetime import timedelta
from typing import Any, Callable, Dict, Iterator, List, Optional

from client_role import tls_of

from hms_ffi.call_context import CallContext
from hms_ffi.contract import Contract
from hms_ffi.errors import BY_CODE, FieldViolation, ServiceError
from hms_ffi.server import ServiceServer
from hms_ffi.service import method, service
from hms_ffi.tickets import TicketGate
from hms_ffi.to_json import to_json

Message = Dict[str, Any]
ENDED = "hms.conformance.v1.EndedRequest"


class Notes:
    """What happened under each key, and which holds are released."""

    def __init__(self) -> None:
        self._events: Dict[str, List[str]] = defaultdict(list)
        self._released: Dict[str, threading.Event] = defaultdict(threading.Event)
        self._calls: Dict[str, int] = defaultdict(int)
        #: What the callback of operations was told, by their ids.
        self.ended: Dict[str, List[Message]] = defaultdict(list)
        self._lock = threading.Lock()

    def note(self, key: str, event: str) -> None:
        if key:
            with self._lock:
                self._events[key].append(event)

    def events(self, key: str) -> List[str]:
        with self._lock:
            return list(self._events[key])

    def release(self, key: str) -> None:
        with self._lock:
            self._released[key].set()

    def hold(self, key: str, context: CallContext) -> None:
        with self._lock:
            released = self._released[key]
        self.note(key, "held")
        context.on_stop(released.set)
        released.wait()
        context.raise_if_cancelled()

    def call_number(self, key: str) -> int:
        with self._lock:
            self._calls[key] += 1
            return self._calls[key]


class Run:
    """One call, step by step."""

    def __init__(self, notes: Notes, context: CallContext) -> None:
        self._notes = notes
        self._context = context
        self.key = ""

    def begin(self, key: str) -> None:
        self.key = key
        self._notes.note(key, "started")

    def note(self, event: str) -> None:
        self._notes.note(self.key, event)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        if self._context.cancelled or kind is GeneratorExit:
            self.note("cancelled")
        else:
            self.note("failed" if error is not None else "finished")

    def answers(self, request: Message) -> Iterator[Message]:
        """What the steps of a request answer."""
        answered = False
        for step in request.get("steps") or []:
            for each in self._step(step, request):
                answered = True
                yield each
        if not answered:
            yield _echo(request)

    def _step(self, step: Message, request: Message) -> Iterator[Message]:
        if step.get("fail"):
            raise _error(step["fail"])
        if step.get("crash"):
            raise RuntimeError("a secret that stays at home")
        if step.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step.get("hold"):
            self._notes.hold(self.key, self._context)
        if step.get("flaky") and self._notes.call_number(self.key) <= int(step["flaky"].get("times", 0)):
            raise _error(step["flaky"]["fail"])
        if step.get("tell"):
            self._context.send_metadata(step["tell"].get("metadata") or {})
        if step.get("echo"):
            yield _echo(request)
        if step.get("say") is not None:
            said = step["say"]
            text = (said.get("text") or "").ljust(int(said.get("size") or 0), ".")
            for _ in range(max(1, int(said.get("times") or 0))):
                yield {"text": text}
        if step.get("report"):
            yield {"report": self._report()}

    def _report(self) -> Message:
        context = self._context
        remaining = context.remaining
        return {
            "metadata": dict(context.metadata),
            "remaining": None if remaining is None else timedelta(seconds=remaining),
            "principal": context.principal,
            "environment": context.environment,
            "roles": list(context.roles),
            "mfa": context.mfa,
        }


def _echo(request: Message) -> Message:
    return {"text": request.get("text") or "", "data": request.get("data") or b""}


def _error(said: Message) -> ServiceError:
    wait = said.get("retry_after_ms", said.get("retryAfterMs"))
    return BY_CODE[said["code"]](
        said.get("message", ""),
        reason=said.get("reason") or None,
        metadata=said.get("metadata") or {},
        violations=[
            FieldViolation(each.get("field", ""), each.get("description", "")) for each in said.get("violations") or []
        ],
        retry_after=wait / 1000 if wait else None,
    )


def _failing(said: Message) -> Any:
    async def fail(what: Any, after: Any) -> Any:
        raise _error(said)

    return fail


class Handlers:
    """The methods, for a class with a contract and one without."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def _unary(self, request: Message, context: CallContext) -> Message:
        with Run(self._notes, context) as run:
            run.begin(request.get("key") or "")
            answer = list(run.answers(request))[-1]
        return answer

    @method
    def run(self, request: Message, context: CallContext) -> Any:
        return self._unary(request, context)

    @method(repeatable=True)
    def run_again(self, request: Message, context: CallContext) -> Any:
        return self._unary(request, context)

    @method(stream=True, repeatable=True)
    def read(self, request: Message, context: CallContext) -> Any:
        with Run(self._notes, context) as run:
            run.begin(request.get("key") or "")
            for answer in run.answers(request):
                yield answer
                run.note("sent")

    @method(client_stream=True)
    def collect(self, requests: Any, context: CallContext) -> Any:
        texts: List[str] = []
        with Run(self._notes, context) as run:
            for at, request in enumerate(requests):
                if at == 0:
                    run.begin(request.get("key") or "")
                    if request.get("steps"):
                        for _ in run.answers(request):
                            pass
                else:
                    run.note("message")
                texts.append(request.get("text") or "")
            if not texts:
                run.begin("")
        return {"text": "+".join(texts), "count": len(texts)}

    @method(client_stream=True, stream=True)
    def converse(self, requests: Any, context: CallContext) -> Any:
        with Run(self._notes, context) as run:
            for at, request in enumerate(requests):
                if at == 0:
                    run.begin(request.get("key") or "")
                else:
                    run.note("message")
                for answer in run.answers(request):
                    yield answer
                    run.note("sent")

    @method(repeatable=True)
    def echo(self, request: Message) -> Any:
        return request

    @method(repeatable=True)
    def check(self, request: Message) -> Any:
        return {"text": request["name"]}

    @method(repeatable=True)
    def ended(self, request: Message) -> Any:
        self._notes.ended[request["operation_id"]].append(request)
        return {}


class ServerRole:
    """Serves, and says what was noted."""

    def __init__(self, contract: Contract, loop: asyncio.AbstractEventLoop) -> None:
        self._contract = contract
        self._loop = loop
        self._notes = Notes()
        self._servers: Dict[str, ServiceServer] = {}
        typed = type("Typed", (Handlers,), {})
        untyped = type("Untyped", (Handlers,), {})
        self._services = {
            "descriptors": service("hms.conformance", contract=contract)(typed),
            "none": service("hms.conformance")(untyped),
            "schemas": service("hms.conformance")(untyped),
        }
        self.commands: Dict[str, Callable[[Message], Message]] = {
            "serve": self._serve,
            "seen": lambda order: {"events": self._notes.events(order["key"])},
            "release": self._release,
            "told": self._told,
            "drain": self._drain,
        }

    def _serve(self, order: Message) -> Message:
        gate = None
        if order.get("ticketKey"):
            gate = TicketGate(base64.b64decode(order["ticketKey"]), order["audience"])
        network = f"{order['listen']}://127.0.0.1:0" if order.get("listen") in ("tcp", "tls") else None
        address = order.get("address") or network
        server = ServiceServer(
            self._services[order.get("contract", "descriptors")](self._notes),
            address=address,
            register=bool(order.get("register")),
            instance_id=order.get("instanceId"),
            max_concurrent_calls=order.get("maxConcurrentCalls"),
            timeout=order.get("timeoutMs", 30_000) / 1000,
            gate=gate,
            tls=tls_of(order),
            interceptors=[_failing(order["failing"])] if order.get("failing") else [],
        )
        asyncio.run_coroutine_threadsafe(server.start(), self._loop).result()
        self._servers[order["server"]] = server
        return {"address": server.address}

    def _told(self, order: Message) -> Message:
        ended = self._notes.ended[order["operation"]]
        return {"ended": [to_json(self._contract, ENDED, each) for each in ended]}

    def _release(self, order: Message) -> Message:
        self._notes.release(order["key"])
        return {}

    def _drain(self, order: Message) -> Message:
        server = self._servers.pop(order["server"])
        asyncio.run_coroutine_threadsafe(server.stop(order.get("graceMs", 5000) / 1000), self._loop).result()
        return {}
