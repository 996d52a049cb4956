"""The class of each code, as docs/sdks.md has it."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from hms_ffi import errors
from hms_ffi.envelope import decode_response, decode_status
from hms_ffi.protobuf_wire import varint_field

_DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "sdks.md"
_ROW = re.compile(r"^\| (\d+) \| ([A-Z_]+) \| (?:no error|`\w+`) \| (?:no error|`(\w+)`) \|$", re.MULTILINE)


class Classes(unittest.TestCase):
    def test_of_all_codes_are_those_documented(self) -> None:
        rows = _ROW.findall(_DOCUMENT.read_text())
        self.assertEqual([str(number) for number in range(17)], [number for number, _, _ in rows])
        for number, code, name in rows[1:]:
            arrived = decode_status(_status(int(number)))
            self.assertIs(getattr(errors, name), type(arrived), code)
            self.assertEqual(code, arrived.code)
            self.assertIsInstance(arrived, errors.ServiceError)

    def test_of_ok_is_none_and_of_a_number_nobody_knows_unknown(self) -> None:
        self.assertEqual((None, b""), decode_response(b"\x0a\x00"))
        self.assertIs(errors.UnknownError, type(decode_status(_status(17))))


def _status(number: int) -> bytes:
    return varint_field(1, number)


if __name__ == "__main__":
    unittest.main()
