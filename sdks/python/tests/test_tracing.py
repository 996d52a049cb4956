"""One trace over callers and handlers; spans need OpenTelemetry's packages, which are no dependency."""

from __future__ import annotations

import asyncio
import logging
import time
import unittest
from typing import Any, List

from hms_ffi.client import Client
from hms_ffi.errors import ServiceError
from hms_ffi.service import method, service
from hms_ffi.tracing import TraceFilter, parse_traceparent

from .services import ServedTest

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

try:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
except ImportError:
    TracerProvider = None


class Traceparents(unittest.TestCase):
    def test_are_read_as_the_standard_has_them(self) -> None:
        self.assertEqual((TRACE, "00f067aa0ba902b7", 1), parse_traceparent(PARENT))
        for wrong in ("", "00-aa-bb-01", PARENT.replace("00-4", "ff-4"), f"00-{'0' * 32}-00f067aa0ba902b7-01"):
            self.assertIsNone(parse_traceparent(wrong), wrong)


class LogLines(ServedTest):
    def test_of_a_handler_name_its_trace(self) -> None:
        records: List[Any] = []
        log = logging.getLogger("test.handlers")
        keeper = logging.Handler()
        keeper.emit = records.append  # type: ignore[method-assign]
        keeper.addFilter(TraceFilter())
        log.addHandler(keeper)
        self.addCleanup(log.removeHandler, keeper)

        @service("hms.test.logging")
        class Talkative:
            @method
            def say(self) -> Any:
                log.warning("said")
                return {}

        with Client("hms.test.logging", address=self.serve(Talkative()).address) as client:
            client.call("Say", metadata={"traceparent": PARENT, "x-request-id": "r-7"})
        log.warning("outside")
        self.assertEqual([(TRACE, "r-7"), ("", "")], [(each.trace_id, each.request_id) for each in records])


@unittest.skipIf(TracerProvider is None, "opentelemetry-sdk is not installed")
class Spans(ServedTest):
    exporter: Any

    @classmethod
    def setUpClass(cls) -> None:
        provider = TracerProvider()
        cls.exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(cls.exporter))
        trace.set_tracer_provider(provider)
        cls.tracer = provider.get_tracer("test")

    def setUp(self) -> None:
        super().setUp()
        self.exporter.clear()

    def test_of_calls_are_below_the_active_one_and_above_their_handlers(self) -> None:
        client = self.client()

        async def call() -> None:
            await client.call_async("Who")

        for work in (lambda: client.call("Who"), lambda: asyncio.run(call())):
            self.exporter.clear()
            with self.tracer.start_as_current_span("caller") as caller:
                work()
            server, made = self._ended(2)
            self.assertEqual((trace.SpanKind.CLIENT, trace.SpanKind.SERVER), (made.kind, server.kind))
            self.assertEqual(["hms.ach.transaction.v1.TransactionService/Who"] * 2, [made.name, server.name])
            self.assertEqual(caller.get_span_context().span_id, made.parent.span_id)
            self.assertEqual(made.get_span_context().span_id, server.parent.span_id)
            self.assertEqual(0, made.attributes["rpc.grpc.status_code"])

    def test_of_calls_that_fail_say_so(self) -> None:
        with self.tracer.start_as_current_span("caller"), self.assertRaises(ServiceError):
            self.client().call("NoSuchMethod", {})
        (made,) = [each for each in self._ended(1) if each.kind is trace.SpanKind.CLIENT]
        self.assertEqual((12, False), (made.attributes["rpc.grpc.status_code"], made.status.is_ok))

    def test_are_not_made_of_calls_outside_of_any_span(self) -> None:
        self.client().call("Who")
        self.assertEqual([trace.SpanKind.SERVER], [each.kind for each in self._ended(1)])

    def _ended(self, number: int) -> List[Any]:
        for _ in range(500):
            ended = [each for each in self.exporter.get_finished_spans() if each.name != "caller"]
            if len(ended) >= number:
                return sorted(ended, key=lambda each: each.kind is trace.SpanKind.CLIENT)
            time.sleep(0.01)
        raise AssertionError("The spans did not end.")

    def test_of_handlers_are_below_their_callers_and_above_what_they_call(self) -> None:
        below = self.client()

        @service("hms.test.traced")
        class Traced:
            @method
            def ask(self) -> Any:
                return below.call("Who")

            @method
            async def ask_async(self) -> Any:
                return await below.call_async("Who")

        with Client("hms.test.traced", address=self.serve(Traced()).address) as client:
            for name in ("Ask", "AskAsync"):
                with self.tracer.start_as_current_span("caller") as caller:
                    seen = client.call(name)["metadata"]["traceparent"]
                trace_id, span_id, _ = parse_traceparent(seen) or ("", "", 0)
                self.assertEqual(f"{caller.get_span_context().trace_id:032x}", trace_id, name)
                self.assertNotEqual(f"{caller.get_span_context().span_id:016x}", span_id, name)


if __name__ == "__main__":
    unittest.main()
