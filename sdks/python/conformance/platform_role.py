"""Calls that outlive their caller, and events, as the runner orders them."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Optional

from client_role import ClientRole, error_outcome

from hms_ffi.errors import ServiceError
from hms_ffi.events import Event, Events, Subscription

Message = Dict[str, Any]
_PATIENCE_MS = 10_000


class Inbox:
    """What has arrived on a subscription and was not taken yet."""

    def __init__(self, events: Events, pattern: str, options: Message) -> None:
        self.events: Dict[str, Event] = {}
        self._unread: List[Event] = []
        self._changed = threading.Condition()
        #: How often the platform has taken the subscription.
        self.subscribed = 0
        self._error: Optional[ServiceError] = None
        self._subscription: Subscription = events.subscribe(
            pattern, on_subscribed=self._note, auto_ack=False, **options
        )
        threading.Thread(target=self._read, daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self.subscribed or self._error)
        if self._error is not None:
            raise self._error

    def _note(self) -> None:
        with self._changed:
            self.subscribed += 1
            self._changed.notify_all()

    def _read(self) -> None:
        try:
            for event in self._subscription:
                with self._changed:
                    self._unread.append(event)
                    self._changed.notify_all()
        except ServiceError as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def take(self, count: int, seconds: float) -> List[Event]:
        until = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: len(self._unread) >= count, until - time.monotonic())
            taken, self._unread = self._unread[:count], self._unread[count:]
        self.events.update({each.id: each for each in taken})
        return taken

    def close(self) -> None:
        self._subscription.close()


def _told(act: Callable[[Message], Message]) -> Callable[[Message], Message]:
    """An error of the platform is what the command comes to."""

    def answer(order: Message) -> Message:
        try:
            return act(order)
        except ServiceError as error:
            return {"error": error_outcome(error)}

    return answer


class PlatformRole:
    """Both kinds of client share it: operations and subscriptions have no stream to wait for by hand."""

    def __init__(self, role: ClientRole) -> None:
        self._role = role
        self._started: Dict[str, Any] = {}
        self._inboxes: Dict[str, Inbox] = {}
        self._opened: Optional[Events] = None
        self._lock = threading.Lock()
        self.commands: Dict[str, Callable[[Message], Message]] = {
            "start": _told(self._start),
            "resume": _told(self._resume),
            "status": _told(lambda order: {"state": self._running(order)[0].status()}),
            "result": _told(self._result),
            "cancelOperation": _told(lambda order: {"state": self._running(order)[0].cancel()}),
            "publish": _told(self._publish),
            "subscribe": _told(self._subscribe),
            "subscribed": lambda order: {"times": self._inboxes[order["subscription"]].subscribed},
            "take": self._take,
            "settle": _told(self._settle),
            "unsubscribe": self._unsubscribe,
        }

    def _start(self, order: Message) -> Message:
        client, translator = self._role.connected(order)
        options: Message = {}
        if order.get("timeoutMs"):
            options["timeout"] = order["timeoutMs"] / 1000
        if order.get("keepResultMs"):
            options["keep_result"] = order["keepResultMs"] / 1000
        if order.get("idempotencyKey"):
            options["idempotency_key"] = order["idempotencyKey"]
        if order.get("callback"):
            options["callback"] = (order["callback"]["service"], order["callback"]["method"])
        method = order["method"]
        running = client.start(method, translator.request(method, order.get("request", {})), **options)
        self._started[order["operation"]] = (running, method, translator)
        return {"id": running.id}

    def _resume(self, order: Message) -> Message:
        client, translator = self._role.connected(order)
        self._started[order["operation"]] = (client.resume(order["method"], order["of"]), order["method"], translator)
        return {}

    def _running(self, order: Message) -> Any:
        return self._started[order["operation"]]

    def _result(self, order: Message) -> Message:
        running, method, translator = self._running(order)
        return {"response": translator.response(method, running.result(order.get("timeoutMs", _PATIENCE_MS) / 1000))}

    def _events(self) -> Events:
        with self._lock:
            if self._opened is None:
                self._opened = Events()
            return self._opened

    def _publish(self, order: Message) -> Message:
        attributes = {name: order[name] for name in ("subject", "type") if name in order}
        attributes["key"] = order.get("partitionKey", "")
        attributes["data_schema"] = order.get("dataSchema", "")
        said = self._events().publish(
            order["topic"],
            order.get("data"),
            durable=order.get("durable", False),
            id=order.get("event", ""),
            **attributes,
        )
        return {"id": said}

    def _subscribe(self, order: Message) -> Message:
        options: Message = {"group": order.get("group", "")}
        if order.get("start") == "earliest":
            options["start"] = "earliest"
        if order.get("ackWaitMs"):
            options["ack_wait"] = order["ackWaitMs"] / 1000
        if order.get("maxDeliveries"):
            options["max_deliveries"] = order["maxDeliveries"]
        if order.get("maxInFlight"):
            options["max_in_flight"] = order["maxInFlight"]
        self._inboxes[order["subscription"]] = Inbox(self._events(), order["pattern"], options)
        return {}

    def _take(self, order: Message) -> Message:
        inbox = self._inboxes[order["subscription"]]
        taken = inbox.take(order.get("max", 1), order.get("waitMs", _PATIENCE_MS) / 1000)
        return {"events": [_said(each) for each in taken]}

    def _settle(self, order: Message) -> Message:
        event = self._inboxes[order["subscription"]].events[order["event"]]
        outcome = order.get("outcome", "ack")
        if outcome == "retry":
            event.retry(order["delayMs"] / 1000 if "delayMs" in order else None)
        elif outcome == "reject":
            event.reject(order.get("reason", ""))
        else:
            event.ack()
        return {}

    def _unsubscribe(self, order: Message) -> Message:
        self._inboxes.pop(order["subscription"]).close()
        return {}


def _said(event: Event) -> Message:
    return {
        "topic": event.topic,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "partitionKey": event.key,
        "data": event.data,
        "dataSchema": event.data_schema,
        "attempt": event.attempt,
        "position": str(event.position),
    }
