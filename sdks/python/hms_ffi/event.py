"""An event that was delivered (hms.sys.integration.v1.EventService)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Dict, Mapping, Optional

from .client import Client
from .errors import ValidationError
from .plain_json import load
from .wellknown import base64_bytes, moment, span_text


class Event:
    """One event as it was delivered, in the words of CloudEvents."""

    def __init__(self, client: Client, subscription_id: str, delivery: Dict[str, Any]) -> None:
        said = delivery.get("event", {})
        self._client = client
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
        #: What the data is, as its publisher says; empty: it has not said.
        self.data_schema = str(said.get("dataSchema", ""))
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

    async def ack_async(self) -> None:
        """As `ack`, with asyncio. Raises ServiceError."""
        await self._settle_async({})

    def retry(self, delay: Optional[float] = None) -> None:
        """Not now: deliver it again, after `delay` seconds or as the group's back-off says. Raises ServiceError."""
        self._settle(_retry(delay))

    async def retry_async(self, delay: Optional[float] = None) -> None:
        """As `retry`, with asyncio. Raises ServiceError."""
        await self._settle_async(_retry(delay))

    def reject(self, reason: str = "") -> None:
        """Never: make it a dead letter. Raises ServiceError."""
        self._settle({"outcome": "ACK_OUTCOME_REJECT", "reason": reason})

    async def reject_async(self, reason: str = "") -> None:
        """As `reject`, with asyncio. Raises ServiceError."""
        await self._settle_async({"outcome": "ACK_OUTCOME_REJECT", "reason": reason})

    @property
    def settled(self) -> bool:
        """Whether the platform has been told what became of it, or need not be."""
        return self._settled

    def _named(self, outcome: Dict[str, Any]) -> Dict[str, Any]:
        return {"subscriptionId": self._subscription_id, "deliveryIds": [self._delivery_id], **outcome}

    def _settle(self, outcome: Dict[str, Any]) -> None:
        if not self._settled:
            self._client.call("Acknowledge", self._named(outcome), repeatable=True)
            self._settled = True

    async def _settle_async(self, outcome: Dict[str, Any]) -> None:
        if not self._settled:
            await self._client.call_async("Acknowledge", self._named(outcome), repeatable=True)
            self._settled = True


def _retry(delay: Optional[float]) -> Dict[str, Any]:
    said: Dict[str, Any] = {"outcome": "ACK_OUTCOME_RETRY"}
    return said if delay is None else {**said, "delay": span_text(timedelta(seconds=delay))}
