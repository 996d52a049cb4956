"""Calls as the runner orders them, by the blocking client or the one for asyncio."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Tuple, TypeVar

from hms_ffi.client import Client
from hms_ffi.contract import Contract, service_name
from hms_ffi.errors import CancelledCallError, ServiceError
from hms_ffi.from_json import from_json
from hms_ffi.tls import TlsIdentity
from hms_ffi.to_json import to_json

Message = Dict[str, Any]
T = TypeVar("T")


def error_outcome(error: ServiceError) -> Message:
    said: Message = {"code": error.code, "message": error.message}
    if error.reason:
        said["reason"] = error.reason
    if error.metadata:
        said["metadata"] = error.metadata
    if error.violations:
        said["violations"] = [{"field": each.field, "description": each.description} for each in error.violations]
    if error.retry_after is not None:
        said["retryAfterMs"] = round(error.retry_after * 1000)
    return said


def tls_of(order: Message) -> Optional[TlsIdentity]:
    """Who a client or server is over TLS, as the order says."""
    files = order.get("tls")
    if files is None:
        return None
    return TlsIdentity(files["certificate"], files["key"], files["authority"], files.get("expectedId"))


def _beside(heard: Mapping[str, str]) -> Message:
    return {"metadata": dict(heard)} if heard else {}


class Translator:
    """JSON of the runner as the SDK's own values, and back."""

    def __init__(self, contract: Contract, typed: bool) -> None:
        self._contract = contract
        self._methods = contract.services[service_name("hms.conformance", "v1")] if typed else {}

    def request(self, method: str, message: Optional[Message]) -> Any:
        info = self._methods.get(method)
        if info is None or message is None:
            return message
        return from_json(self._contract, info.input, message, skip_unknown=False)

    def response(self, method: str, message: Any) -> Any:
        info = self._methods.get(method)
        return message if info is None else to_json(self._contract, info.output, message)


class ClientRole:
    """What both kinds of client have in common."""

    #: Commands that are done before the next one is read.
    at_once = ("connect", "hello")

    def __init__(self, contract: Contract, loop: asyncio.AbstractEventLoop) -> None:
        self._contract = contract
        self._loop = loop
        self._clients: Dict[str, Client] = {}
        self._translators: Dict[str, Translator] = {}
        self._calls: Dict[str, OpenCall] = {}
        self._lock = threading.Condition()
        self.commands: Dict[str, Callable[[Message], Message]] = {
            "connect": self._connect,
            "call": self._call,
            "open": self._open,
            "send": self._send,
            "progress": lambda order: {"sent": self._open_call(order).sent},
            "closeSend": self._close_send,
            "receive": self._receive,
            "cancel": self._cancel,
            "disconnect": self._disconnect,
        }

    def _connect(self, order: Message) -> Message:
        typed = order.get("contract", "descriptors") != "none"
        self._clients[order["client"]] = Client(
            order.get("service", "hms.conformance"),
            address=order.get("address"),
            codec=order.get("codec", "json"),
            contract=self._contract if typed else False,
            ticket=order.get("ticket"),
            token=order.get("token"),
            tls=tls_of(order),
        )
        self._translators[order["client"]] = Translator(self._contract, typed)
        return {}

    def connected(self, order: Message) -> Tuple[Client, Translator]:
        """The client that an order names."""
        return self._clients[order["client"]], self._translators[order["client"]]

    def _options(self, order: Message) -> Message:
        timeout = order.get("timeoutMs")
        return {
            "timeout": None if timeout is None else timeout / 1000,
            "metadata": order.get("metadata"),
            "idempotency_key": order.get("idempotencyKey"),
        }

    def _open_call(self, order: Message) -> OpenCall:
        with self._lock:
            self._lock.wait_for(lambda: order["call"] in self._calls, 5)
            return self._calls[order["call"]]

    def _keep(self, name: Optional[str], call: OpenCall) -> None:
        if name is not None:
            with self._lock:
                self._calls[name] = call
                self._lock.notify_all()

    def _disconnect(self, order: Message) -> Message:
        self._clients.pop(order["client"]).close()
        return {}

    def _call(self, order: Message) -> Message:
        raise NotImplementedError

    _open = _send = _close_send = _receive = _cancel = _call


class OpenCall:
    """A call that has a name."""

    def __init__(self, method: str, translator: Translator, stream: Any) -> None:
        self.method = method
        self.translator = translator
        self.stream = stream
        self.sent = 0


class BlockingClientRole(ClientRole):
    """With the blocking client."""

    def _call(self, order: Message) -> Message:
        client, translator = self.connected(order)
        method = order["method"]
        heard: Message = {}
        try:
            request = translator.request(method, order.get("request", {}))
            if order.get("call"):
                return self._cancellable(order, client, translator, request)
            answer = client.call(method, request, on_metadata=heard.update, **self._options(order))
            return {"response": translator.response(method, answer), **_beside(heard)}
        except ServiceError as error:
            return {"error": error_outcome(error), **_beside(heard)}

    def _cancellable(self, order: Message, client: Client, translator: Translator, request: Any) -> Message:
        # A blocking call ends with its thread's own wish only; a stream of one answer can be cancelled from outside.
        stream = client.open(order["method"], request, **self._options(order))
        self._keep(order["call"], OpenCall(order["method"], translator, stream))
        return {"response": translator.response(order["method"], stream.answer())}

    def _open(self, order: Message) -> Message:
        client, translator = self.connected(order)
        request = translator.request(order["method"], order.get("request"))
        stream = client.open(order["method"], request, **self._options(order))
        self._keep(order["call"], OpenCall(order["method"], translator, stream))
        return {}

    def _send(self, order: Message) -> Message:
        call = self._open_call(order)
        message = call.translator.request(call.method, order.get("message", {}))
        sent = 0
        for _ in range(order.get("times", 1)):
            if not call.stream.send(message):
                return {"sent": sent, "ended": True}
            sent += 1
            call.sent += 1
        return {"sent": sent}

    def _close_send(self, order: Message) -> Message:
        self._open_call(order).stream.close_send()
        return {}

    def _receive(self, order: Message) -> Message:
        return {**self._received(order), **_beside(self._open_call(order).stream.metadata)}

    def _received(self, order: Message) -> Message:
        call = self._open_call(order)
        messages: List[Any] = []
        try:
            while len(messages) < order.get("max", 1):
                try:
                    messages.append(call.translator.response(call.method, call.stream.receive()))
                except StopIteration:
                    return {"messages": messages, "ended": True}
            return {"messages": messages, "ended": False}
        except ServiceError as error:
            return {"messages": messages, "ended": True, "error": error_outcome(error)}

    def _cancel(self, order: Message) -> Message:
        self._open_call(order).stream.cancel()
        return {}


class AsyncClientRole(ClientRole):
    """With the client for asyncio."""

    def _wait(self, work: Awaitable[T]) -> T:
        return asyncio.run_coroutine_threadsafe(_awaited(work), self._loop).result()

    def _call(self, order: Message) -> Message:
        return self._wait(self._call_async(order))

    async def _call_async(self, order: Message) -> Message:
        client, translator = self.connected(order)
        heard: Message = {}
        options = {"on_metadata": heard.update, **self._options(order)}
        try:
            request = translator.request(order["method"], order.get("request", {}))
            calling = asyncio.ensure_future(client.call_async(order["method"], request, **options))
            self._keep(order.get("call"), OpenCall(order["method"], translator, calling))
            return {"response": translator.response(order["method"], await calling), **_beside(heard)}
        except ServiceError as error:
            return {"error": error_outcome(error), **_beside(heard)}
        except asyncio.CancelledError:
            return {"error": error_outcome(CancelledCallError("The task was cancelled."))}

    def _open(self, order: Message) -> Message:
        client, translator = self.connected(order)
        request = translator.request(order["method"], order.get("request"))
        stream = self._wait(client.open_async(order["method"], request, **self._options(order)))
        self._keep(order["call"], OpenCall(order["method"], translator, stream))
        return {}

    def _send(self, order: Message) -> Message:
        return self._wait(self._send_async(order))

    async def _send_async(self, order: Message) -> Message:
        call = self._open_call(order)
        message = call.translator.request(call.method, order.get("message", {}))
        sent = 0
        for _ in range(order.get("times", 1)):
            if not await call.stream.send(message):
                return {"sent": sent, "ended": True}
            sent += 1
            call.sent += 1
        return {"sent": sent}

    def _close_send(self, order: Message) -> Message:
        self._wait(self._open_call(order).stream.close_send())
        return {}

    def _receive(self, order: Message) -> Message:
        received = self._wait(self._receive_async(order))
        return {**received, **_beside(self._open_call(order).stream.metadata)}

    async def _receive_async(self, order: Message) -> Message:
        call = self._open_call(order)
        messages: List[Any] = []
        try:
            while len(messages) < order.get("max", 1):
                try:
                    messages.append(call.translator.response(call.method, await call.stream.receive()))
                except StopAsyncIteration:
                    return {"messages": messages, "ended": True}
            return {"messages": messages, "ended": False}
        except ServiceError as error:
            return {"messages": messages, "ended": True, "error": error_outcome(error)}

    def _cancel(self, order: Message) -> Message:
        self._loop.call_soon_threadsafe(self._open_call(order).stream.cancel)
        return {}


async def _awaited(work: Awaitable[T]) -> T:
    return await work
