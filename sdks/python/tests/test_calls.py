from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import logging
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List
from unittest import mock

from hms_ffi.call_context import outgoing_metadata
from hms_ffi.client import Client
from hms_ffi.errors import (
    CancelledCallError,
    DeadlineExceededError,
    InternalError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ResourceNotFoundError,
    ServiceError,
    UnavailableError,
    UnimplementedError,
    ValidationError,
)
from hms_ffi.service import method, service
from hms_ffi.settings import Settings

from .services import ServedTest


class BlockingCalls(ServedTest):
    def test_are_answered(self) -> None:
        answer = self.client().call("ProcessTransaction", {"type": "credit", "amount": "12.50", "description": "rent"})
        self.assertEqual({"transaction_id": "credit-12.50", "status": "settled", "description": "rent"}, answer)

    def test_raise_the_exception_of_the_code_with_its_facts(self) -> None:
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.client().call("ProcessTransaction", {"type": "a", "amount": -1, "source_account_id": "7"})
        error = caught.exception
        self.assertEqual(("account", "7", "No such account."), (error.resource_type, error.resource_id, error.message))
        self.assertIsInstance(error, ServiceError)

    def test_with_wrong_arguments_name_each_of_them(self) -> None:
        with self.assertRaises(ValidationError) as caught:
            self.client().call("ProcessTransaction", {"amount": "much", "kind": "x"})
        self.assertEqual({"type", "amount", "kind"}, {each.field for each in caught.exception.violations})

    def test_that_crash_keep_their_secret(self) -> None:
        logging.getLogger("hms_ffi.server").disabled = True
        self.addCleanup(setattr, logging.getLogger("hms_ffi.server"), "disabled", False)
        with self.assertRaises(InternalError) as caught:
            self.client().call("Crash")
        self.assertNotIn("secret", str(caught.exception))

    def test_of_unknown_methods_are_unimplemented(self) -> None:
        with self.assertRaises(UnimplementedError):
            self.client().call("Nothing")

    def test_end_with_their_deadline_and_the_handler_is_told(self) -> None:
        for name in ("Block", "Sleep"):
            self.service.stopped.clear()
            begun = time.monotonic()
            with self.assertRaises(DeadlineExceededError):
                self.client().call(name, timeout=0.1)
            self.assertLess(time.monotonic() - begun, 2)
            self.assertTrue(self.service.stopped.wait(5), name)

    def test_of_many_threads_share_one_connection(self) -> None:
        client = self.client()

        def one(at: int) -> bool:
            return bool(client.call("Echo", {"at": at}) == {"at": at})

        with ThreadPoolExecutor(16) as pool:
            self.assertTrue(all(pool.map(one, range(500))))
        self.assertEqual(1, len(self.server.connections))

    def test_that_are_quick_pass_those_that_wait(self) -> None:
        client = self.client()
        waiting = threading.Thread(target=lambda: self.assertRaises(ServiceError, client.call, "Block", timeout=3))
        waiting.start()
        self.assertTrue(self.service.started.wait(5))
        begun = time.monotonic()
        for at in range(20):
            client.call("Echo", {"at": at})
        self.assertLess(time.monotonic() - begun, 2)
        client.close()
        waiting.join(5)
        self.assertFalse(waiting.is_alive())

    def test_above_the_servers_limit_wait_for_their_turn_and_far_above_are_refused(self) -> None:
        server = self.serve(self.service, max_concurrent_calls=1)
        client = self.client(address=server.address)
        waiting = [
            threading.Thread(target=lambda: self.assertRaises(ServiceError, client.call, "Block", timeout=5))
            for _ in range(server.max_waiting_calls)
        ]
        for each in waiting[:-1]:
            each.start()
        self.assertTrue(self.service.started.wait(5))
        with self.assertRaises(DeadlineExceededError):
            client.call("Echo", {}, timeout=0.1)
        waiting[-1].start()
        with self.assertRaises(ResourceExhaustedError):
            for _ in range(100):
                with contextlib.suppress(DeadlineExceededError):
                    client.call("Echo", {}, timeout=0.05)
        client.close()
        for each in waiting:
            each.join(5)

    def test_find_a_server_that_came_back(self) -> None:
        client = self.client(address=f"unix:{self.folder}/again.sock")
        with self.assertRaises(UnavailableError) as caught:
            client.call("Echo", {})
        self.assertEqual("NOT_CONNECTED", caught.exception.reason)
        self.serve(self.service, address=f"unix:{self.folder}/again.sock")
        self.assertEqual({"n": 1}, client.call("Echo", {"n": 1}))

    def test_go_through_interceptors_outermost_first(self) -> None:
        seen: List[str] = []

        def outer(call: Any, proceed: Any) -> Any:
            seen.append(f"outer {call.method}")
            call.metadata["x-outer"] = "1"
            return {**proceed(call), "outer": True}

        def inner(call: Any, proceed: Any) -> Any:
            seen.append("inner")
            return proceed(call)

        answer = self.client(interceptors=[outer, inner]).call("Who")
        self.assertEqual(["outer Who", "inner"], seen)
        self.assertEqual(("1", True), (answer["metadata"]["x-outer"], answer["outer"]))

    def test_of_streams_go_through_interceptors_too(self) -> None:
        def double(call: Any, proceed: Any) -> Any:
            call.request = {"to": call.request["to"] * 2} if call.request else None
            return proceed(call)

        client = self.client(interceptors=[double])
        self.assertEqual(6, len(list(client.stream("Count", {"to": 3}))))
        self.assertEqual({"sum": 3}, client.client_stream("Add", [{"n": 1}, {"n": 2}]))

    def test_show_the_service_an_idempotency_key(self) -> None:
        client = self.client()
        answer = client.call("Who", idempotency_key="order 7/a")
        self.assertEqual("order 7/a", answer["metadata"]["x-hms-idempotency-key"])
        for wrong in ("", "ü", "a\nb", "x" * 129):
            with self.assertRaisesRegex(ValidationError, "1 to 128 visible characters"):
                client.call("Who", idempotency_key=wrong)

    def test_go_through_interceptors_of_the_service_whatever_their_kind(self) -> None:
        seen: List[str] = []

        async def guard(call: Any, proceed: Any) -> Any:
            seen.append(f"{call.service}/{call.method} {call.metadata.get('x-own', '')}")
            if call.method == "Echo":
                call.request = {**call.request, "seen": True}
            if call.metadata.get("x-own") == "no":
                raise PermissionDeniedError("Not today.")
            answer = await proceed(call)
            seen.append("ended")
            return answer

        server = self.serve(self.service, interceptors=[guard])
        client = self.client(address=server.address)
        self.assertEqual({"n": 1, "seen": True}, client.call("Echo", {"n": 1}, metadata={"x-own": "1"}))
        self.assertEqual(3, len(list(client.stream("Count", {"to": 3}))))
        with self.assertRaisesRegex(PermissionDeniedError, "Not today"):
            client.call("Who", metadata={"x-own": "no"})
        name = "hms.ach.transaction.v1.TransactionService"
        self.assertEqual([f"{name}/Echo 1", "ended", f"{name}/Count ", "ended", f"{name}/Who no"], seen)

    def test_carry_metadata_of_the_block_they_are_made_in(self) -> None:
        client = self.client(metadata={"x-app": "etl"})
        with outgoing_metadata({"x-tenant": "blue", "traceparent": "00-aa-bb-01"}):
            inside = client.call("Who", metadata={"x-own": "1"})
        outside = client.call("Who")
        expected = {"x-app": "etl", "x-tenant": "blue", "traceparent": "00-aa-bb-01", "x-own": "1"}
        self.assertEqual(expected, inside["metadata"])
        self.assertEqual({"x-app": "etl"}, outside["metadata"])
        self.assertTrue(inside["same"])

    def test_without_a_registry_say_what_is_missing(self) -> None:
        with self.assertRaisesRegex(ServiceError, "HMS_FFI_SOCKET"):
            Client("hms.ach.transaction", settings=Settings())


@dataclasses.dataclass
class Line:
    name: str
    tags: List[str]


@service("hms.test.lists")
class Lists:
    @method
    def add(self, numbers: List[int], labels: Dict[str, int], line: Line) -> Any:
        return {"sum": sum(numbers), "labels": labels, "tags": line.tags}


class EmptyLists(ServedTest):
    def test_and_maps_may_be_absent_as_contracts_have_them_and_nothing_else(self) -> None:
        client = Client("hms.test.lists", address=self.serve(Lists()).address)
        self.addCleanup(client.close)
        self.assertEqual({"sum": 0, "labels": {}, "tags": []}, client.call("Add", {"line": {"name": "a"}}))
        with self.assertRaisesRegex(ValidationError, "fit: line is missing\\. "):
            client.call("Add", {})
        with self.assertRaisesRegex(ValidationError, "missing: name"):
            client.call("Add", {"line": {}})


class CallsForCalls(ServedTest):
    def test_pass_on_the_trace_and_what_is_left_of_the_deadline(self) -> None:
        below = self.client()

        @service("hms.test.front")
        class Front:
            @method
            def ask(self) -> Any:
                return below.call("Who", timeout=60)

            @method
            async def ask_async(self) -> Any:
                return await below.call_async("Who", timeout=60)

        server = self.serve(Front())
        client = Client("hms.test.front", address=server.address)
        self.addCleanup(client.close)
        # As in a program without OpenTelemetry, whatever other tests have imported.
        untraced = mock.patch("hms_ffi.tracing._api", return_value=None)
        untraced.start()
        self.addCleanup(untraced.stop)
        for name in ("Ask", "AskAsync"):
            answer = client.call(name, timeout=5, metadata={"traceparent": "00-cc-dd-01", "x-tenant": "no"})
            self.assertEqual({"traceparent": "00-cc-dd-01"}, answer["metadata"], name)
            self.assertLess(answer["remaining"], 5)


class Streams(ServedTest):
    def test_of_answers_are_iterated(self) -> None:
        for name in ("Count", "CountAsync"):
            self.assertEqual([{"at": 0}, {"at": 1}, {"at": 2}], list(self.client().stream(name, {"to": 3})))

    def test_that_are_left_early_stop_the_handler(self) -> None:
        for each in self.client().stream("Count", {"to": 1_000_000}):
            if each["at"] == 5:
                break
        for _ in range(500):
            if self.server.running == 0:
                return
            time.sleep(0.01)
        self.fail("the handler goes on")

    def test_of_requests_are_answered_once(self) -> None:
        self.assertEqual({"sum": 4950}, self.client().client_stream("Add", ({"n": n} for n in range(100))))

    def test_in_both_directions_talk_in_turns(self) -> None:
        with self.client().bidi_stream("Double") as stream:
            for n in range(5):
                self.assertTrue(stream.send({"n": n}))
                self.assertEqual({"n": n * 2}, stream.receive())
            stream.close_send()
            self.assertEqual([], list(stream))


class AsyncioCalls(ServedTest):
    def run_async(self, work: Any) -> Any:
        return asyncio.run(work)

    def test_run_at_once(self) -> None:
        async def main() -> List[Any]:
            async with self.client() as client:
                return await asyncio.gather(*(client.call_async("Echo", {"at": at}) for at in range(200)))

        self.assertEqual([{"at": at} for at in range(200)], self.run_async(main()))

    def test_that_are_cancelled_cancel_the_handler(self) -> None:
        async def main() -> None:
            client = self.client()
            task = asyncio.ensure_future(client.call_async("Sleep"))
            await asyncio.get_running_loop().run_in_executor(None, self.service.started.wait, 5)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        self.run_async(main())
        self.assertTrue(self.service.stopped.wait(5))

    def test_end_with_their_deadline(self) -> None:
        async def main() -> None:
            with self.assertRaises(DeadlineExceededError):
                await self.client().call_async("Sleep", timeout=0.1)

        self.run_async(main())
        self.assertTrue(self.service.stopped.wait(5))

    def test_stream_in_all_directions(self) -> None:
        async def main() -> None:
            client = self.client()
            self.assertEqual([{"at": 0}, {"at": 1}], [each async for each in client.stream("CountAsync", {"to": 2})])
            self.assertEqual({"sum": 3}, await client.client_stream_async("Add", [{"n": 1}, {"n": 2}]))
            async with await client.bidi_stream_async("Double") as stream:
                await stream.send({"n": 4})
                self.assertEqual({"n": 8}, await stream.receive())

        self.run_async(main())

    def test_work_in_one_event_loop_after_another(self) -> None:
        client = self.client()
        for at in range(3):
            self.assertEqual({"at": at}, self.run_async(client.call_async("Echo", {"at": at})))

    def test_carry_metadata_of_their_task(self) -> None:
        async def ask(client: Client, tenant: str) -> str:
            with outgoing_metadata({"x-tenant": tenant}):
                await asyncio.sleep(0)
                return str((await client.call_async("Who"))["metadata"]["x-tenant"])

        async def main() -> List[str]:
            client = self.client()
            return list(await asyncio.gather(*(ask(client, str(at)) for at in range(20))))

        self.assertEqual([str(at) for at in range(20)], self.run_async(main()))

    def test_go_through_interceptors(self) -> None:
        async def stamp(call: Any, proceed: Any) -> Any:
            call.metadata["x-stamp"] = "1"
            return await proceed(call)

        async def main() -> Any:
            return await self.client(async_interceptors=[stamp]).call_async("Who")

        self.assertEqual("1", self.run_async(main())["metadata"]["x-stamp"])


class ClosedClients(ServedTest):
    def test_end_the_calls_that_wait(self) -> None:
        client = self.client()
        ended: List[Any] = []

        def wait() -> None:
            try:
                client.call("Block")
            except ServiceError as error:
                ended.append(error)

        thread = threading.Thread(target=contextvars.copy_context().run, args=(wait,))
        thread.start()
        self.assertTrue(self.service.started.wait(5))
        client.close()
        thread.join(5)
        self.assertIsInstance(ended[0], CancelledCallError)


if __name__ == "__main__":
    unittest.main()
