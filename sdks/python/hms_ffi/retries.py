"""When a call may be made again (docs/wire.md, table of errors)."""

from __future__ import annotations

import random
import threading
import time
from typing import Final, List, Optional

from .errors import ServiceError, UnauthenticatedError, UnavailableError

_NOT_SERVED: Final = frozenset(("NOT_CONNECTED", "SERVER_STOPPING"))
_TICKET_OVER: Final = frozenset(("TICKET_EXPIRED", "TICKET_REVOKED"))
#: How often a call moves on from instances that did not take it: that costs them nothing.
_MOST_MOVES: Final = 4
_FIRST_DELAY: Final = 0.01
_LONGEST_DELAY: Final = 0.5


class RetryBudget:
    """Lets repeated calls be a fifth of all calls, so that repeating never doubles an overload; safe for threads."""

    def __init__(self, reserve: float = 10.0, share: float = 0.2) -> None:
        self._reserve = reserve
        self._share = share
        self._left = reserve
        self._lock = threading.Lock()

    def called(self) -> None:
        """A first attempt is made."""
        if self._left < self._reserve:
            with self._lock:
                self._left = min(self._reserve, self._left + self._share)

    def spend(self) -> bool:
        """Whether one more attempt may be made."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Attempts:
    """The attempts of one call."""

    def __init__(self, most: int, repeatable: bool, deadline: Optional[float], budget: RetryBudget) -> None:
        self._most = most
        self._repeatable = repeatable
        self._deadline = deadline
        self._budget = budget
        self._made = 1
        #: The addresses where the call has failed.
        self.tried: List[str] = []
        self._moved = 0
        self._renewed = False
        budget.called()

    @staticmethod
    def ticket_is_over(error: ServiceError) -> bool:
        """Whether a new ticket helps."""
        return isinstance(error, UnauthenticatedError) and error.reason in _TICKET_OVER

    def delay(self, error: ServiceError) -> Optional[float]:
        """Seconds after which to try again; None: the error is the caller's."""
        if self.ticket_is_over(error):
            if self._renewed:
                return None
            self._renewed = True
            return 0.0
        if not isinstance(error, UnavailableError) or self._most <= 1:
            return None
        moves = error.reason in _NOT_SERVED
        if self._moved >= _MOST_MOVES if moves else self._made >= self._most or not self._repeatable:
            return None
        wait = error.retry_after
        if wait is None:
            wait = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (self._made + self._moved - 1)) * random.uniform(0.5, 1.5)
        if self._deadline is not None and time.monotonic() + wait >= self._deadline:
            return None
        if moves:
            self._moved += 1
            return wait
        if not self._budget.spend():
            return None
        self._made += 1
        return wait
