"""One trace over callers and handlers; spans need OpenTelemetry's packages, which are no dependency."""

from __future__ import annotations

import logging
import unittest
from typing import Any, List

from hms_ffi.client import Client
from hms_ffi.service import method, service
from hms_ffi.tracing import TraceFilter, parse_traceparent

from .services import ServedTest

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

try:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
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
    def setUp(self) -> None:
        super().setUp()
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
        self.tracer = provider.get_tracer("test")

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
