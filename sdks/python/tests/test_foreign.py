"""Services that are no SDK's: stock gRPC servers, registered by their address."""

from __future__ import annotations

import unittest
from typing import Any, Dict, Iterator, List

from hms_ffi.client import Client
from hms_ffi.errors import UnimplementedError
from hms_ffi.method_codecs import MethodBook
from hms_ffi.service import CallContext, method, service
from hms_ffi.settings import Settings

from .services import ServedTest


@service("hms.ffi", name="RegistryService")
class RegistryOfStockServer:
    """Knows one instance, at an address that only the platform speaks to."""

    @method
    def lookup(self, request: Dict[str, Any]) -> Dict[str, Any]:
        address = "grpc://127.0.0.1:50051"
        instance = {"instanceId": address, "address": address, "state": "INSTANCE_STATE_AVAILABLE"}
        return {"service": {"instances": [instance]}}

    @method(stream=True)
    def watch(self, request: Dict[str, Any], context: CallContext) -> Iterator[Dict[str, Any]]:
        yield {"kind": "WATCH_EVENT_KIND_SYNCED"}
        context.wait_cancelled(10)


@service("hms.ffi", name="RegistryService")
class RegistryOfMany:
    """Knows two instances that are gone and one that lives, and gives tickets for all."""

    def __init__(self, alive: str) -> None:
        self.addresses = ["unix:/nowhere/a.sock", "unix:/nowhere/b.sock", alive]
        self.lookups = 0

    @method
    def lookup(self, request: Dict[str, Any]) -> Dict[str, Any]:
        self.lookups += 1
        state = "INSTANCE_STATE_AVAILABLE"
        instances = [{"instanceId": each, "address": each, "state": state} for each in self.addresses]
        tickets = [{"instanceId": each, "ticket": "t"} for each in self.addresses]
        return {"service": {"instances": instances}, "tickets": tickets}

    @method(stream=True)
    def watch(self, request: Dict[str, Any], context: CallContext) -> Iterator[Dict[str, Any]]:
        yield {"kind": "WATCH_EVENT_KIND_SYNCED"}
        context.wait_cancelled(10)


class InstancesThatAreGone(ServedTest):
    def test_are_avoided_also_by_what_the_registry_says_meanwhile(self) -> None:
        registry = RegistryOfMany(self.serve(self.service).address)
        platform = self.serve(registry)
        settings = Settings(socket=platform.address[len("unix:") :], token="t")
        with Client("hms.ach.transaction", settings=settings, contract=False) as client:
            for _ in range(200):
                client.call("Echo", {})
        self.assertGreater(registry.lookups, 1)


class StockServer(ServedTest):
    def test_is_called_through_the_platform(self) -> None:
        platform = self.serve(RegistryOfStockServer(), self.service)
        settings = Settings(socket=platform.address[len("unix:") :], token="t", environment="prod")
        with Client("hms.ach.transaction", settings=settings, contract=False) as client:
            self.assertEqual("prod", client.call("Who")["metadata"]["x-hms-environment"])


def _blob(number: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return bytes((number << 3 | 2, len(data))) + data


def _contract(package: str, services: List[str]) -> bytes:
    """A set of one file, whose services have the method SayHello."""
    say_hello = _blob(2, _blob(1, b"SayHello"), _blob(2, b".m.Text"), _blob(3, b".m.Text"))
    described = b"".join(_blob(6, _blob(1, name.encode()), say_hello) for name in services)
    return _blob(1, _blob(1, b"greeter.proto"), _blob(2, package.encode()), described)


class PackageWithoutVersion(unittest.TestCase):
    def _book(self, services: List[str], package: str = "helloworld") -> MethodBook:
        return MethodBook("helloworld", "v1", service=None, codec="json", contract=_contract(package, services))

    def test_is_called_by_the_names_of_its_contract(self) -> None:
        codecs = self._book(["Greeter"]).method("say_hello", {})
        self.assertEqual(("helloworld.Greeter", "SayHello"), (codecs.info.service, codecs.info.name))

    def test_may_have_several_services(self) -> None:
        codecs = self._book(["Greeter", "Other"]).method("Other/SayHello", {})
        self.assertEqual("helloworld.Other", codecs.info.service)

    def test_of_another_id_is_none_of_this_service(self) -> None:
        with self.assertRaises(UnimplementedError):
            MethodBook(
                "helloworld", "v1", service=None, codec="protobuf", contract=_contract("elsewhere", ["Greeter"])
            ).method("SayHello", {})

    def test_yields_to_the_one_with_a_version(self) -> None:
        codecs = self._book(["Greeter"], "helloworld.v1").method("SayHello", {})
        self.assertEqual("helloworld.v1.Greeter", codecs.info.service)


if __name__ == "__main__":
    unittest.main()
