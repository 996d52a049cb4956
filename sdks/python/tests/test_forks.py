from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
import traceback
import unittest
from typing import Any, Callable, List

from hms_ffi.client import Client
from hms_ffi.settings import Settings

from .services import ServedTest
from .test_platform import Reached, TwoAddresses


def in_child(work: Callable[[], Any], seconds: float = 10.0) -> int:
    """The exit code of a forked child that does some work; it is killed if it hangs."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return 137


def echo(client: Client, at: int) -> None:
    if client.call("Echo", {"at": at}, timeout=5) != {"at": at}:
        raise AssertionError("another's answer")


def _ask(address: str, at: int) -> int:
    with Client("hms.ach.transaction", address=address) as client:
        return int(client.call("Echo", {"at": at})["at"])


class ForkedProcesses(ServedTest):
    def test_open_connections_of_their_own_and_leave_the_parents_alone(self) -> None:
        client = self.client()
        echo(client, 0)
        self.assertEqual(0, in_child(lambda: [echo(client, at) for at in range(50)]))
        echo(client, 1)

    def test_do_not_wait_for_locks_that_the_parents_threads_held(self) -> None:
        client = self.client()
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                echo(client, 2)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for each in threads:
            each.start()
        try:
            codes: List[int] = [in_child(lambda: echo(client, 3)) for _ in range(20)]
        finally:
            stop.set()
            for each in threads:
                each.join(5)
        self.assertEqual([0] * 20, codes)
        echo(client, 4)

    def test_may_end_with_a_stream_open_without_ending_the_parents(self) -> None:
        client = self.client()
        with client.bidi_stream("Double") as stream:
            stream.send({"n": 1})
            self.assertEqual({"n": 2}, stream.receive())
            self.assertEqual(0, in_child(lambda: client.close()))
            stream.send({"n": 2})
            self.assertEqual({"n": 4}, stream.receive())

    def test_of_a_preforking_server_all_answer(self) -> None:
        # As gunicorn does it: the application, with its client, is loaded first and then forked several times.
        client = self.client()
        echo(client, 0)
        readers = []
        for at in range(4):
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    for n in range(100):
                        echo(client, at * 1000 + n)
                    os.write(write, b"1")
                finally:
                    os._exit(0)
            os.close(write)
            readers.append((pid, read))
        for pid, read in readers:
            self.assertEqual(b"1", os.read(read, 1))
            os.close(read)
            os.waitpid(pid, 0)

    def test_look_up_and_call_by_themselves_blocking_and_with_asyncio(self) -> None:
        near = self.serve(Reached("unix")).address
        tcp = self.serve(Reached("tcp"), address="tcp://127.0.0.1:0").address
        platform = self.serve(TwoAddresses(near, tcp)).address[len("unix:") :]
        client = Client("hms.test.reached", settings=Settings(socket=platform, token="t"), contract=False)
        self.addCleanup(client.close)

        async def together() -> None:
            answers = await asyncio.gather(*(client.call_async("Where", timeout=5) for _ in range(10)))
            if answers != [{"where": "unix"}] * 10:
                raise AssertionError(answers)

        def work() -> None:
            for _ in range(10):
                if client.call("Where", timeout=5) != {"where": "unix"}:
                    raise AssertionError("another's answer")
            asyncio.run(together())

        work()
        self.assertEqual([0, 0, 0], [in_child(work) for _ in range(3)])
        work()

    def test_of_multiprocessing_all_answer(self) -> None:
        for kind in ("fork", "spawn"):
            with multiprocessing.get_context(kind).Pool(2) as pool:
                work = pool.starmap_async(_ask, [(self.server.address, at) for at in range(8)])
                self.assertEqual(list(range(8)), work.get(30), kind)


if __name__ == "__main__":
    unittest.main()
