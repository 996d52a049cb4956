from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest

from hms_ffi.addresses import Ways, best_address, parse_address
from hms_ffi.errors import ServiceError, UnauthenticatedError, ValidationError
from hms_ffi.tls import TlsIdentity, spiffe_id

from .services import ServedTest

SERVER = "spiffe://test/env/default/svc/callee"
CLIENT = "spiffe://test/env/default/svc/caller"


class Authority:
    """A certificate authority made with the machine's openssl."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.ca = os.path.join(folder, "ca.pem")
        self._make("ca", ["-subj", "/CN=test", "-addext", "keyUsage=critical,keyCertSign"])

    def _make(self, name: str, options: list[str]) -> None:
        at = os.path.join(self.folder, name)
        new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        command = ["openssl", *new, "-keyout", f"{at}.key", "-out", f"{at}.pem", *options]
        subprocess.run(command, check=True, capture_output=True)

    def issue(self, name: str, names: str) -> TlsIdentity:
        by = ["-CA", self.ca, "-CAkey", os.path.join(self.folder, "ca.key"), "-subj", "/O=test"]
        self._make(name, [*by, "-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={names}"])
        at = os.path.join(self.folder, name)
        return TlsIdentity(f"{at}.pem", f"{at}.key", self.ca)


@unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
class Tls(ServedTest):
    folders: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folders = tempfile.TemporaryDirectory(prefix="hms-py-tls-")
        cls.addClassCleanup(cls.folders.cleanup)
        ours, others = os.path.join(cls.folders.name, "ours"), os.path.join(cls.folders.name, "others")
        for each in (ours, others):
            os.mkdir(each)
        authority, stranger = Authority(ours), Authority(others)
        cls.callee = authority.issue("callee", f"URI:{SERVER}")
        cls.caller = authority.issue("caller", f"URI:{CLIENT}")
        cls.nameless = authority.issue("nameless", "DNS:localhost")
        cls.stranger = stranger.issue("stranger", f"URI:{CLIENT}")

    def setUp(self) -> None:
        super().setUp()
        self.secure = self.serve(self.service, address="tls://127.0.0.1:0", tls=self.callee)

    def caller_of(self, address: str, tls: TlsIdentity):
        return self.client(address=address, tls=tls)

    def test_carries_calls_of_all_kinds_blocking(self) -> None:
        client = self.caller_of(self.secure.address, self.caller)
        large = {"text": "x" * 3_000_000}
        self.assertEqual(large, client.call("Echo", large))
        self.assertEqual(1000, len(list(client.stream("Count", {"to": 1000}))))
        self.assertEqual({"sum": 6}, client.client_stream("Add", [{"n": 1}, {"n": 2}, {"n": 3}]))

    def test_carries_calls_with_asyncio(self) -> None:
        import asyncio

        async def all_kinds() -> None:
            client = self.caller_of(self.secure.address, self.caller)
            large = {"text": "x" * 3_000_000}
            self.assertEqual(large, await client.call_async("Echo", large))
            answers = await asyncio.gather(*(client.call_async("Echo", {"n": n}) for n in range(50)))
            self.assertEqual([{"n": n} for n in range(50)], answers)
            client.close()

        asyncio.run(all_kinds())

    def test_threads_share_one_connection(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        client = self.caller_of(self.secure.address, self.caller)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: client.call("Echo", {"n": n, "text": "x" * 20_000})["n"], range(200)))
        self.assertEqual(list(range(200)), answers)
        self.assertEqual(1, len(self.secure.connections))

    def test_a_server_without_a_spiffe_id_or_of_strangers_is_refused(self) -> None:
        nameless = self.serve(self.service, address="tls://127.0.0.1:0", tls=self.nameless)
        with self.assertRaisesRegex(UnauthenticatedError, "no SPIFFE id"):
            self.caller_of(nameless.address, self.caller).call("Echo", {})
        with self.assertRaises(UnauthenticatedError):
            foreign = TlsIdentity(self.caller.certificate, self.caller.key, self.stranger.authority)
            self.caller_of(self.secure.address, foreign).call("Echo", {})

    def test_another_server_than_expected_is_refused(self) -> None:
        files = (self.caller.certificate, self.caller.key, self.caller.authority)
        self.caller_of(self.secure.address, TlsIdentity(*files, SERVER)).call("Echo", {})
        with self.assertRaisesRegex(UnauthenticatedError, f"shows {SERVER}; {SERVER}-other was expected"):
            self.caller_of(self.secure.address, TlsIdentity(*files, f"{SERVER}-other")).call("Echo", {})

    def test_a_caller_of_strangers_is_refused(self) -> None:
        wrong = TlsIdentity(self.stranger.certificate, self.stranger.key, self.callee.authority)
        # Python's server cannot say why it ends the connection; others do.
        with self.assertRaisesRegex(ServiceError, "does not accept this program's certificate|No trust between"):
            self.caller_of(self.secure.address, wrong).call("Echo", {})

    def test_is_never_older_than_1_3_and_always_hms_frames(self) -> None:
        host, port = "127.0.0.1", parse_address(self.secure.address).port
        context = self.caller.client_context()
        with socket.create_connection((host, port)) as sock, context.wrap_socket(sock) as agreed:
            self.assertEqual(("TLSv1.3", "hms-frames/1"), (agreed.version(), agreed.selected_alpn_protocol()))
        context = self.caller.client_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises(ssl.SSLError), socket.create_connection((host, port)) as sock:
            context.wrap_socket(sock)

    def test_a_rotated_certificate_is_used_without_a_restart(self) -> None:
        old = os.path.join(self.folder, "rotated")
        for end in (".pem", ".key"):
            shutil.copy(self.callee.certificate[:-4] + end, old + end)
        mine = TlsIdentity(f"{old}.pem", f"{old}.key", self.callee.authority)
        server = self.serve(self.service, address="tls://127.0.0.1:0", tls=mine)
        shutil.copy(self.caller.certificate, f"{old}.pem")
        shutil.copy(self.caller.key, f"{old}.key")
        os.utime(f"{old}.pem", (0, 0))
        files = (self.caller.certificate, self.caller.key, self.caller.authority)
        self.caller_of(server.address, TlsIdentity(*files, CLIENT)).call("Echo", {})

    def test_an_authority_that_was_removed_is_believed_no_more_and_a_new_one_is(self) -> None:
        authorities = os.path.join(self.folder, "authorities.pem")
        both = [self.callee.authority, self.stranger.authority]

        def believe(*files: str) -> None:
            # As a rotation does: never half a file.
            with open(f"{authorities}.new", "wb") as new:
                for each in files:
                    with open(each, "rb") as one:
                        new.write(one.read())
            os.replace(f"{authorities}.new", authorities)

        believe(*both)
        mine = TlsIdentity(self.callee.certificate, self.callee.key, authorities)
        server = self.serve(self.service, address="tls://127.0.0.1:0", tls=mine)
        other = TlsIdentity(self.stranger.certificate, self.stranger.key, self.callee.authority)
        self.caller_of(server.address, other).call("Echo", {})
        session = self.session_of(server.address, other)
        believe(both[0])
        with self.assertRaises(ServiceError):
            self.caller_of(server.address, other).call("Echo", {})
        self.assertFalse(session, "a session that can be resumed goes round the new files")
        self.caller_of(server.address, self.caller).call("Echo", {})
        believe()
        self.caller_of(server.address, self.caller).call("Echo", {})
        believe(*both)
        self.caller_of(server.address, other).call("Echo", {})

    def session_of(self, address: str, tls: TlsIdentity) -> bool:
        """Whether the server gives a ticket to resume its session with."""
        parsed = parse_address(address)
        with (
            socket.create_connection((parsed.host, parsed.port)) as sock,
            tls.client_context().wrap_socket(sock) as agreed,
        ):
            agreed.send(b"x")
            agreed.recv(1000)
            session = agreed.session
            return session is not None and session.has_ticket

    def test_without_a_certificate_is_refused_with_what_to_do(self) -> None:
        with self.assertRaisesRegex(ValidationError, "needs a certificate: give tls="):
            self.client(address=self.secure.address).call("Echo", {})
        with self.assertRaisesRegex(ValidationError, "Name files in PEM"):
            lost = TlsIdentity("/nowhere.pem", "/nowhere.key", "/nowhere-ca.pem")
            self.client(address=self.secure.address, tls=lost).call("Echo", {})


class Names(unittest.TestCase):
    def test_one_uri_that_is_a_spiffe_id_is_who_somebody_is(self) -> None:
        self.assertEqual(SERVER, spiffe_id({"subjectAltName": (("DNS", "a"), ("URI", SERVER))}))
        for names in ((), (("DNS", SERVER),), (("URI", SERVER), ("URI", "https://a")), (("URI", "spiffe://A/b"),)):
            self.assertIsNone(spiffe_id({"subjectAltName": names}))
        self.assertIsNone(spiffe_id(None))


class Addresses(unittest.TestCase):
    def test_over_grpc_are_refused_with_what_to_do(self) -> None:
        for address in ("grpc://a:1", "grpcs://a:1"):
            with self.assertRaisesRegex(
                ValidationError, "call the service by its id.*or call this address with grpcio"
            ):
                parse_address(address)
        with self.assertRaisesRegex(ValidationError, "speaks no HTTP"):
            parse_address("https://a:1")

    def test_of_tls_are_taken_with_a_certificate_and_after_nearer_ones(self) -> None:
        offered = ["grpcs://a:1", "tls://a:2", "tcp://127.0.0.1:3"]
        self.assertEqual("tcp://127.0.0.1:3", best_address(offered, Ways(tls=True)))
        self.assertEqual("tls://a:2", best_address(offered[:2], Ways(tls=True)))
        self.assertIsNone(best_address(offered[:2]))

    def test_of_the_preferred_transport_come_first_where_they_can_be_used(self) -> None:
        offered = ["grpcs://a:1", "tls://a:2", "tcp://127.0.0.1:3", "unix:/a.sock"]
        for transport, taken in (
            ("auto", "unix:/a.sock"),
            ("in_process", "unix:/a.sock"),
            ("local_socket", "unix:/a.sock"),
            ("tcp", "tcp://127.0.0.1:3"),
            ("tls", "tls://a:2"),
            ("grpc", "tls://a:2"),
            ("http", "unix:/a.sock"),
        ):
            with self.subTest(transport):
                self.assertEqual(taken, best_address(offered, Ways(tls=True, transport=transport)))
        self.assertEqual("unix:/a.sock", best_address(offered, Ways(transport="grpc")))

    def test_of_sockets_are_left_out_where_they_are_switched_off(self) -> None:
        self.assertEqual("tcp://127.0.0.1:3", best_address(["unix:/a", "tcp://127.0.0.1:3"], Ways(local_sockets=False)))
        self.assertIsNone(best_address(["unix:/a"], Ways(local_sockets=False)))


if __name__ == "__main__":
    unittest.main()
