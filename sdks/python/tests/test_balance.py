"""How often calls are repeated, and which instance gets them."""

from __future__ import annotations

import unittest
from typing import Dict

from hms_ffi.directory import Instance
from hms_ffi.errors import UnavailableError
from hms_ffi.retries import Attempts, RetryBudget
from hms_ffi.route import _pick


class Budgets(unittest.TestCase):
    def test_let_a_fifth_of_all_calls_be_repeated_once_the_reserve_is_used_up(self) -> None:
        budget = RetryBudget(reserve=10)
        repeated = 0
        for _ in range(1000):
            attempts = Attempts(3, True, None, budget)
            while attempts.delay(UnavailableError("Not now.")) is not None:
                repeated += 1
        self.assertLessEqual(repeated, 10 + 200)
        self.assertGreaterEqual(repeated, 200)

    def test_are_not_needed_to_move_on_from_instances_that_are_gone(self) -> None:
        attempts = Attempts(3, False, None, RetryBudget(reserve=0))
        gone = UnavailableError("Nobody answers.", reason="NOT_CONNECTED")
        self.assertEqual(4, sum(attempts.delay(gone) is not None for _ in range(10)))

    def test_are_not_touched_by_calls_that_may_not_be_repeated(self) -> None:
        budget = RetryBudget(reserve=1)
        for _ in range(5):
            self.assertIsNone(Attempts(3, False, None, budget).delay(UnavailableError("Not now.")))
        self.assertTrue(budget.spend())


class TwoChoices(unittest.TestCase):
    def test_keep_the_busiest_instance_free_and_use_all_others(self) -> None:
        instances = [Instance(f"unix:/{name}") for name in "abc"]
        running = {"unix:/a": 50, "unix:/b": 1, "unix:/c": 1}
        picked: Dict[str, int] = {}
        for _ in range(300):
            address = _pick(instances, running.__getitem__).address
            picked[address] = picked.get(address, 0) + 1
        self.assertEqual({"unix:/b", "unix:/c"}, set(picked))

    def test_even_out_what_runs(self) -> None:
        instances = [Instance(f"unix:/{name}") for name in "abcd"]
        running = {each.address: 0 for each in instances}
        for _ in range(400):
            running[_pick(instances, running.__getitem__).address] += 1
        self.assertLess(max(running.values()) - min(running.values()), 20)

    def test_go_by_the_shares_that_instances_are_to_get(self) -> None:
        shares = {"unix:/old": 18_000, "unix:/tried": 2_000, "unix:/spare": 0}
        instances = [Instance(address, share=share) for address, share in shares.items()]
        picked = [_pick(instances, lambda _: 0).address for _ in range(2_000)]
        self.assertTrue(120 < picked.count("unix:/tried") < 290, picked.count("unix:/tried"))
        self.assertNotIn("unix:/spare", picked)

    def test_take_one_without_a_share_if_there_is_no_other(self) -> None:
        instances = [Instance("unix:/a", share=0), Instance("unix:/b", share=0)]
        self.assertEqual({"unix:/a", "unix:/b"}, {_pick(instances, lambda _: 0).address for _ in range(100)})


if __name__ == "__main__":
    unittest.main()
