"""What a program counts of its calls."""

from __future__ import annotations

import asyncio
import os
import threading
import unittest
from typing import Any, Dict, Iterator

from hms_ffi.client import Client
from hms_ffi.errors import ResourceExhaustedError, ResourceNotFoundError, ServiceError, UnavailableError
from hms_ffi.metrics import CallMetrics, metrics_text
from hms_ffi.service import method, service

from .services import ServedTest

SERVED = "hms_ffi_calls_total"
MADE = "hms_ffi_client_calls_total"


@service("hms.counted")
class Counted:
    """Ends in every way."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    @method
    def get(self, id: str = "") -> Dict[str, Any]:
        if not id:
            raise ResourceNotFoundError("There is none.")
        return {"id": id}

    @method
    def wait(self) -> Dict[str, Any]:
        self.go_on.wait(5)
        return {}

    @method(stream=True)
    def follow(self, count: int) -> Iterator[Dict[str, Any]]:
        for n in range(count):
            yield {"n": n}

    @method(client_stream=True)
    def add(self, requests: Any) -> Dict[str, Any]:
        return {"sum": sum(each["n"] for each in requests)}


def sample(family: str, **labels: str) -> float:
    """The value of a sample, 0 if there is none."""
    pairs = ",".join(
        f'{name}="{value}"' for name, value in {"service": "hms.counted.v1.CountedService", **labels}.items()
    )
    found = [line for line in metrics_text().splitlines() if line.startswith(f"{family}{{{pairs}}} ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0


class Counts(ServedTest):
    def setUp(self) -> None:
        super().setUp()
        self.counted = Counted()
        self.at = self.serve(self.counted, max_concurrent_calls=1).address
        self.before = {each: self.now(*each) for each in self.kinds()}

    @staticmethod
    def kinds() -> Iterator[Any]:
        for family in (SERVED, MADE):
            for name in ("Get", "Wait", "Follow", "Add"):
                for code in ("OK", "NOT_FOUND", "CANCELLED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"):
                    yield family, name, code

    @staticmethod
    def now(family: str, name: str, code: str) -> float:
        return sample(family, method=name, code=code)

    def assert_counted(self, family: str, name: str, codes: str, times: int) -> None:
        """Whichever of the codes it is."""
        counted = 0.0
        for _ in range(1000):
            each = [self.now(family, name, code) - self.before[family, name, code] for code in codes.split(" or ")]
            counted = sum(each)
            if counted >= times:
                break
            threading.Event().wait(0.01)
        self.assertEqual(counted, times, f"{family} {name} {codes}")

    def test_calls_of_every_kind_on_both_sides_by_method_and_outcome(self) -> None:
        client = Client("hms.counted", address=self.at)
        durations = sample("hms_ffi_client_call_duration_seconds_count", method="Get")
        for _ in range(2):
            client.call("Get", {"id": "a"})
        with self.assertRaises(ResourceNotFoundError):
            client.call("Get")
        self.assertEqual(len(list(client.stream("Follow", {"count": 3}))), 3)
        for each in client.stream("Follow", {"count": 100_000}):
            if each["n"] == 1:
                break
        client.client_stream("Add", [{"n": 1}, {"n": 2}])
        for family in (SERVED, MADE):
            self.assert_counted(family, "Get", "OK", 2)
            self.assert_counted(family, "Get", "NOT_FOUND", 1)
            self.assert_counted(family, "Follow", "OK", 1)
            self.assert_counted(family, "Follow", "CANCELLED", 1)
            self.assert_counted(family, "Add", "OK", 1)
        self.assertEqual(sample("hms_ffi_client_call_duration_seconds_count", method="Get") - durations, 3)
        client.close()

    def test_calls_with_asyncio_and_those_that_are_late_or_given_up(self) -> None:
        async def all_kinds() -> None:
            async with Client("hms.counted", address=self.at) as client:
                await client.call_async("Get", {"id": "a"})
                self.assertEqual(len([each async for each in client.stream("Follow", {"count": 3})]), 3)
                with self.assertRaises(ServiceError):
                    await client.call_async("Wait", timeout=0.05)
                waiting = asyncio.ensure_future(client.call_async("Wait"))
                await asyncio.sleep(0.05)
                waiting.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await waiting
                self.counted.go_on.set()

        asyncio.run(all_kinds())
        for family in (SERVED, MADE):
            self.assert_counted(family, "Get", "OK", 1)
            self.assert_counted(family, "Follow", "OK", 1)
        self.assert_counted(MADE, "Wait", "DEADLINE_EXCEEDED", 1)
        self.assert_counted(MADE, "Wait", "CANCELLED", 1)
        # The service hears of a late call by its own clock or from the caller, whichever comes first.
        self.assert_counted(SERVED, "Wait", "CANCELLED or DEADLINE_EXCEEDED", 2)

    def test_calls_that_are_refused_because_there_are_too_many(self) -> None:
        async def flood() -> None:
            async with Client("hms.counted", address=self.at, max_attempts=1) as client:
                calls = [asyncio.ensure_future(client.call_async("Wait")) for _ in range(12)]
                # Ten run or wait for their turn; who is refused hears so while they do.
                while sum(each.done() for each in calls) < 2:
                    await asyncio.sleep(0.01)
                self.counted.go_on.set()
                ended = await asyncio.gather(*calls, return_exceptions=True)
                self.assertEqual(sum(isinstance(each, ResourceExhaustedError) for each in ended), 2)

        asyncio.run(flood())
        for family in (SERVED, MADE):
            self.assert_counted(family, "Wait", "RESOURCE_EXHAUSTED", 2)
            self.assert_counted(family, "Wait", "OK", 10)

    def test_calls_of_nobody_who_is_there(self) -> None:
        before = sample(MADE, method="Get", code="UNAVAILABLE")
        with Client("hms.counted", address="unix:/nowhere.sock", max_attempts=2) as client:
            with self.assertRaises(UnavailableError):
                client.call("Get")
            with self.assertRaises(UnavailableError):
                client.open("Get", {})
        self.assertEqual(sample(MADE, method="Get", code="UNAVAILABLE") - before, 2)


class Texts(unittest.TestCase):
    def metrics(self) -> CallMetrics:
        return CallMetrics(("calls_total", "call_seconds"), ("Calls.", "Durations."))

    def test_are_what_prometheus_reads(self) -> None:
        metrics = self.metrics()
        metrics.ended('a"b\\c\n', "Do", None, 0.00025)
        metrics.ended('a"b\\c\n', "Do", RuntimeError(), 1000.0)
        text = metrics.text()
        labels = 'service="a\\"b\\\\c\\n",method="Do"'
        for line in (
            "# TYPE calls_total counter",
            f'calls_total{{{labels},code="OK"}} 1',
            f'calls_total{{{labels},code="UNKNOWN"}} 1',
            f'call_seconds_bucket{{{labels},le="0.0001"}} 0',
            f'call_seconds_bucket{{{labels},le="0.00025"}} 1',
            f'call_seconds_bucket{{{labels},le="300"}} 1',
            f'call_seconds_bucket{{{labels},le="+Inf"}} 2',
            f"call_seconds_sum{{{labels}}} 1000.00025",
            f"call_seconds_count{{{labels}}} 2",
        ):
            self.assertIn(f"{line}\n", text)

    def test_stay_bounded_however_many_names_there_are(self) -> None:
        metrics = self.metrics()
        for n in range(10_005):
            metrics.ended("s", f"M{n}", None, 0.1)
        self.assertIn('calls_total{service="other",method="other",code="OK"} 5\n', metrics.text())

    def test_count_every_call_of_every_thread(self) -> None:
        metrics = self.metrics()
        work = [
            threading.Thread(target=lambda: [metrics.ended("s", "m", None, 0.1) for _ in range(2000)]) for _ in range(8)
        ]
        for each in work:
            each.start()
        for each in work:
            each.join()
        self.assertIn('calls_total{service="s",method="m",code="OK"} 16000\n', metrics.text())

    @unittest.skipUnless(hasattr(os, "fork"), "there are no forks")
    def test_begin_at_zero_in_a_forked_process(self) -> None:
        metrics = self.metrics()
        metrics.ended("s", "m", None, 0.1)
        child = os.fork()
        if child == 0:
            os._exit(0 if 'code="OK"' not in metrics.text() else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertIn('code="OK"} 1', metrics.text())
