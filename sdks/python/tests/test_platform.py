from __future__ import annotations

import asyncio
import base64
import json
import threading
import unittest
from typing import Any, Dict, Iterator, List

from hms_ffi.client import Client
from hms_ffi.errors import (
    CancelledCallError,
    DeadlineExceededError,
    ResourceNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from hms_ffi.events import Event, Events
from hms_ffi.service import CallContext, definition_of, method, service
from hms_ffi.settings import Settings

from .services import ServedTest


@service("hms.sys.integration", name="EventService")
class StandInEvents:
    """What is published is delivered to whoever subscribes; remembers what was acknowledged."""

    def __init__(self) -> None:
        self.published: List[Dict[str, Any]] = []
        self.outcomes: List[Dict[str, Any]] = []
        self.broken = 0

    @method
    def publish(self, request: Dict[str, Any]) -> Dict[str, Any]:
        self.published.append(request)
        return {"ids": [each.get("id") or f"e-{at}" for at, each in enumerate(request["events"])]}

    @method(stream=True)
    def subscribe(self, request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
        yield {"subscriptionId": "s-1"}
        if self.broken < 2:
            self.broken += 1
            if self.broken == 1:
                raise UnavailableError("Gone for a moment.")
            raise UnauthenticatedError("You may do something else now.", reason="ACCESS_CHANGED")
        at = 0
        for order in self.published:
            for each in order["events"]:
                at += 1
                delivery = {"topic": order["topic"], "event": each, "position": str(at), "attempt": 1}
                if request.get("group"):
                    delivery["deliveryId"] = f"d-{at}"
                yield {"delivery": delivery}

    @method
    def acknowledge(self, request: Dict[str, Any]) -> Dict[str, Any]:
        self.outcomes.append(request)
        return {}


@service("hms.sys.integration", name="OperationService")
class StandInOperations:
    """One operation that ends when it is waited for the second time."""

    def __init__(self) -> None:
        self.asked: Dict[str, Any] = {}
        self.waits = 0
        self.error: Dict[str, Any] = {}
        self.away = 0

    def _operation(self, state: str) -> Dict[str, Any]:
        answer = base64.b64encode(json.dumps({"transaction_id": "t-1"}).encode()).decode()
        said: Dict[str, Any] = {"operationId": "o-1", "state": f"OPERATION_STATE_{state}"}
        if state == "SUCCEEDED":
            said["response"] = answer
        if state == "FAILED":
            said["error"] = self.error
        return {"operation": said}

    @method
    def start_operation(self, request: Dict[str, Any]) -> Dict[str, Any]:
        self.asked = request
        return self._operation("PENDING")

    @method
    def get_operation(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return self._operation("RUNNING")

    @method
    def wait_operation(self, request: Dict[str, Any]) -> Dict[str, Any]:
        if self.away > 0:
            self.away -= 1
            raise UnavailableError("Gone for a moment.")
        self.waits += 1
        if self.waits < 2:
            return self._operation("RUNNING")
        return self._operation("FAILED" if self.error else "SUCCEEDED")

    @method
    def cancel_operation(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return self._operation("CANCELLED")


class PlatformTest(ServedTest):
    def setUp(self) -> None:
        super().setUp()
        self.events, self.operations = StandInEvents(), StandInOperations()
        served = self.serve(self.events, self.operations)
        self.settings = Settings(socket=served.address[len("unix:") :], token="t")


class PublishedEvents(PlatformTest):
    def test_travel_as_cloud_events(self) -> None:
        events = Events(self.settings)
        self.addCleanup(events.close)
        made = events.publish("hms.ach.settled", {"amount": 5}, durable=True, key="acc-7")
        order = self.events.published[0]
        self.assertEqual(("hms.ach.settled", True), (order["topic"], order["durable"]))
        event = order["events"][0]
        self.assertEqual(made, event["id"])
        self.assertEqual({"amount": 5}, json.loads(base64.b64decode(event["data"])))
        self.assertEqual(("acc-7", "application/json"), (event["key"], event["dataContentType"]))

    def test_of_a_group_are_acknowledged_when_done_and_retried_when_not(self) -> None:
        events = Events(self.settings)
        self.addCleanup(events.close)
        for at in range(3):
            events.publish("hms.ach.settled", {"at": at})
        seen: List[Any] = []
        subscription = events.subscribe("hms.ach.*", group="etl")

        def handle(event: Event) -> None:
            seen.append(event.data["at"])
            if event.data["at"] == 1:
                raise RuntimeError("not now")
            if event.data["at"] == 2:
                event.reject("never")
                subscription.close()

        subscription.consume(handle)
        self.assertEqual([0, 1, 2], seen)
        self.assertEqual(
            [None, "ACK_OUTCOME_RETRY", "ACK_OUTCOME_REJECT"], [each.get("outcome") for each in self.events.outcomes]
        )

    def test_reach_a_subscription_that_broke_and_one_whose_program_may_do_something_else(self) -> None:
        events = Events(self.settings)
        self.addCleanup(events.close)
        events.publish("a.b", "x")
        subscription = events.subscribe("a.**")
        for event in subscription:
            self.assertEqual(("x", "a.b", 1), (event.data, event.topic, event.position))
            break
        self.assertEqual(2, self.events.broken)
        self.assertEqual([], self.events.outcomes)


class Operations(PlatformTest):
    def setUp(self) -> None:
        super().setUp()
        self.calls = Client("hms.ach.transaction", address=self.server.address, settings=self.settings)
        self.addCleanup(self.calls.close)

    def test_start_now_and_answer_later(self) -> None:
        started = self.calls.start("ProcessTransaction", {"type": "a"}, timeout=60, idempotency_key="k")
        self.assertEqual("RUNNING", started.status())
        self.assertEqual({"transaction_id": "t-1"}, started.result(5))
        asked = self.operations.asked
        self.assertEqual(
            ("hms.ach.transaction.v1.TransactionService", "ProcessTransaction", "60s", "k"),
            (asked["service"], asked["method"], asked["timeout"], asked["idempotencyKey"]),
        )

    def test_wait_for_a_platform_that_restarts(self) -> None:
        self.operations.away = 5
        self.assertEqual({"transaction_id": "t-1"}, self.calls.start("ProcessTransaction").result())

    def test_raise_the_error_they_ended_with(self) -> None:
        self.operations.error = {
            "code": 5,
            "message": "No account.",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "X", "metadata": {"resource_id": "7"}}
            ],
        }
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.calls.start("ProcessTransaction").result(5)
        self.assertEqual(("X", "7"), (caught.exception.reason, caught.exception.resource_id))

    def test_are_cancelled_or_waited_for_too_short(self) -> None:
        started = self.calls.start("ProcessTransaction")
        with self.assertRaises(DeadlineExceededError):
            started.result(0)
        self.assertEqual("CANCELLED", started.cancel())
        with self.assertRaises(CancelledCallError):
            started.result()

    def test_are_awaited(self) -> None:
        async def main() -> Any:
            return await (await self.calls.start_async("ProcessTransaction"))

        self.assertEqual({"transaction_id": "t-1"}, asyncio.run(main()))


@service("hms.ffi", name="RegistryService")
class StandInRegistry:
    """Knows one instance, which nobody has a ticket for."""

    @method
    def lookup(self, request: Dict[str, Any]) -> Dict[str, Any]:
        instance = {"instanceId": "i", "address": "unix:/nowhere/it.sock", "state": "INSTANCE_STATE_AVAILABLE"}
        return {"service": {"instances": [instance]}}

    @method(stream=True)
    def watch(self, request: Dict[str, Any], context: CallContext) -> Iterator[Dict[str, Any]]:
        yield {"kind": "WATCH_EVENT_KIND_SYNCED"}
        context.wait_cancelled(10)


class Tickets(PlatformTest):
    def test_that_are_missing_leave_the_decision_to_the_platform(self) -> None:
        platform = self.serve(StandInRegistry(), self.service)
        settings = Settings(socket=platform.address[len("unix:") :], token="t", environment="prod")
        client = Client("hms.ach.transaction", settings=settings, contract=False)
        self.addCleanup(client.close)
        self.assertEqual("prod", client.call("Who")["metadata"]["x-hms-environment"])


class TwoAddresses(StandInRegistry):
    """Knows one instance, at two addresses, and has a ticket for it."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    @method
    def lookup(self, request: Dict[str, Any]) -> Dict[str, Any]:
        one, other = self.addresses
        instance = {"instanceId": "i", "address": one, "alternativeAddresses": [other]}
        tickets = [{"instanceId": "i", "ticket": "t", "expiresAt": "2999-01-01T00:00:00Z"}]
        return {"service": {"instances": [instance]}, "tickets": tickets}


@service("hms.test.reached")
class Reached:
    """Says where it was called."""

    def __init__(self, here: str) -> None:
        self.here = here

    @method
    def where(self) -> Dict[str, Any]:
        return {"where": self.here}


class TheTransport(PlatformTest):
    def test_that_settings_name_is_taken_before_nearer_ones(self) -> None:
        near = self.serve(Reached("unix")).address
        tcp = self.serve(Reached("tcp"), address="tcp://127.0.0.1:0").address
        platform = self.serve(TwoAddresses(near, tcp), Reached("platform")).address[len("unix:") :]
        for wanted, reached in (
            ({}, "unix"),
            ({"transport": "tcp"}, "tcp"),
            ({"transport": "tls"}, "unix"),
            ({"local_sockets": False}, "tcp"),
        ):
            settings = Settings(socket=platform, token="t", **wanted)  # type: ignore[arg-type]
            with Client("hms.test.reached", settings=settings, contract=False) as client:
                self.assertEqual(reached, client.call("Where")["where"], wanted)
                self.assertEqual(reached, asyncio.run(client.call_async("Where"))["where"], wanted)


class Schemas(unittest.TestCase):
    def test_without_a_contract_here_send_callers_to_json(self) -> None:
        definition = definition_of(StandInEvents()).methods["Publish"]
        with self.assertRaises(UnimplementedError) as caught:
            definition.codecs(0)
        self.assertEqual("CODEC_NOT_SUPPORTED", caught.exception.reason)


class Threads(PlatformTest):
    def test_close_a_subscription_that_waits(self) -> None:
        events = Events(self.settings)
        self.addCleanup(events.close)
        subscription = events.subscribe("a.b", group="g")
        thread = threading.Thread(target=lambda: subscription.consume(lambda event: None))
        thread.start()
        subscription.close()
        thread.join(5)
        self.assertFalse(thread.is_alive())


if __name__ == "__main__":
    unittest.main()
