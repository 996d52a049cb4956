"""Publish and subscribe (hms.sys.integration.v1.EventService)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .client import Client
from .event import Event as Event
from .plain_json import dump, plain
from .platform_services import call_patiently, call_patiently_async, platform_client
from .settings import Settings
from .subscription import Habits, Subscription, subscribe_request
from .wellknown import base64_text, moment_text


class Events:
    """Publishes and subscribes. Safe for threads and forks."""

    def __init__(self, settings: Optional[Settings] = None) -> None:
        self.client: Client = platform_client("hms.sys.integration", "EventService", settings)

    def publish(
        self, topic: str, data: Any = None, *, durable: bool = False, environment: str = "", **attributes: Any
    ) -> str:
        """Publishes one event and answers with its id. `durable`: it is on disk when this returns; otherwise it
        reaches who is subscribed now. Attributes: id, source, type, subject, time, key, content_type,
        data_schema (what the data is, "hms-contract:acme.orders.v1.OrderPlaced"), extensions. Raises ServiceError."""
        event = event_fields(data, **attributes)
        return self.publish_all(topic, [event], durable=durable, environment=environment)[0]

    async def publish_async(
        self, topic: str, data: Any = None, *, durable: bool = False, environment: str = "", **attributes: Any
    ) -> str:
        """As `publish`, with asyncio. Raises ServiceError."""
        event = event_fields(data, **attributes)
        return (await self.publish_all_async(topic, [event], durable=durable, environment=environment))[0]

    def publish_all(
        self, topic: str, events: Sequence[Dict[str, Any]], *, durable: bool = False, environment: str = ""
    ) -> List[str]:
        """Publishes up to 1000 events (`event_fields`) in order. Raises ServiceError."""
        request = _publish_request(topic, events, durable, environment)
        said = call_patiently(self.client, "Publish", request) if durable else self.client.call("Publish", request)
        ids: List[str] = said.get("ids", [])
        return ids

    async def publish_all_async(
        self, topic: str, events: Sequence[Dict[str, Any]], *, durable: bool = False, environment: str = ""
    ) -> List[str]:
        """As `publish_all`, with asyncio. Raises ServiceError."""
        request = _publish_request(topic, events, durable, environment)
        if durable:
            said = await call_patiently_async(self.client, "Publish", request)
        else:
            said = await self.client.call_async("Publish", request)
        ids: List[str] = said.get("ids", [])
        return ids

    def subscribe(self, pattern: str, *, group: str = "", **options: Any) -> Subscription:
        """What is published on matching topics: `*` is one part, `**` at the end any rest. With a `group`, its members
        share the events and each is delivered until it is acknowledged. Options: start ("earliest"), ack_wait seconds,
        max_deliveries, max_in_flight, environment; on_subscribed() is called when the platform has taken the
        subscription, again after each lost connection: what is published from then on arrives; auto_ack=False leaves
        acknowledging to whoever reads. Raises ValidationError."""
        habits = Habits(options.pop("on_subscribed", None), options.pop("auto_ack", True))
        return Subscription(self.client, subscribe_request(pattern, group, **options), habits)

    def close(self) -> None:
        """Ends the connections to the platform, and the subscriptions on them."""
        self.client.close()


def _publish_request(topic: str, events: Sequence[Dict[str, Any]], durable: bool, environment: str) -> Dict[str, Any]:
    # Durable events with an id may be published again when it is unclear whether they were.
    named = [each if each.get("id") else {**each, "id": str(uuid.uuid4())} for each in events]
    return {"topic": topic, "events": named, "durable": durable, "environment": environment}


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
    data_schema: str = "",
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
        "dataSchema": data_schema,
        "dataContentType": content_type or ("application/octet-stream" if raw else "application/json"),
        "data": base64_text(bytes(data) if raw else dump(plain(data))),
    }
    if time is not None:
        fields["time"] = moment_text(time)
    return fields
