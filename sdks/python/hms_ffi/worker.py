"""Work for runs: the steps of a queue (hms.automation.v1.StepService), done by this process."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .client import Client
from .errors import FailedPreconditionError, ServiceError, UnavailableError, UnimplementedError, code_number
from .platform_services import call_patiently, platform_client
from .settings import Settings, load_settings
from .wellknown import span, span_text

_log = logging.getLogger("hms_ffi.worker")

#: Seconds that one question for steps waits for the first one.
_WAIT = 20.0
_TICK = 0.2
_AGAIN = 1.0
_MOST_LOG_CHARACTERS = 30_000
_MOST_WAITING_LINES = 20_000


class Step:
    """One attempt of one step, as its handler sees it. Safe for threads."""

    def __init__(self, fields: Dict[str, Any], held_until: float) -> None:
        self.claim: Dict[str, Any] = fields["claim"]
        #: What to do, as the graph names it.
        self.uses: str = fields.get("uses", "")
        #: `with` of the node, its expressions replaced.
        self.input: Any = fields.get("input")
        #: The target's value, for nodes with targets.
        self.item: Any = fields.get("item")
        #: 1 for the first.
        self.attempt: int = fields.get("attempt", 0)
        #: Attempts that have failed.
        self.failures: int = fields.get("failures", 0)
        #: "idempotent", "resumable" or "at_most_once".
        self.effect: str = fields.get("effect", "")
        #: On whose behalf, for information.
        self.principal: str = fields.get("principal", "")
        #: Seconds that it may take; None: it is not limited.
        self.timeout: Optional[float] = span(fields["timeout"]).total_seconds() if "timeout" in fields else None
        self._held_until = held_until
        self._stop_reason: Optional[str] = None
        self._lines: List[str] = []
        self._piece: Optional[str] = None
        self._pieces = 0
        self._lock = threading.Lock()
        self._sending = threading.Lock()

    @property
    def run_id(self) -> str:
        """The run that it is part of."""
        return str(self.claim["runId"])

    @property
    def node(self) -> str:
        """Its name in the graph."""
        return str(self.claim["node"])

    @property
    def target(self) -> str:
        """Its target's name; empty: the node itself."""
        return str(self.claim.get("target", ""))

    @property
    def fence(self) -> int:
        """Grows with every claim of the step: who stores effects by it can refuse those of an earlier one."""
        return int(self.claim["fence"])

    @property
    def idempotency_key(self) -> str:
        """The same at each attempt of this step."""
        return "/".join(part for part in (self.run_id, self.node, self.target) if part)

    @property
    def stop_reason(self) -> Optional[str]:
        """Why it is to be given up: "cancelled", "timed_out" or "lost"; None: it is not."""
        return self._stop_reason

    @property
    def stopped(self) -> bool:
        """Whether it is to be given up; handlers that take long look at it and return or raise."""
        return self._stop_reason is not None

    def holds(self) -> bool:
        """Whether nobody else can have this step yet. Ask right before what must not be done twice."""
        return self._stop_reason != "lost" and time.monotonic() < self._held_until

    def log(self, line: str) -> None:
        """Adds a line to the step's log; it is sent within a fraction of a second."""
        with self._lock:
            if len(self._lines) < _MOST_WAITING_LINES:
                self._lines.append(line.replace("\0", "\ufffd").rstrip("\n") + "\n")

    def _renewed(self, until: float) -> None:
        self._held_until = until

    def _stop(self, reason: str) -> None:
        self._stop_reason = self._stop_reason or reason

    def _next_piece(self) -> Optional[str]:
        """What is to be sent next: the same again until it was taken."""
        with self._lock:
            if self._piece is None and self._lines:
                size = 0
                count = 0
                for line in self._lines:
                    size += len(line)
                    if count and size > _MOST_LOG_CHARACTERS // 2:
                        break
                    count += 1
                self._piece = "".join(self._lines[:count])[:_MOST_LOG_CHARACTERS // 2]
                del self._lines[:count]
            return self._piece

    def _piece_taken(self) -> None:
        with self._lock:
            self._piece = None
            self._pieces += 1


#: Does one attempt of a step; what it returns is the node's output (JSON, at most 64 KiB).
Handler = Callable[[Step], Any]


class StepWorker:
    """Claims the steps of one queue and does them in threads; leases are kept while handlers run. A handler fails its
    step by raising: a ServiceError keeps its code, and those that another attempt cannot change (ValidationError,
    PermissionDeniedError, …) are not tried again. What was claimed by a process that dies is done again by another, or
    waits for a decision if it is at_most_once."""

    def __init__(
        self,
        queue: str,
        handlers: Mapping[str, Handler],
        *,
        environment: str = "",
        concurrency: int = 1,
        lease: float = 30.0,
        settings: Optional[Settings] = None,
    ) -> None:
        """`handlers` by what steps use; `concurrency` is how many are done at once; `lease` is seconds, 2 to 300.
        Raises FailedPreconditionError without a platform."""
        known = settings or load_settings()
        self._client: Client = platform_client("hms.automation", "StepService", known)
        self._handlers = dict(handlers)
        self._lease = lease
        self._concurrency = concurrency
        self._place = {
            "queue": queue,
            "environment": environment or known.environment,
            "worker": f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:12]}",
        }
        self._running: Dict[str, Step] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()

    def run(self, grace: float = 10.0) -> None:
        """Works until `stop()`; then nothing more is claimed, and what runs has `grace` seconds. A platform that
        restarts is waited for. Raises ServiceError if it may not work on the queue."""
        keeper = threading.Thread(target=self._keep, name="hms-step-leases", daemon=True)
        keeper.start()
        pool = ThreadPoolExecutor(self._concurrency, "hms-step")
        try:
            while not self._stopping.is_set():
                free = self._free()
                for step in self._claim(free) if free else ():
                    pool.submit(self._do, step)
        finally:
            self._stopping.set()
            self._drain(grace)
            pool.shutdown(wait=False)
            keeper.join(2.0)
            self._client.close()

    def stop(self) -> None:
        """Lets `run()` end; may be called from a signal handler."""
        self._stopping.set()

    def _free(self) -> int:
        with self._changed:
            if len(self._running) >= self._concurrency:
                self._changed.wait(_TICK)
            return self._concurrency - len(self._running)

    def _claim(self, free: int) -> List[Step]:
        asked = {**self._place, "maxSteps": free, "wait": self._wait(), "lease": _span(self._lease)}
        since = time.monotonic()
        try:
            answer = self._client.call("ClaimSteps", asked, timeout=_WAIT + 10.0)
        except UnavailableError as error:
            _log.info("the platform is away, it is asked again: %s", error)
            self._stopping.wait(_AGAIN)
            return []
        # Their leases may have begun as early as we asked; after a long wait they are begun anew, so that we know.
        steps = [Step(fields, since + self._lease) for fields in answer.get("steps", [])]
        if steps and time.monotonic() - since > self._lease / 10:
            self._renew(steps)
        with self._changed:
            self._running.update({step.claim["fence"]: step for step in steps})
        return steps

    def _wait(self) -> str:
        # Who is busy with others soon wants to hear of its own end.
        return _span(_WAIT if not self._running else 2.0)

    def _do(self, step: Step) -> None:
        try:
            self._end(step, *self._outcome(step))
        finally:
            with self._changed:
                self._running.pop(step.claim["fence"], None)
                self._changed.notify_all()

    def _outcome(self, step: Step) -> Tuple[str, Dict[str, Any]]:
        handler = self._handlers.get(step.uses)
        try:
            if handler is None:
                known = ", ".join(sorted(self._handlers)) or "nothing"
                raise UnimplementedError(f'This worker does not know "{step.uses}"; it knows {known}.')
            return "CompleteStep", {"output": handler(step)}
        except Exception as error:  # a handler's failure is its step's
            return "FailStep", {"error": _status(step, error)}

    def _end(self, step: Step, method: str, outcome: Dict[str, Any]) -> None:
        try:
            self._send_log(step)
            if step.stop_reason != "lost":
                call_patiently(self._client, method, {**self._place, "claim": step.claim, **outcome})
        except FailedPreconditionError as error:
            _log.warning("a step was lost before it ended: %s", error)
        except ServiceError as error:
            # Its lease runs out; whoever finds that decides.
            _log.warning("the end of a step could not be told: %s", error)

    def _keep(self) -> None:
        renew_at = time.monotonic() + self._lease / 3
        while not (self._stopping.is_set() and not self._running):
            time.sleep(_TICK)
            steps = list(self._running.values())
            for step in steps:
                try:
                    self._send_log(step, wait=False)
                except ServiceError:
                    pass
            if time.monotonic() >= renew_at and steps:
                renew_at = time.monotonic() + self._lease / 3
                self._renew(steps)
            for step in steps:
                if not step.holds():
                    step._stop("lost")

    def _renew(self, steps: List[Step]) -> None:
        since = time.monotonic()
        asked = {**self._place, "claims": [step.claim for step in steps], "lease": _span(self._lease)}
        try:
            answer = self._client.call("RenewSteps", asked, timeout=self._lease / 3, repeatable=True)
        except ServiceError as error:
            _log.info("leases could not be renewed: %s", error)
            return
        for step, told in zip(steps, answer.get("claims", [])):
            if told.get("holds"):
                step._renewed(since + self._lease)
            stop = str(told.get("stop", "")).replace("CLAIM_STOP_", "").lower()
            if stop not in ("", "unspecified"):
                step._stop(stop)

    def _send_log(self, step: Step, wait: bool = True) -> None:
        if not step._sending.acquire(blocking=wait):
            return
        try:
            while True:
                piece = step._next_piece()
                if piece is None:
                    return
                asked = {**self._place, "claim": step.claim, "seq": step._pieces + 1, "text": piece}
                call_patiently(self._client, "AppendStepLog", asked, 5.0)
                step._piece_taken()
        finally:
            step._sending.release()

    def _drain(self, grace: float) -> None:
        until = time.monotonic() + grace
        with self._changed:
            while self._running and time.monotonic() < until:
                self._changed.wait(_TICK)


def _status(step: Step, error: Exception) -> Dict[str, Any]:
    text = error.message if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"
    code = error.code if isinstance(error, ServiceError) else "UNKNOWN"
    if not isinstance(error, ServiceError) and not step.stopped:
        _log.error("a step has failed: %s", step.idempotency_key, exc_info=error)
    return {"code": code_number("CANCELLED" if step.stopped else code), "message": text}


def _span(seconds: float) -> str:
    return span_text(timedelta(seconds=seconds))


def _host() -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname() if letter.isascii())
    return name[:20] or "host"
