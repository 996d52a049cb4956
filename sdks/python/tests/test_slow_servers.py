from __future__ import annotations

import socket
import threading
import time
import unittest
from typing import List

from hms_ffi import frames
from hms_ffi.envelope import FEATURES, Hello
from hms_ffi.errors import DeadlineExceededError
from hms_ffi.frames import FrameReader, frame

from .services import ServedTest


class SilentServers(ServedTest):
    def test_that_do_not_even_read_hold_nobody_beyond_his_deadline(self) -> None:
        path = f"{self.folder}/silent.sock"
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(path)
            silent.listen()
            client = self.client(address=f"unix:{path}", contract=False)
            begun = time.monotonic()
            with self.assertRaises(DeadlineExceededError):
                client.call("Echo", {"x": "y" * 3_000_000}, timeout=0.2)
            self.assertLess(time.monotonic() - begun, 3)


class LateGreetings(ServedTest):
    def test_do_not_keep_a_cancelled_call_running(self) -> None:
        """The reader of the only call is gone when the server's HELLO comes, and with it the leave to say CANCEL."""
        path = f"{self.folder}/late.sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            client = self.client(address=f"unix:{path}", contract=False)
            stream = client.open("Echo", {})
            server = listening.accept()[0]
            server.settimeout(5)
            hello = frame(0, frames.HELLO, 0, Hello(1, FEATURES, 65536, 100).encode())
            threading.Timer(0.1, server.sendall, [hello]).start()
            stream.cancel()
            reader = FrameReader()
            kinds: List[int] = []
            while frames.CANCEL not in kinds:
                arrived = server.recv(65536)
                self.assertTrue(arrived, f"the connection ended after {kinds}")
                kinds += [each.type for each in reader.feed(arrived)]
            server.close()


if __name__ == "__main__":
    unittest.main()
