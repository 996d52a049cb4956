"""How instances that fail are left alone."""

from __future__ import annotations

import unittest
from typing import List

from hms_ffi.directory import Instance
from hms_ffi.errors import CancelledCallError, InternalError, ServiceError, UnavailableError, ValidationError
from hms_ffi.instance_breaker import Breakers, InstanceBreaker


class Breaker(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.one = InstanceBreaker(lambda: 0.5, lambda: self.now)

    def test_ejects_after_seven_failures_in_a_row_and_not_if_one_call_in_between_went_well(self) -> None:
        for _ in range(6):
            self.one.failed()
        self.one.succeeded()
        for _ in range(6):
            self.one.failed()
        self.assertEqual("closed", self.one.state)
        self.one.failed()
        self.assertEqual(("open", 1.0), (self.one.state, self.one.ejected_until))

    def test_ejects_when_fewer_than_half_of_at_least_twenty_calls_succeed(self) -> None:
        for at in range(30):
            if self.one.state == "closed":
                self.one.failed()
                if at % 3 == 0:
                    self.one.succeeded()
        self.assertEqual("open", self.one.state)

    def test_ejects_at_once_what_nobody_answers_for(self) -> None:
        self.now = 5.0
        self.one.end(UnavailableError("Nobody.", reason="NOT_CONNECTED"))
        self.assertEqual(6.0, self.one.ejected_until)

    def test_lets_one_call_probe_when_the_time_is_over_and_keeps_the_others_away_meanwhile(self) -> None:
        self.one.failed(unreachable=True)
        self.now = 1.0
        self.assertEqual("closed", self.one.state)
        self.one.begin()
        self.assertEqual("probing", self.one.state)
        self.assertGreater(self.one.ejected_until, 1.0)
        self.one.succeeded()
        self.assertEqual(("closed", 0.0), (self.one.state, self.one.ejected_until))

    def test_stays_away_twice_as_long_after_each_probe_that_failed_a_minute_at_most(self) -> None:
        self.one.failed(unreachable=True)
        pauses: List[float] = []
        for _ in range(8):
            self.now = self.one.ejected_until
            self.one.begin()
            self.one.failed()
            pauses.append(self.one.ejected_until - self.now)
        self.assertEqual([2, 4, 8, 16, 32, 60, 60, 60], pauses)

    def test_does_not_wait_for_ever_for_a_probe_whose_caller_left(self) -> None:
        self.one.failed(unreachable=True)
        self.now = 1.0
        with self.assertRaises(KeyboardInterrupt), self.one:
            raise KeyboardInterrupt
        self.now = self.one.ejected_until
        self.one.begin()
        self.assertEqual("probing", self.one.state)

    def test_counts_what_speaks_against_the_instance_and_not_against_the_call(self) -> None:
        for error in (ValidationError("Wrong."), CancelledCallError("Never mind.")):
            for _ in range(30):
                self._call(error)
        self.assertEqual("closed", self.one.state)
        for _ in range(7):
            self._call(InternalError("Broken."))
        self.assertEqual("open", self.one.state)

    def test_hears_how_streams_end(self) -> None:
        told: List[object] = []
        for _ in range(7):
            with self.one.opening(told.append) as ended:
                pass
            ended(InternalError("Broken."))
        self.assertEqual(("open", 7), (self.one.state, len(told)))

    def _call(self, error: ServiceError) -> None:
        with self.assertRaises(type(error)), self.one:
            raise error


class Choice(unittest.TestCase):
    def setUp(self) -> None:
        self.instances = [Instance(f"unix:/{name}") for name in "abc"]
        self.breakers = Breakers()

    def test_leaves_out_ejected_instances_and_those_where_the_call_has_failed(self) -> None:
        self.breakers.of("unix:/a").failed(unreachable=True)
        self.assertEqual(["unix:/b", "unix:/c"], self._let_through())
        self.assertEqual(["unix:/c"], self._let_through("unix:/b"))

    def test_takes_the_one_that_returns_first_if_all_are_ejected(self) -> None:
        for name, times in (("a", 3), ("b", 1), ("c", 2)):
            for _ in range(times):
                self.breakers.of(f"unix:/{name}").failed(unreachable=True)
        self.assertEqual(["unix:/b"], self._let_through())

    def _let_through(self, *tried: str) -> List[str]:
        return [each.address for each in self.breakers.let_through(self.instances, tried)]


if __name__ == "__main__":
    unittest.main()
