from __future__ import annotations

import unittest
from typing import Any, Dict

from hms_ffi import protobuf_messages
from hms_ffi.client import Client
from hms_ffi.contract import Contract
from hms_ffi.errors import UnimplementedError, ValidationError
from hms_ffi.service import method, service

from .services import ServedTest
from .vectors import contract_bytes

CONTRACT = Contract(contract_bytes())


@service("hms.conformance", contract=CONTRACT)
class Typed:
    """Serves the conformance contract, with handlers that take fields by name."""

    @method
    def run(self, text: str, data: bytes = b"") -> Dict[str, Any]:
        return {"text": text.upper(), "data": data[::-1], "count": 2**60}

    @method
    def run_again(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return {"text": request["text"]}

    @method
    def read(self, request: Dict[str, Any]) -> Any:
        yield {"text": "a"}
        yield {"text": "b"}

    @method
    def collect(self, requests: Any) -> Dict[str, Any]:
        return {"text": "+".join(each["text"] for each in requests)}

    @method
    def converse(self, requests: Any) -> Any:
        for each in requests:
            yield {"text": each["text"]}

    @method
    def echo(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return request

    @method
    def check(self, request: Dict[str, Any]) -> Dict[str, Any]:
        return {"text": request["name"]}

    @method
    def ended(self, request: Dict[str, Any]) -> None:
        return None


class TypedCalls(ServedTest):
    def setUp(self) -> None:
        super().setUp()
        self.typed = self.serve(Typed())

    def typed_client(self, **options: Any) -> Client:
        made = Client("hms.conformance", address=self.typed.address, contract=CONTRACT, **options)
        self.addCleanup(made.close)
        return made

    def test_take_and_give_pythons_types(self) -> None:
        answer = self.typed_client().call("run", {"text": "a", "data": b"\1\2"})
        self.assertEqual(("A", b"\2\1", 2**60), (answer["text"], answer["data"], answer["count"]))

    def test_find_mistakes_before_anything_is_sent(self) -> None:
        with self.assertRaisesRegex(ValidationError, "did you mean text"):
            self.typed_client().call("Run", {"txt": "a"})
        with self.assertRaisesRegex(UnimplementedError, "it has Run"):
            self.typed_client().call("Walk")

    def test_know_the_kind_of_each_method(self) -> None:
        client = self.typed_client()
        self.assertEqual(["a", "b"], [each["text"] for each in client.stream("Read")])
        self.assertEqual("x+y", client.client_stream("Collect", [{"text": "x"}, {"text": "y"}])["text"])
        with client.open("Converse") as stream:
            stream.send({"text": "z"})
            self.assertEqual("z", stream.receive()["text"])

    def test_of_a_server_that_lacks_methods_are_refused_at_the_start(self) -> None:
        with self.assertRaisesRegex(ValidationError, "lacks .*collect"):

            @service("hms.conformance", contract=CONTRACT)
            class Half:
                @method
                def run(self) -> None:
                    return None

            self.serve(Half())

    @unittest.skipUnless(protobuf_messages.INSTALLED, "protobuf is not installed")
    def test_are_the_same_in_protobuf(self) -> None:
        answer = self.typed_client(codec="protobuf").call("Run", {"text": "a", "data": b"\1\2"})
        self.assertEqual(("A", b"\2\1", 2**60), (answer["text"], answer["data"], answer["count"]))

    @unittest.skipUnless(protobuf_messages.INSTALLED, "protobuf is not installed")
    def test_take_and_give_generated_messages(self) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(contract_bytes()).file:
            pool.Add(file)
        request = message_factory.GetMessageClass(pool.FindMessageTypeByName("hms.conformance.v1.RunRequest"))
        client = Client("hms.conformance", address=self.typed.address, contract=False)
        self.addCleanup(client.close)
        answer = client.call("Run", request(text="a", data=b"\1\2"))
        self.assertEqual(("RunResponse", "A", 2**60), (type(answer).__name__, answer.text, answer.count))

    @unittest.skipIf(protobuf_messages.INSTALLED, "protobuf is installed")
    def test_in_protobuf_say_what_is_missing(self) -> None:
        with self.assertRaisesRegex(UnimplementedError, "pip install protobuf"):
            self.typed_client(codec="protobuf").call("Run", {})


if __name__ == "__main__":
    unittest.main()
