"""What a call knows of its surroundings: metadata, trace, deadline, caller. Follows threads and tasks."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from contextvars import ContextVar
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from .errors import ServiceError, ValidationError
from .tracing import active_traceparent

#: Passed on by calls made for a call.
PASSED_ON = ("traceparent", "tracestate", "baggage", "x-request-id")


_METADATA_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
#: Bytes of names and values that one call may be answered with.
_MOST_TOLD = 64 * 1024


class CallContext:
    """The call that a handler answers."""

    def __init__(
        self,
        method: str,
        metadata: Mapping[str, str],
        deadline: Optional[float],
        *,
        principal: str = "",
        environment: str = "",
        roles: Tuple[str, ...] = (),
        mfa: bool = False,
        peer: str = "",
    ) -> None:
        self.method = method
        #: Without credentials; names in lower case.
        self.metadata = metadata
        #: On the clock of `time.monotonic`; None: none.
        self.deadline = deadline
        #: As the ticket names it ("user:anna"); empty: nobody known.
        self.principal = principal
        self.environment = environment
        self.roles = roles
        self.mfa = mfa
        #: The SPIFFE id of the program at the other end of a TLS connection; empty: it has shown none.
        self.peer = peer
        #: Sends what is said beside the answers; None: nobody asks.
        self.tell: Optional[Callable[[Mapping[str, str]], None]] = None
        self._told = 0
        self._stopped = threading.Event()
        self._why: Optional[ServiceError] = None
        self._listeners: List[Callable[[], None]] = []

    def send_metadata(self, metadata: Mapping[str, str]) -> None:
        """Tells the caller something beside the answers, at once: before the first answer as headers, later as
        trailers. Callers that do not ask never see it. Raises ValidationError if a name is not lower case, or a call's
        metadata is more than 64 KiB."""
        for name, value in metadata.items():
            if not _METADATA_NAME.fullmatch(name):
                raise ValidationError(f'"{name}" is no name of metadata: use lower-case letters, digits and hyphens.')
            self._told += len(name.encode()) + len(str(value).encode())
        if self._told > _MOST_TOLD:
            raise ValidationError(
                f"The metadata of an answer may have {_MOST_TOLD} bytes in all. Put large values into the answer."
            )
        if self.tell is not None:
            self.tell(metadata)

    @property
    def remaining(self) -> Optional[float]:
        """Seconds left; None without a deadline."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more: cancelled, gone, or too late."""
        return self._stopped.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises why the call is over, if it is; for blocking handlers to look now and then."""
        if self._why is not None:
            raise self._why

    def wait_cancelled(self, timeout: Optional[float] = None) -> bool:
        """Blocks until the call is cancelled; False if the time was over before."""
        return self._stopped.wait(timeout)

    def stop(self, why: ServiceError) -> None:
        """Tells the handler to stop; for the server that runs it."""
        if self._why is None:
            self._why = why
            self._stopped.set()
            for told in self._listeners:
                told()

    def on_stop(self, told: Callable[[], None]) -> None:
        """Calls back once when the call is stopped."""
        self._listeners.append(told)
        if self._stopped.is_set():
            told()


_current: ContextVar[Optional[CallContext]] = ContextVar("hms_ffi_call", default=None)
_outgoing: ContextVar[Mapping[str, str]] = ContextVar("hms_ffi_metadata", default={})  # noqa: B039  (never changed)


def current_call() -> Optional[CallContext]:
    """The call that the running handler answers; None outside of one."""
    return _current.get()


def enter_call(context: CallContext) -> None:
    """Makes a call the current one of this context; for the server that runs it."""
    _current.set(context)


@contextlib.contextmanager
def outgoing_metadata(metadata: Mapping[str, str]) -> Iterator[None]:
    """Metadata for every call made inside the block, also by tasks that it starts."""
    before = _outgoing.get()
    token = _outgoing.set({**before, **metadata})
    try:
        yield
    finally:
        _outgoing.reset(token)


def metadata_for_call(own: Optional[Mapping[str, str]]) -> Dict[str, str]:
    """What a call made now carries: what the current call passes on, the active span's trace, the block's, its own."""
    context = _current.get()
    outgoing = _outgoing.get()
    traceparent = active_traceparent()
    if context is None and not outgoing and traceparent is None:
        return {name.lower(): value for name, value in own.items()} if own else {}
    carried: Dict[str, str] = {}
    if context is not None:
        carried = {name: context.metadata[name] for name in PASSED_ON if name in context.metadata}
    if traceparent is not None:
        carried["traceparent"] = traceparent
    for source in (outgoing, own or {}):
        carried.update({name.lower(): value for name, value in source.items()})
    return carried


def deadline_for_call(timeout: Optional[float]) -> Optional[float]:
    """The nearer of a call's own deadline and that of the call it is made for."""
    context = _current.get()
    inherited = context.deadline if context is not None else None
    if timeout is None:
        return inherited
    own = time.monotonic() + timeout
    return own if inherited is None else min(own, inherited)
