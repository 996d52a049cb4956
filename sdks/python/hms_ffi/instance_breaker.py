"""Keeps calls away from instances that fail."""

from __future__ import annotations

import contextlib
import random
import time
from types import TracebackType
from typing import Callable, Dict, Final, Iterator, List, Optional, Sequence, Type

from .directory import Instance
from .errors import ServiceError

_FIRST_EJECTION: Final = 1.0
_LONGEST_EJECTION: Final = 60.0
_CONSECUTIVE_FAILURES: Final = 7
_WINDOW: Final = 10.0
#: Fewer calls than this in a window prove nothing.
_LEAST_CALLS: Final = 20
_LEAST_SUCCESS_RATE: Final = 0.5
#: How long a probe that has not ended keeps others away; a call without a deadline must not do so for ever.
_LONGEST_PROBE: Final = 10.0
#: The failures that speak against the instance and not against the call.
_FAULTS: Final = frozenset(("UNAVAILABLE", "UNKNOWN", "INTERNAL", "DATA_LOSS", "DEADLINE_EXCEEDED"))
_MOST_BREAKERS: Final = 256

_OnEnd = Callable[[Optional[ServiceError]], None]


class InstanceBreaker:
    """What is known of one instance, after Linkerd's failure accrual: seven failures in a row, or half of at least
    twenty calls within ten seconds, eject it; after a while, longer each time and spread by a quarter, one real call is
    the probe that decides. A `with` block is a call. Threads need no lock: a count lost in a race does no harm."""

    __slots__ = (
        "_calls",
        "_clock",
        "_ejections",
        "_failures",
        "_probing",
        "_random",
        "_row",
        "_window_ends_at",
        "ejected_until",
    )

    def __init__(
        self, chance: Callable[[], float] = random.random, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._random = chance
        self._clock = clock
        #: New calls avoid the instance until then.
        self.ejected_until = 0.0
        self._row = 0
        self._ejections = 0
        self._probing = False
        self._window_ends_at = 0.0
        self._calls = 0
        self._failures = 0

    @property
    def state(self) -> str:
        """What it does now: "closed", "open" or "probing"."""
        if self._probing:
            return "probing"
        return "open" if self.ejected_until > self._clock() else "closed"

    def begin(self) -> None:
        """A call goes to the instance: if it was ejected, this is the probe, and others stay away until its end."""
        if self._ejections and not self._probing:
            self._probing = True
            self.ejected_until = self._clock() + _LONGEST_PROBE

    def end(self, error: Optional[BaseException]) -> None:
        """A call has ended. One whose caller left says nothing about the instance."""
        if error is None:
            self.succeeded()
        elif not isinstance(error, ServiceError) or error.code == "CANCELLED":
            self._probing = False
        elif error.code in _FAULTS:
            self.failed(error.reason == "NOT_CONNECTED")
        else:
            self.succeeded()

    def succeeded(self) -> None:
        """The instance answered."""
        self._count(failed=False)
        self._row = 0
        if self._ejections:
            self._ejections = 0
            self._probing = False
            self.ejected_until = 0.0

    def failed(self, unreachable: bool = False) -> None:
        """The instance failed; if nobody is there, it is left alone at once."""
        self._count(failed=True)
        self._row += 1
        rate_is_low = self._calls >= _LEAST_CALLS and 1 - self._failures / self._calls < _LEAST_SUCCESS_RATE
        if unreachable or self._probing or self._row >= _CONSECUTIVE_FAILURES or rate_is_low:
            self._eject()

    def _count(self, failed: bool) -> None:
        now = self._clock()
        if now >= self._window_ends_at:
            self._window_ends_at = now + _WINDOW
            self._calls = self._failures = 0
        self._calls += 1
        self._failures += failed

    def _eject(self) -> None:
        pause = min(_FIRST_EJECTION * 2**self._ejections, _LONGEST_EJECTION)
        self._ejections = min(self._ejections + 1, 20)
        self._probing = False
        self._row = self._calls = self._failures = 0
        self.ejected_until = self._clock() + pause * (0.75 + self._random() / 2)

    @contextlib.contextmanager
    def opening(self, on_end: Optional[_OnEnd]) -> Iterator[_OnEnd]:
        """A stream is opened in the block; what it gives is to be told how the stream ended, and tells `on_end` too."""

        def ended(error: Optional[ServiceError]) -> None:
            self.end(error)
            if on_end is not None:
                on_end(error)

        self.begin()
        try:
            yield ended
        except BaseException as error:
            self.end(error)
            raise

    def __enter__(self) -> InstanceBreaker:
        self.begin()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.end(error)


class Breakers:
    """The breakers of one service's instances, by address."""

    def __init__(self) -> None:
        self._known: Dict[str, InstanceBreaker] = {}

    def of(self, address: str) -> InstanceBreaker:
        """The breaker of an instance."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= _MOST_BREAKERS:
                # Instances come and go; what has nothing against it need not be remembered.
                self._known = {key: each for key, each in self._known.items() if each.state != "closed"}
            found = self._known.setdefault(address, InstanceBreaker())
        return found

    def let_through(self, instances: List[Instance], tried: Sequence[str] = ()) -> List[Instance]:
        """The instances that a call may go to, without those where it has failed; if all are ejected, the one whose
        time is over first."""
        if len(instances) <= 1:
            return instances
        fresh = [each for each in instances if each.address not in tried] or instances
        now = time.monotonic()
        good = [each for each in fresh if self._ejected_until(each) <= now]
        return good or [min(fresh, key=self._ejected_until)]

    def _ejected_until(self, instance: Instance) -> float:
        found = self._known.get(instance.address)
        return 0.0 if found is None else found.ejected_until
