"""A deployed service of the Python SDK; POST to its PORT makes it do what a caller does."""

import itertools
import json
import logging
import os
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List

from hms_ffi.client import Client
from hms_ffi.errors import ServiceError
from hms_ffi.events import Events
from hms_ffi.service import CallContext, method, serve, service
from hms_ffi.tracing import TraceFilter

PROCESS = uuid.uuid4().hex
NOTES: List[Any] = []
HEARD: List[Dict[str, Any]] = []
CLIENTS: Dict[str, Client] = {}
STARTED: Dict[str, Any] = {}
OFTEN: Dict[str, Any] = {}
events = Events()
log = logging.getLogger("ledger")
to_stderr = logging.StreamHandler()
to_stderr.addFilter(TraceFilter())
to_stderr.setFormatter(logging.Formatter("%(message)s %(trace_id)s"))
log.addHandler(to_stderr)


@service("demo.ledger")
class Ledger:
    """Described by its type hints."""

    @method(repeatable=True)
    def add(self, numbers: List[int]) -> Dict[str, Any]:
        return {"sum": sum(numbers)}

    @method(stream=True)
    def count(self, to: int) -> Iterator[Dict[str, Any]]:
        for n in range(1, to + 1):
            yield {"n": n}

    @method
    def who(self, context: CallContext) -> Dict[str, Any]:
        remaining = context.remaining
        return {
            "principal": context.principal,
            "roles": list(context.roles),
            "remainingMs": None if remaining is None else int(remaining * 1000),
        }

    @method(repeatable=True)
    def slow(self, seconds: float, context: CallContext) -> Dict[str, Any]:
        NOTES.append("slow begins")
        if context.wait_cancelled(seconds):
            NOTES.append("slow was cancelled")
            context.raise_if_cancelled()
        return {"slept": seconds}

    @method(repeatable=True)
    def survive(self, process: str, context: CallContext) -> Dict[str, Any]:
        NOTES.append("survive begins")
        if process == PROCESS:
            context.wait_cancelled(60)
            context.raise_if_cancelled()
        return {"process": PROCESS}

    @method
    def slow_once(self, context: CallContext) -> Dict[str, Any]:
        NOTES.append("slow once begins")
        context.wait_cancelled(60)
        context.raise_if_cancelled()
        return {}

    @method(stream=True)
    def pour(self, context: CallContext) -> Iterator[Dict[str, Any]]:
        note = {"poured": 0}
        NOTES.append(note)
        filler = "x" * (64 * 1024)
        while not context.cancelled:
            yield {"filler": filler}
            note["poured"] += 1

    @method(stream=True)
    def drip(self, context: CallContext) -> Iterator[Dict[str, Any]]:
        NOTES.append("drip begins")
        try:
            for n in itertools.count():
                yield {"n": n}
                context.wait_cancelled(0.05)
        finally:
            NOTES.append("drip ends")

    @method
    def relay(self, name: str, context: CallContext) -> Dict[str, Any]:
        log.warning("ledger relays")
        below = client("helloworld").call("SayHello", {"name": name})
        return {"trace": context.metadata.get("traceparent"), "below": below["message"]}

    @method
    def note(self, request: Dict[str, Any]) -> Dict[str, Any]:
        NOTES.append(request)
        return {}


def client(service_id: str) -> Client:
    return CLIENTS.setdefault(service_id, Client(service_id))


def call(asked: Dict[str, Any]) -> Any:
    timeout = asked.get("timeoutMs", 10_000) / 1000
    return client(asked["service"]).call(asked["method"], asked.get("request", {}), timeout=timeout)


def stream(asked: Dict[str, Any]) -> Any:
    return list(client(asked["service"]).stream(asked["method"], asked.get("request", {})))


def start(asked: Dict[str, Any]) -> Any:
    callback = asked.get("callback")
    running = client(asked["service"]).start(
        asked["method"], asked.get("request", {}), callback=callback and (callback["service"], callback["method"])
    )
    STARTED[running.id] = running
    return running.id


def publish(asked: Dict[str, Any]) -> Any:
    return events.publish(asked["topic"], asked["data"], durable=asked.get("durable", False))


def subscribe(asked: Dict[str, Any]) -> Any:
    def hear(event: Any) -> None:
        HEARD.append({"topic": event.topic, "data": event.data, "source": event.source})

    subscription = events.subscribe(asked["pattern"], group=asked.get("group", ""))
    threading.Thread(target=lambda: subscription.consume(hear), daemon=True).start()


def often(asked: Dict[str, Any]) -> Any:
    def run() -> None:
        while not OFTEN["ended"]:
            try:
                call(asked)
                OFTEN["calls"] += 1
            except ServiceError as error:
                OFTEN["failures"].append(str(error))
            time.sleep(0.005)

    OFTEN.update(ended=False, calls=0, failures=[])
    OFTEN["thread"] = threading.Thread(target=run, daemon=True)
    OFTEN["thread"].start()


def counted(_: Dict[str, Any]) -> Any:
    OFTEN["ended"] = True
    OFTEN["thread"].join(10)
    return {"calls": OFTEN["calls"], "failures": OFTEN["failures"]}


DO = {
    "call": call,
    "stream": stream,
    "start": start,
    "status": lambda asked: STARTED[asked["id"]].status().lower(),
    "result": lambda asked: STARTED[asked["id"]].result(timeout=30),
    "cancel": lambda asked: STARTED[asked["id"]].cancel(),
    "publish": publish,
    "subscribe": subscribe,
    "heard": lambda _: HEARD,
    "notes": lambda _: NOTES,
    "process": lambda _: PROCESS,
    "often": often,
    "counting": lambda _: OFTEN["calls"],
    "counted": counted,
}


class Control(BaseHTTPRequestHandler):
    """Does what the test says and answers with what came of it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            said: Dict[str, Any] = {"answer": DO[asked["do"]](asked)}
        except ServiceError as error:
            said = {"error": {"code": error.code, "message": str(error)}}
        body = json.dumps(said, default=str).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


control = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Control)
threading.Thread(target=control.serve_forever, daemon=True).start()
serve(Ledger())
