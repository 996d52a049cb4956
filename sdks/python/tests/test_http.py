"""A platform that is reached by HTTP only."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Dict, List, Tuple

from hms_ffi.client import Client
from hms_ffi.errors import (
    DeadlineExceededError,
    ResourceNotFoundError,
    UnavailableError,
    UnimplementedError,
)
from hms_ffi.settings import Settings

ADDRESS = "unix:/nowhere/far.sock"
REASON = {"type": "google.rpc.ErrorInfo", "value": "CgROT05F"}


class Platform(BaseHTTPRequestHandler):
    """Answers as the edge does, from what the Connect protocol says of it."""

    asked: ClassVar[List[Tuple[str, Dict[str, str]]]] = []
    gone = threading.Event()

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers.get("content-length", "0")))
        name = self.path.rsplit("/", 1)[-1]
        self.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        if name == "Lookup":
            instance = {"instanceId": "i", "address": ADDRESS, "state": "INSTANCE_STATE_AVAILABLE"}
            self._answer({"service": {"instances": [instance]}, "tickets": [{"instanceId": "i", "ticket": "t"}]})
        elif name == "Echo":
            self._answer(json.loads(request))
        elif name == "Fail":
            self._answer({"code": "not_found", "message": "No such thing.", "details": [REASON]}, 404)
        elif name == "Hang":
            self.gone.wait(10)
        else:
            self._stream(name)

    def _answer(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, name: str) -> None:
        self.send_response(200)
        self.end_headers()
        for at in range(3):
            self._envelope(0, {"at": at})
        if name == "Count":
            self._envelope(2, {})
        elif name == "Break":
            self._envelope(2, {"error": {"code": "unavailable", "message": "Gone."}})

    def _envelope(self, flags: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.wfile.write(struct.pack(">BI", flags, len(data)) + data)

    def log_message(self, *_: Any) -> None:
        pass


class OverHttp(unittest.TestCase):
    def setUp(self) -> None:
        Platform.asked = []
        Platform.gone = threading.Event()
        server = ThreadingHTTPServer(("127.0.0.1", 0), Platform)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.addCleanup(Platform.gone.set)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.client = Client("hms.far", contract=False, settings=Settings(socket=self.url, token="t"))
        self.addCleanup(self.client.close)

    def test_calls_go_by_the_platform_with_token_and_deadline(self) -> None:
        self.assertEqual({"a": 1}, self.client.call("Echo", {"a": 1}, timeout=5))
        self.assertEqual({"a": 2}, asyncio.run(self.client.call_async("Echo", {"a": 2})))
        path, headers = Platform.asked[-1]
        self.assertEqual(("/hms.far.v1.FarService/Echo", "Bearer t"), (path, headers["authorization"]))
        self.assertLessEqual(int(headers["connect-timeout-ms"]), 30_000)

    def test_errors_keep_code_and_reason(self) -> None:
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.client.call("Fail")
        self.assertEqual(("No such thing.", "NONE"), (caught.exception.message, caught.exception.reason))

    def test_streams_are_read_to_their_end_or_error(self) -> None:
        self.assertEqual([{"at": 0}, {"at": 1}, {"at": 2}], list(self.client.stream("Count", {})))

        async def read() -> List[Any]:
            return [each async for each in self.client.stream("Count", {})]

        self.assertEqual(3, len(asyncio.run(read())))
        for name in ("Break", "Cut"):
            with self.assertRaises(UnavailableError):
                list(self.client.stream(name, {}))

    def test_calls_that_take_too_long_end_in_time(self) -> None:
        with self.assertRaises(DeadlineExceededError):
            self.client.call("Hang", timeout=0.1)

        async def late() -> None:
            await self.client.call_async("Hang", timeout=0.1)

        with self.assertRaises(DeadlineExceededError):
            asyncio.run(late())

    def test_streams_of_requests_say_what_to_do(self) -> None:
        with self.assertRaisesRegex(UnimplementedError, "HMS_FFI_SOCKET"):
            self.client.client_stream("Sum", [{}])

    def test_platforms_that_are_away_are_unavailable(self) -> None:
        with (
            Client("hms.far", contract=False, settings=Settings(socket="http://127.0.0.1:1")) as client,
            self.assertRaisesRegex(UnavailableError, "127.0.0.1:1"),
        ):
            client.call("Echo", timeout=2)


if __name__ == "__main__":
    unittest.main()
