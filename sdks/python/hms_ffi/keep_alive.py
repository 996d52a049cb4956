"""Finds out that a peer on the network is gone though its connection is not."""

from __future__ import annotations

import time
from typing import Optional

from .addresses import parse_address
from .client_session import ClientSession

#: Without a sign of life for so long a peer is asked for one; without one for as long again it counts as gone.
SECONDS = 10.0


class KeepAlive:
    """Watches one connection while calls wait on it; who waits looks when it is time."""

    def __init__(self, session: ClientSession, seconds: float) -> None:
        self._session = session
        self._seconds = seconds
        self.begin()

    def begin(self) -> None:
        """Calls wait from now on."""
        self._seen = self._session.chunks
        self._asked = False
        self._next = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds until it is time to look."""
        return max(0.0, self._next - time.monotonic())

    def look(self) -> Optional[str]:
        """Asks the peer for a sign of life if it has given none; says why it counts as gone if it does. What has
        arrived must have been read before."""
        if time.monotonic() < self._next:
            return None
        gone = self._asked and self._seen == self._session.chunks
        asks = not self._asked and self._seen == self._session.chunks
        self.begin()
        if gone:
            return f"The server has given no sign of life for {2 * self._seconds:g} s"
        self._asked = asks and self._session.ping()
        return None


def keep_alive_for(address: str, session: ClientSession) -> Optional[KeepAlive]:
    """What watches a connection to an address; None on one machine, where the system tells."""
    return None if parse_address(address).path is not None else KeepAlive(session, SECONDS)
