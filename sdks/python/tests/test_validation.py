"""The rules of contracts, judged before handlers see a request."""

from __future__ import annotations

import random
import re
import time
import unittest
from typing import Any, Callable, Dict, List

from hms_ffi import cel_rules
from hms_ffi.client import Client
from hms_ffi.contract import Contract
from hms_ffi.errors import FailedPreconditionError, ServiceError, ValidationError
from hms_ffi.from_json import from_json
from hms_ffi.linear_regex import LinearRegex, PatternError
from hms_ffi.number_rules import float_text
from hms_ffi.protobuf_wire import bytes_field, text_field, varint_field
from hms_ffi.server import serving
from hms_ffi.service import method, service
from hms_ffi.validation import request_check

from .vectors import contract_bytes, load

CONTRACT = Contract(contract_bytes())
SERVICE = "hms.conformance.v1.ConformanceService"


def _message(name: str, *fields: bytes, options: bytes = b"") -> bytes:
    return bytes_field(4, text_field(1, name) + b"".join(bytes_field(2, each) for each in fields) + options)


def _field(name: str, number: int, kind: int, rules: bytes = b"", type_name: str = "", label: int = 1) -> bytes:
    options = bytes_field(8, bytes_field(1159, rules)) if rules else b""
    head = text_field(1, name) + varint_field(3, number) + varint_field(4, label) + varint_field(5, kind)
    return head + text_field(6, type_name) + options


def _contract(*messages: bytes) -> Contract:
    """A contract of one method, which takes the message M."""
    called = text_field(1, "Do") + text_field(2, ".t.v1.M") + text_field(3, ".t.v1.M")
    file = text_field(1, "t.proto") + text_field(2, "t.v1") + b"".join(messages) + text_field(12, "proto3")
    file += bytes_field(6, text_field(1, "TService") + bytes_field(2, called))
    return Contract(bytes_field(1, file))


def _judge(contract: Contract, called: str = "t.v1.TService/Do") -> Callable[[Any], None]:
    """What judges requests given as JSON. Raises ValidationError if the rules cannot be used."""
    info = contract.method(*called.split("/"))
    assert info is not None
    message, check = info.input, request_check(contract, info)
    assert check is not None
    known = check
    return lambda request: known(from_json(contract, message, request, skip_unknown=False))


def _violations(contract: Contract, request: Any, called: str = "t.v1.TService/Do") -> List[Dict[str, str]]:
    judge = _judge(contract, called)
    try:
        judge(request)
    except ServiceError as error:
        return [{"field": each.field, "description": each.description} for each in error.violations]
    return []


class Rules(unittest.TestCase):
    def test_requests_are_judged_as_by_every_other_sdk(self) -> None:
        vectors = load("validation.json")
        for each in vectors["vectors"]:
            given = {name: value for name, value in {**vectors["base"], **each["change"]}.items() if value is not None}
            with self.subTest(each["name"]):
                self.assertEqual(_violations(CONTRACT, given, f"{SERVICE}/Check"), each["violations"])

    def test_a_broken_rule_keeps_the_request_from_the_handler_each_message_of_a_stream_too(self) -> None:
        served: List[Any] = []

        class Checked:
            @method
            def check(self, request: Any) -> Any:
                served.append(request)
                return {"text": request["name"]}

        kinds = {name: _silent(name) for name in ("run", "run_again", "read", "collect", "converse", "echo", "ended")}
        made = service("hms.conformance", contract=CONTRACT)(type("Served", (Checked,), kinds))
        good = load("validation.json")["base"]
        with serving(made(), register=False) as server, Client("hms.conformance", address=server.address) as client:
            self.assertEqual(client.call("Check", good)["text"], "anna")
            with self.assertRaises(ValidationError) as caught:
                client.call("Check", {**good, "amount": 0})
            self.assertEqual(caught.exception.reason, "REQUEST_NOT_VALID")
            self.assertEqual([each.field for each in caught.exception.violations], ["amount"])
        self.assertEqual(len(served), 1)

    def test_a_hundred_problems_are_told_however_many_there_are(self) -> None:
        min_len = bytes_field(14, varint_field(2, 1))
        contract = _contract(_message("M", _field("texts", 1, 9, bytes_field(18, bytes_field(4, min_len)), label=3)))
        started = time.thread_time()
        found = _violations(contract, {"texts": [""] * 200_000})
        self.assertEqual(len(found), 100)
        self.assertEqual(found[99]["field"], "texts[99]")
        self.assertLess(time.thread_time() - started, 5)

    def test_messages_nested_beyond_all_measure_are_refused(self) -> None:
        rules = bytes_field(14, varint_field(2, 1))
        contract = _contract(_message("M", _field("name", 1, 9, rules), _field("inside", 2, 11, type_name=".t.v1.M")))
        info = contract.method("t.v1.TService", "Do")
        assert info is not None
        check = request_check(contract, info)
        assert check is not None
        deep: Dict[str, Any] = {"name": "a", "inside": None}
        for _ in range(5000):
            deep = {"name": "a", "inside": deep}
        with self.assertRaisesRegex(ValidationError, "nested too deeply"):
            check(deep)

    def test_a_pattern_that_takes_too_long_on_some_text_is_given_up(self) -> None:
        rules = bytes_field(14, text_field(6, "^[ab]*a[ab]{200}c$"))
        contract = _contract(_message("M", _field("name", 1, 9, rules)))
        chosen = random.Random(1)
        self.assertEqual(len(_violations(contract, {"name": "ab" * 50})), 1)
        started = time.thread_time()
        with self.assertRaises(FailedPreconditionError) as caught:
            _judge(contract)({"name": "".join(chosen.choice("ab") for _ in range(100_000))})
        self.assertEqual(caught.exception.reason, "CONTRACT_RULES_BROKEN")
        self.assertLess(time.thread_time() - started, 5)

    def test_half_a_surrogate_pair_is_a_character_like_others(self) -> None:
        rules = bytes_field(14, varint_field(2, 2) + varint_field(5, 3) + text_field(6, "^.*$"))
        contract = _contract(_message("M", _field("name", 1, 9, rules)))
        self.assertEqual(_violations(contract, {"name": "\ud800"})[0]["description"], "must be at least 2 characters.")

    def test_rules_that_came_in_parts_are_one(self) -> None:
        rules = bytes_field(14, varint_field(2, 2)) + bytes_field(14, varint_field(3, 3))
        contract = _contract(_message("M", _field("name", 1, 9, rules)))
        self.assertEqual(len(_violations(contract, {"name": "a"})), 1)
        self.assertEqual(len(_violations(contract, {"name": "abcd"})), 1)

    def test_a_service_whose_rules_cannot_be_used_is_not_served(self) -> None:
        number_rules = bytes_field(3, varint_field(4, 1))
        bad_pattern = bytes_field(14, text_field(6, "(a"))
        own_names = bytes_field(7, bytes_field(1159, bytes_field(4, text_field(1, "nowhere"))))
        for message, said in (
            (_message("M", _field("name", 1, 9, number_rules)), "t.v1.M.name has rules .* not made for its type"),
            (_message("M", _field("name", 1, 9, bad_pattern)), "a pattern that cannot be used: a \\) is missing"),
            (_message("M", _field("name", 1, 9), options=own_names), "a oneof rule whose fields are not its own"),
            (_message("M", _field("name", 1, 9, b"\x72\x05")), "rules that cannot be read"),
        ):
            with self.assertRaisesRegex(ValidationError, said):
                _violations(_contract(message), {})

    @unittest.skipIf(cel_rules.INSTALLED, "protovalidate is installed")
    def test_rules_in_cel_are_refused_at_the_start_and_the_error_says_what_to_install(self) -> None:
        cel = bytes_field(23, text_field(1, "x") + text_field(3, "this != ''"))
        newer = bytes_field(14, varint_field(1000, 1))
        inside = bytes_field(18, bytes_field(4, cel))
        whole = bytes_field(7, bytes_field(1159, bytes_field(3, text_field(3, "true"))))
        for message, place in (
            (_message("M", _field("name", 1, 9, cel)), "t.v1.M.name"),
            (_message("M", _field("name", 1, 9, newer)), "t.v1.M.name"),
            (_message("M", _field("names", 1, 9, inside, label=3)), "t.v1.M.names"),
            (_message("M", _field("name", 1, 9), options=whole), "t.v1.M"),
        ):
            kind = service("t", contract=_contract(message))(type("Served", (), {"do": _silent("do")}))
            with self.assertRaises(ValidationError) as caught, serving(kind(), register=False):
                pass
            self.assertIn(f"({place})", caught.exception.message)
            self.assertIn("pip install 'protovalidate>=2'", caught.exception.message)
            self.assertEqual(caught.exception.reason, "CEL_NOT_INSTALLED")

    @unittest.skipUnless(cel_rules.INSTALLED, "protovalidate is not installed")
    def test_rules_in_cel_are_judged_by_protovalidate_with_all_the_others(self) -> None:
        cel = bytes_field(
            23, text_field(1, "x") + text_field(2, "must be even") + text_field(3, "this.size() % 2 == 0")
        )
        contract = _contract(_message("M", _field("name", 1, 9, cel + bytes_field(14, varint_field(2, 4)))))
        self.assertEqual(_violations(contract, {"name": "abcd"}), [])
        said = [each["description"] for each in _violations(contract, {"name": "abc"})]
        self.assertEqual(sorted(said), ["must be at least 4 characters.", "must be even."])


def _silent(name: str) -> Any:
    def handler(self: Any, request: Any) -> Any:
        return {}

    handler.__name__ = name
    return method(handler)


class Patterns(unittest.TestCase):
    def test_mean_what_python_says_where_both_know_them(self) -> None:
        chosen = random.Random(7)
        pieces = ["a", "b", ".", "[ab]", "[^a]", "\\w", "\\d", "\\S", "^", "$", "\\b", "(?:a|bc)", "(a*)", "(?i:B)"]
        for _ in range(1500):
            pattern = "".join(
                chosen.choice(pieces) + chosen.choice(["", "", "*", "+", "?", "{2}", "{0,2}"]) for _ in range(3)
            )
            pattern = re.sub(r"(\^|\$|\\b)[*+?{][0-9,}]*", r"\1", pattern)
            text = "".join(chosen.choice("abc1 \n") for _ in range(chosen.randint(0, 6)))
            expected = re.compile(pattern.replace("$", "\\Z"), re.ASCII).search(text) is not None
            with self.subTest(pattern=pattern, text=text):
                self.assertEqual(LinearRegex(pattern).search(text), expected)

    def test_know_the_syntax_of_re2(self) -> None:
        for pattern, text, matches in (
            (r"^\pL+$", "äß", True),
            (r"^\p{Lu}", "ä", False),
            (r"^[\p{Lu}\d]+$", "Ä1", True),
            (r"^\P{L}$", "1", True),
            (r"\Aa\z", "a\n", False),
            (r"(?m)^b$", "a\nb\nc", True),
            (r"^.$", "\n", False),
            (r"(?s)^.$", "\n", True),
            (r"^[[:alpha:]_-]+$", "a_-", True),
            (r"^[[:^digit:]]$", "a", True),
            (r"^\Qa.b\E+$", "a.bbb", True),
            (r"^\x41\x{1F600}\101$", "A😀A", True),
            (r"(?i)k", "\u212a", True),
            (r"^a{,2}$", "a{,2}", True),
            (r"^(?P<year>\d{4})$", "2026", True),
            (r"^[]a]+$", "]a", True),
            (r"^(a|b|)$", "", True),
            (r"^(?:(?i)a|b)c$", "Bc", True),
            (r"^(?:(?i)a|b)c$", "BC", False),
        ):
            with self.subTest(pattern=pattern, text=text):
                self.assertEqual(LinearRegex(pattern).search(text), matches)

    def test_that_re2_does_not_have_are_refused(self) -> None:
        for pattern in (
            "a**",
            "(?=a)",
            "(?<!a)",
            "(a",
            "a)",
            r"(a)\1",
            "[b-a]",
            "a{1001}",
            "(a{500}){3}",
            r"\k",
            "[a",
            "*a",
            "a{2,1}",
            r"\p{Nonsense}",
            "(?P<n",
            "\\",
            "(" * 200 + ")" * 200,
        ):
            with self.subTest(pattern=pattern), self.assertRaises(PatternError):
                LinearRegex(pattern)

    def test_take_a_time_that_grows_with_the_text_and_no_faster(self) -> None:
        started = time.thread_time()
        for pattern in ("^(a+)+$", "^(a|aa)*$", "(x+x+)+y", "^(?:.?){200}$"):
            LinearRegex(pattern).search("a" * 20_000 + "b")
        self.assertLess(time.thread_time() - started, 5)


class Numbers(unittest.TestCase):
    def test_are_written_as_other_languages_write_them(self) -> None:
        for value, text in (
            (0.1, "0.1"),
            (1.0, "1"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1.5e-7, "1.5e-7"),
            (1e-6, "0.000001"),
            (123456789.125, "123456789.125"),
            (-0.0, "0"),
            (float("inf"), "Infinity"),
        ):
            self.assertEqual(float_text(value), text)
