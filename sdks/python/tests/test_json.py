from __future__ import annotations

import dataclasses
import enum
import unittest
import uuid
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hms_ffi.contract import Contract, pascal, service_name, snake
from hms_ffi.errors import ValidationError
from hms_ffi.from_json import from_json
from hms_ffi.plain_json import dump, load, plain
from hms_ffi.to_json import to_json

from .vectors import contract_bytes
from .vectors import load as load_vectors

CONTRACT = Contract(contract_bytes())
EVERYTHING = "hms.conformance.v1.Everything"


def written(value: Any) -> Any:
    return to_json(CONTRACT, EVERYTHING, value)


def read(value: Any, skip_unknown: bool = False) -> Any:
    return from_json(CONTRACT, EVERYTHING, value, skip_unknown=skip_unknown)


class Colour(enum.Enum):
    COLOR_RED = 1


@dataclasses.dataclass
class Inner:
    int32_value: int
    string_value: str = "x"


class TypedMessages(unittest.TestCase):
    def test_are_pythons_own_types(self) -> None:
        got = read(
            {
                "int64Value": "9007199254740993",
                "bytesValue": "AAE=",
                "timestamp": "2026-11-20T12:34:56.123456Z",
                "duration": "1.5s",
                "color": "COLOR_RED",
                "doubleValue": "NaN",
                "int64Map": {"5": "x"},
                "boolMap": {"true": 1},
                "wrappedInt64": "7",
                "struct": {"a": [1]},
            }
        )
        self.assertEqual(9007199254740993, got["int64_value"])
        self.assertEqual(b"\0\1", got["bytes_value"])
        self.assertEqual(datetime(2026, 11, 20, 12, 34, 56, 123456, timezone.utc), got["timestamp"])
        self.assertEqual(timedelta(seconds=1.5), got["duration"])
        self.assertEqual("COLOR_RED", got["color"])
        self.assertNotEqual(got["double_value"], got["double_value"])
        self.assertEqual(({5: "x"}, {True: 1.0}, 7), (got["int64_map"], got["bool_map"], got["wrapped_int64"]))

    def test_have_defaults_where_nothing_was_sent_and_none_where_absence_matters(self) -> None:
        got = read({})
        self.assertEqual(
            (0, "", b"", False, "COLOR_UNSPECIFIED", [], {}),
            (
                got["int64_value"],
                got["string_value"],
                got["bytes_value"],
                got["bool_value"],
                got["color"],
                got["int32_list"],
                got["string_map"],
            ),
        )
        self.assertIsNone(got["optional_int32"])
        self.assertIsNone(got["nested"])
        self.assertNotIn("choice_text", got)

    def test_come_back_as_they_were(self) -> None:
        for scenario in load_vectors("scenarios/types.json")["scenarios"]:
            with self.subTest(scenario["name"]):
                once = read(scenario["steps"][0]["request"])
                again = read(written(once))
                self.assertEqual(written(once), written(again))
                if "NaN" not in scenario["name"]:
                    self.assertEqual(once, again)

    def test_are_written_from_dataclasses_enums_and_either_spelling(self) -> None:
        self.assertEqual(
            {"nested": {"int32Value": 5, "stringValue": "x"}, "color": "COLOR_RED", "int64Value": "-3"},
            written({"nested": Inner(5), "color": Colour.COLOR_RED, "int64Value": -3}),
        )

    def test_say_every_problem_at_once_with_its_place(self) -> None:
        with self.assertRaises(ValidationError) as caught:
            written({"int32_value": 2**31, "bytes_value": "text", "nestd": {}, "nested": {"timestamp": 5}})
        self.assertEqual(
            ["int32_value", "bytes_value", "nestd", "nested.timestamp"],
            [each.field for each in caught.exception.violations],
        )
        self.assertIn("did you mean nested", caught.exception.violations[2].description)

    def test_refuse_wrong_json(self) -> None:
        for wrong in (
            {"int32Value": "x"},
            {"int32Value": 1.5},
            {"int32Value": True},
            {"uint32Value": -1},
            {"boolValue": "true"},
            {"stringValue": 5},
            {"bytesValue": "é"},
            {"timestamp": "yesterday"},
            {"duration": "1"},
            {"color": "BLUE"},
            {"int32List": 5},
            {"stringMap": []},
            {"nested": []},
            {"nope": 1},
            {"choiceText": "a", "choiceNumber": "1"},
            {"int64Value": "18446744073709551615"},
            {"floatValue": 1e40},
            {"doubleValue": 1e999},
            {"timestamp": "0001-01-01T00:00:00+23:59"},
            {"timestamp": "9999-12-31T23:59:59-00:01"},
            {"duration": "315576000001s"},
            {"duration": "9" * 400 + "s"},
            [],
            "x",
            None,
        ):
            with self.subTest(wrong), self.assertRaises(ValidationError):
                read(wrong)

    def test_skip_what_a_newer_server_adds(self) -> None:
        self.assertEqual(1, read({"int32Value": 1, "later": {}}, skip_unknown=True)["int32_value"])


class PlainValues(unittest.TestCase):
    def test_travel_where_json_has_no_type_for_them(self) -> None:
        self.assertEqual(
            {
                "n": str(2**60),
                "d": "1.10",
                "b": "AA==",
                "at": "2026-01-02T03:04:05Z",
                "day": "2026-01-02",
                "s": "60s",
                "id": "00000000-0000-0000-0000-000000000007",
                "list": [1, 2],
                "inner": {"int32_value": 1, "string_value": "x"},
                "e": 1,
                "f": "Infinity",
                "none": None,
            },
            plain(
                {
                    "n": 2**60,
                    "d": Decimal("1.10"),
                    "b": b"\0",
                    "at": datetime(2026, 1, 2, 3, 4, 5),
                    "day": date(2026, 1, 2),
                    "s": timedelta(minutes=1),
                    "id": uuid.UUID(int=7),
                    "list": (1, 2),
                    "inner": Inner(1),
                    "e": Colour.COLOR_RED,
                    "f": float("inf"),
                    "none": None,
                }
            ),
        )
        with self.assertRaises(TypeError):
            plain({"x": object()})

    def test_are_json_and_nothing_near_it(self) -> None:
        for wrong in (
            b"NaN",
            b"{",
            b'"\xff"',
            b"[" * 100_000 + b"]" * 100_000,
            b"{'a':1}",
            b'"\\ud800"',
            b'{"\\uDC00a":1}',
        ):
            with self.subTest(wrong[:10]), self.assertRaises(ValueError):
                load(wrong)
        self.assertEqual({}, load(b""))
        self.assertEqual(["\U0001f600", "\\ud800"], load(b'["\\ud83d\\uDE00", "\\\\ud800"]'))
        with self.assertRaises(ValueError):
            dump(float("nan"))


class Names(unittest.TestCase):
    def test_change_between_languages(self) -> None:
        for name in ("ProcessTransaction", "Get", "GetV2", "ListByID"):
            self.assertTrue(snake(name).islower())
        self.assertEqual("process_transaction", snake("ProcessTransaction"))
        self.assertEqual("ProcessTransaction", pascal("process_transaction"))
        self.assertEqual("hms.cdf.debate.v1.DebateService", service_name("hms.cdf.debate", "v1"))
        self.assertEqual("acme.user-service.v2.UserService", service_name("acme.user-service", "v2"))


if __name__ == "__main__":
    unittest.main()
