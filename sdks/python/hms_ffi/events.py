"""Publish and subscribe (hms.sys.integration.v1.EventService)."""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

from .client import Client
from .errors import ResourceNotFoundError, ServiceError, UnavailableError, ValidationError
from .plain_json import dump, load, plain
from .platform_services import call_patiently, platform_client
from .settings import Settings
from .wellknown import base64_bytes, base64_text, moment, moment_text, span_text

_LONGEST_PAUSE = 5.0


class Event:
    """One event as it was delivered, in the words of CloudEvents."""

    def __init__(self, events: Events, subscription_id: str, delivery: Dict[str, Any]) -> None:
        said = delivery.get("event", {})
        self._events = events
        self._subscription_id = subscription_id
        self._delivery_id = str(delivery.get("deliveryId", ""))
        self._settled = not self._delivery_id
        self.topic = str(delivery.get("topic", ""))
        #: Its place in the log, gapless; 0 if it is not durable.
        self.position = int(delivery.get("position", 0))
        #: 1 for the first delivery.
        self.attempt = int(delivery.get("attempt", 0))
        self.id = str(said.get("id", ""))
        self.source = str(said.get("source", ""))
        self.type = str(said.get("type", ""))
        self.subject = str(said.get("subject", ""))
        self.time: Optional[datetime] = moment(said["time"]) if said.get("time") else None
        self.key = str(said.get("key", ""))
        self.extensions: Mapping[str, str] = said.get("extensions", {})
        self.content_type = str(said.get("dataContentType", "")) or "application/json"
        self.raw = base64_bytes(said.get("data", ""))

    @property
    def data(self) -> Any:
        """The data; JSON is read, anything else stays bytes. Raises ValidationError."""
        if self.content_type.split(";")[0].strip() != "application/json":
            return self.raw
        try:
            return load(self.raw) if self.raw else None
        except ValueError as error:
            raise ValidationError(f"The event's data is no JSON: {error}.") from error

    def ack(self) -> None:
        """It is done. Raises ServiceError."""
        self._settle({})

    def retry(self, delay: Optional[float] = None) -> None:
        """Not now: deliver it again, after `delay` seconds or as the group's back-off says. Raises ServiceError."""
        said: Dict[str, Any] = {"outcome": "ACK_OUTCOME_RETRY"}
        if delay is not None:
            said["delay"] = span_text(timedelta(seconds=delay))
        self._settle(said)

    def reject(self, reason: str = "") -> None:
        """Never: make it a dead letter. Raises ServiceError."""
        self._settle({"outcome": "ACK_OUTCOME_REJECT", "reason": reason})

    @property
    def settled(self) -> bool:
        """Whether the platform has been told what became of it, or need not be."""
        return self._settled

    def _settle(self, outcome: Dict[str, Any]) -> None:
        if self._settled:
            return
        named = {"subscriptionId": self._subscription_id, "deliveryIds": [self._delivery_id]}
        self._events.client.call("Acknowledge", {**named, **outcome}, repeatable=True)
        self._settled = True


class Events:
    """Publishes and subscribes. Safe for threads and forks."""

    def __init__(self, settings: Optional[Settings] = None) -> None:
        self.client: Client = platform_client("hms.sys.integration", "EventService", settings)

    def publish(
        self, topic: str, data: Any = None, *, durable: bool = False, environment: str = "", **attributes: Any
    ) -> str:
        """Publishes one event and answers with its id. `durable`: it is on disk when this returns; otherwise it
        reaches who is subscribed now. Attributes: id, source, type, subject, time, key, extensions.
        Raises ServiceError."""
        event = event_fields(data, **attributes)
        return self.publish_all(topic, [event], durable=durable, environment=environment)[0]

    def publish_all(
        self, topic: str, events: Sequence[Dict[str, Any]], *, durable: bool = False, environment: str = ""
    ) -> List[str]:
        """Publishes up to 1000 events (`event_fields`) in order. Raises ServiceError."""
        # Durable events with an id may be published again when it is unclear whether they were.
        named = [each if each.get("id") else {**each, "id": str(uuid.uuid4())} for each in events]
        request = {"topic": topic, "events": named, "durable": durable, "environment": environment}
        said = call_patiently(self.client, "Publish", request) if durable else self.client.call("Publish", request)
        ids: List[str] = said.get("ids", [])
        return ids

    def subscribe(self, pattern: str, *, group: str = "", **options: Any) -> Subscription:
        """What is published on matching topics: `*` is one part, `**` at the end any rest. With a `group`, its members
        share the events and each is delivered until it is acknowledged. Options: start ("earliest"), ack_wait seconds,
        max_deliveries, max_in_flight, environment."""
        return Subscription(self, _subscribe_request(pattern, group, **options))

    def close(self) -> None:
        """Ends the connections to the platform, and the subscriptions on them."""
        self.client.close()


class Subscription:
    """Events as they come, for `for`; subscribes again by itself when the platform was away."""

    def __init__(self, events: Events, request: Dict[str, Any]) -> None:
        self._events = events
        self._request = request
        self._ended = threading.Event()
        self._stream: Any = None

    def __iter__(self) -> Iterator[Event]:
        """Each event; one of a group that was not settled when the next is asked for is acknowledged then."""
        pause = 0.1
        while not self._ended.is_set():
            try:
                for event in self._connected():
                    pause = 0.1
                    yield event
                    if not event.settled:
                        _tell(event.ack)
            except UnavailableError:
                if self._ended.wait(pause * random.uniform(0.5, 1.5)):
                    return
                pause = min(_LONGEST_PAUSE, pause * 2)
            except ServiceError:
                if self._ended.is_set():
                    return
                raise

    def _connected(self) -> Iterator[Event]:
        subscription_id = ""
        with self._events.client.open("Subscribe", self._request) as stream:
            self._stream = stream
            for answer in stream:
                subscription_id = answer.get("subscriptionId") or subscription_id
                if answer.get("delivery"):
                    yield Event(self._events, subscription_id, answer["delivery"])

    def consume(self, handler: Callable[[Event], Any]) -> None:
        """Hands each event to a function, until `close`: acknowledged when it returns, delivered again when it raises,
        unless it has settled the event itself. Raises ServiceError if the platform refuses."""
        for event in self:
            try:
                handler(event)
            except Exception:
                if not event.settled:
                    _tell(event.retry)
                continue
            if not event.settled:
                _tell(event.ack)

    def close(self) -> None:
        """Ends it, from any thread."""
        self._ended.set()
        if self._stream is not None:
            self._stream.cancel()


def _tell(settle: Callable[[], None]) -> None:
    """Where the subscription has ended with its server, the event is delivered again to the next one."""
    with contextlib.suppress(ResourceNotFoundError, UnavailableError):
        settle()


def event_fields(
    data: Any = None,
    *,
    id: str = "",
    source: str = "",
    type: str = "",
    subject: str = "",
    time: Optional[datetime] = None,
    key: str = "",
    content_type: str = "",
    extensions: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """An event for `publish_all`; bytes travel as they are, anything else as JSON."""
    raw = isinstance(data, (bytes, bytearray))
    fields: Dict[str, Any] = {
        "id": id,
        "source": source,
        "type": type,
        "subject": subject,
        "key": key,
        "extensions": dict(extensions or {}),
        "dataContentType": content_type or ("application/octet-stream" if raw else "application/json"),
        "data": base64_text(bytes(data) if raw else dump(plain(data))),
    }
    if time is not None:
        fields["time"] = moment_text(time)
    return fields


def _subscribe_request(
    pattern: str,
    group: str,
    *,
    start: str = "",
    ack_wait: Optional[float] = None,
    max_deliveries: int = 0,
    max_in_flight: int = 0,
    environment: str = "",
) -> Dict[str, Any]:
    if start not in ("", "earliest"):
        raise ValidationError(f'A group starts "earliest" or with what comes from now on, not "{start}".')
    request: Dict[str, Any] = {
        "pattern": pattern,
        "group": group,
        "start": "START_POSITION_EARLIEST" if start else "START_POSITION_UNSPECIFIED",
        "maxDeliveries": max_deliveries,
        "maxInFlight": max_in_flight,
        "environment": environment,
    }
    if ack_wait is not None:
        request["ackWait"] = span_text(timedelta(seconds=ack_wait))
    return request
