"""How often each method was called, with which outcome and how long it took."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from bisect import bisect_left
from types import TracebackType
from typing import Dict, Final, List, Optional, Tuple, Type

from .errors import BY_NUMBER, ServiceError, code_number
from .tracing import ClientSpan, client_span

#: Upper bounds of the buckets in seconds, as the platform has them.
_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300)
_CODES: Final = ("OK", *(each.code for each in BY_NUMBER))
#: Methods beyond this many are counted together: whoever makes up names must not fill the memory.
_MOST_METHODS: Final = 10_000
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class _MethodCounters:
    __slots__ = ("buckets", "codes", "seconds")

    def __init__(self) -> None:
        self.codes = [0] * len(_CODES)
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.seconds = 0.0


class CallMetrics:
    """Counters of calls by method and code; safe for threads. A process that was forked begins at zero."""

    def __init__(self, families: Tuple[str, str], help_texts: Tuple[str, str]) -> None:
        self._families = families
        self._help = help_texts
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Begins at zero."""
        self._methods: Dict[Tuple[str, str], _MethodCounters] = {}
        # Counting may set off the collector, which may end a stream that is counted in turn.
        self._lock = threading.RLock()

    def ended(self, service: str, method: str, error: Optional[BaseException], seconds: float) -> None:
        """Counts a call that has ended, with an error or without."""
        code = 0 if error is None else code_of(error)
        bucket = bisect_left(_BOUNDS, seconds)
        with self._lock:
            found = self._methods.get((service, method))
            if found is None:
                key = (service, method) if len(self._methods) < _MOST_METHODS else ("other", "other")
                found = self._methods.setdefault(key, _MethodCounters())
            found.codes[code] += 1
            found.buckets[bucket] += 1
            found.seconds += seconds

    def text(self) -> str:
        """What has been counted, in Prometheus text format 0.0.4."""
        with self._lock:
            counted = [
                (
                    f'service="{_escaped(service)}",method="{_escaped(method)}"',
                    [*each.codes],
                    [*each.buckets],
                    each.seconds,
                )
                for (service, method), each in self._methods.items()
            ]
        calls, durations = self._families
        lines = [f"# HELP {calls} {self._help[0]}", f"# TYPE {calls} counter"]
        for labels, codes, _, _ in counted:
            lines.extend(
                f'{calls}{{{labels},code="{_CODES[at]}"}} {number}' for at, number in enumerate(codes) if number
            )
        lines.extend((f"# HELP {durations} {self._help[1]}", f"# TYPE {durations} histogram"))
        for labels, _, buckets, seconds in counted:
            lines.extend(_histogram(durations, labels, buckets, seconds))
        return "\n".join(lines) + "\n"


def _histogram(family: str, labels: str, buckets: List[int], seconds: float) -> List[str]:
    total = 0
    lines = []
    for bound, number in zip((*map(str, _BOUNDS), "+Inf"), buckets):
        total += number
        lines.append(f'{family}_bucket{{{labels},le="{bound}"}} {total}')
    return [*lines, f"{family}_sum{{{labels}}} {seconds}", f"{family}_count{{{labels}}} {total}"]


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def code_of(error: BaseException) -> int:
    """The number of the code that an error stands for."""
    if isinstance(error, ServiceError):
        return code_number(error.code)
    if isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)):
        return code_number("CANCELLED")
    return code_number("UNKNOWN")


#: Calls that this process has answered; the names are those of the platform's own metrics.
SERVED: Final = CallMetrics(
    ("hms_ffi_calls_total", "hms_ffi_call_duration_seconds"),
    (
        "Calls that have ended, by method and gRPC code.",
        "Time from a call's arrival to its end; a stream's is its whole life.",
    ),
)
#: Calls that this process has made.
MADE: Final = CallMetrics(
    ("hms_ffi_client_calls_total", "hms_ffi_client_call_duration_seconds"),
    (
        "Calls that this program has made and that have ended, by method and gRPC code, repetitions counted as one.",
        "Time from the beginning of a call that this program made to its end; a stream's is its whole life.",
    ),
)


class Stopwatch:
    """Counts one call that this process makes once it has ended, and follows it with a span where there are such: as a
    `with` block, or by hand. One whose method never became known is not counted."""

    __slots__ = ("_begun", "_metrics", "_names", "_span")

    def __init__(self, metrics: Optional[CallMetrics] = MADE) -> None:
        self._metrics = metrics
        self._names: Optional[Tuple[str, str]] = None
        self._span: Optional[ClientSpan] = None
        self._begun = time.perf_counter()

    def measure(self, service: str, method: str, metadata: Dict[str, str]) -> Dict[str, str]:
        """Says which method it is; answers with the metadata to send, which names the call's own span if it has one."""
        self._names = (service, method)
        if self._span is None:
            self._span = client_span(service, method, metadata)
        return metadata if self._span is None else {**metadata, "traceparent": self._span.traceparent}

    def end(self, error: Optional[BaseException]) -> None:
        """The call has ended; only the first end counts."""
        span, self._span = self._span, None
        if span is not None:
            span.end(0 if error is None else code_of(error), getattr(error, "message", None))
        metrics, self._metrics = self._metrics, None
        if metrics is not None and self._names is not None:
            metrics.ended(*self._names, error, time.perf_counter() - self._begun)

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.end(error)


def metrics_text() -> str:
    """All calls that this process has answered (`hms_ffi_calls_total`, `hms_ffi_call_duration_seconds`, as the
    platform's own metrics have them) and made (`hms_ffi_client_…`), in Prometheus text format 0.0.4."""
    return SERVED.text() + MADE.text()
