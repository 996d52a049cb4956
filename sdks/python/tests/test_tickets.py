from __future__ import annotations

import unittest
from typing import Any, Dict

from hms_ffi.errors import PermissionDeniedError, UnauthenticatedError
from hms_ffi.tickets import TicketGate, read_ticket

from .vectors import load

VECTORS = load("tickets.json")
KEY = bytes.fromhex(VECTORS["key"])


class PublishedTickets(unittest.TestCase):
    def test_come_to_what_is_expected(self) -> None:
        for vector in VECTORS["tickets"]:
            with self.subTest(vector["name"]):
                self.assertEqual(vector["expect"], self._verdict(vector))

    def _verdict(self, vector: Dict[str, Any]) -> str:
        gate = TicketGate(KEY, VECTORS["audience"], lambda: vector["now"])
        for each in vector.get("revocations", []):
            gate.revoke(each["principal"], each["service_id"], each["issued_before"])
        try:
            gate.admit(vector["ticket"], "hms.cdf.debate.v1", "NobodyService/Knows")
        except PermissionDeniedError:
            return "valid"
        except UnauthenticatedError as error:
            return str(error.reason)
        return "valid"

    def test_say_who_calls(self) -> None:
        for vector in VECTORS["tickets"]:
            said = vector.get("principal")
            if said is None:
                continue
            with self.subTest(vector["name"]):
                ticket = read_ticket(vector["ticket"], KEY, VECTORS["audience"], vector["now"])
                self.assertEqual(f"{said['kind']}:{said['id']}", ticket.principal)
                self.assertEqual(said.get("environment", ""), ticket.environment)
                self.assertEqual((tuple(said["roles"]), said["mfa"]), (ticket.roles, ticket.mfa))

    def test_allow_what_they_name_and_nothing_else(self) -> None:
        for vector in VECTORS["tickets"]:
            for call in vector.get("calls", []):
                with self.subTest(vector["name"], call=call):
                    gate = TicketGate(KEY, VECTORS["audience"], lambda now=vector["now"]: now)
                    try:
                        found = gate.admit(vector["ticket"], call["package"], call["method"])[1]
                    except PermissionDeniedError:
                        found = "PERMISSION_DENIED"
                    self.assertEqual(call["expect"], found)


if __name__ == "__main__":
    unittest.main()
