"""Calls that outlive their caller: started now, answered later (hms.sys.integration.v1.OperationService)."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import timedelta
from typing import Any, Dict, Optional, Tuple

from .client import Client
from .codecs import Codec
from .errors import CancelledCallError, DeadlineExceededError, InternalError
from .json_status import error_of
from .platform_services import PATIENCE, call_patiently, call_patiently_async, platform_client
from .settings import Settings
from .wellknown import base64_bytes, base64_text, span_text

#: Seconds that one question to the platform may wait for the end.
_WAIT_SECONDS = 30.0
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT")


class AsyncCall:
    """A call that goes on by itself; its `id` finds it again from anywhere (`Operations.get`)."""

    def __init__(self, client: Client, operation: Dict[str, Any], response: Optional[Codec]) -> None:
        self._client = client
        self._operation = operation
        self._response = response

    @property
    def id(self) -> str:
        """Names the call."""
        return str(self._operation.get("operationId", ""))

    def status(self) -> str:
        """How it stands now: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED or TIMED_OUT. Raises ServiceError."""
        if not self._ended:
            self._take(call_patiently(self._client, "GetOperation", {"operationId": self.id}))
        return self._state

    async def status_async(self) -> str:
        """As `status`, with asyncio. Raises ServiceError."""
        if not self._ended:
            self._take(await call_patiently_async(self._client, "GetOperation", {"operationId": self.id}))
        return self._state

    def result(self, timeout: Optional[float] = None) -> Any:
        """Waits for the answer; it goes on if the time is over. Raises the call's error, or DeadlineExceededError."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._ended:
            request, limit = self._question(until)
            self._take(call_patiently(self._client, "WaitOperation", request, limit))
        return self._outcome()

    async def result_async(self, timeout: Optional[float] = None) -> Any:
        """As `result`, with asyncio; cancelling the task leaves the call alone. Raises ServiceError."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._ended:
            request, limit = self._question(until)
            self._take(await call_patiently_async(self._client, "WaitOperation", request, limit))
        return self._outcome()

    def __await__(self) -> Any:
        return self.result_async().__await__()

    def cancel(self) -> str:
        """Asks the call to stop; answers with how it stands. Raises ServiceError."""
        self._take(call_patiently(self._client, "CancelOperation", {"operationId": self.id}))
        return self._state

    async def cancel_async(self) -> str:
        """As `cancel`, with asyncio. Raises ServiceError."""
        self._take(await call_patiently_async(self._client, "CancelOperation", {"operationId": self.id}))
        return self._state

    @property
    def _state(self) -> str:
        return str(self._operation.get("state", "")).replace("OPERATION_STATE_", "") or "UNSPECIFIED"

    @property
    def _ended(self) -> bool:
        return self._state in _ENDED

    def _take(self, answer: Dict[str, Any]) -> None:
        self._operation = answer.get("operation", {})

    def _question(self, until: Optional[float]) -> Tuple[Dict[str, Any], float]:
        wait = _WAIT_SECONDS if until is None else min(_WAIT_SECONDS, until - time.monotonic())
        if wait <= 0:
            raise DeadlineExceededError(f"Operation {self.id} has not ended in time; it goes on ({self._state}).")
        # Who waits for ever waits longer for a platform that restarts.
        more = PATIENCE if until is None else 10.0
        return {"operationId": self.id, "maxWait": span_text(timedelta(seconds=wait))}, wait + more

    def _outcome(self) -> Any:
        if self._state == "SUCCEEDED":
            data = base64_bytes(self._operation.get("response", ""))
            return self._response.decode_answer(data) if self._response is not None else data
        error = error_of(self._operation.get("error"))
        if error is not None:
            raise error
        if self._state == "CANCELLED":
            raise CancelledCallError(f"Operation {self.id} was cancelled.")
        if self._state == "TIMED_OUT":
            raise DeadlineExceededError(f"Operation {self.id} took longer than it may.")
        raise InternalError(f"Operation {self.id} failed without saying why.")


class Operations:
    """Starts calls of one client's service that outlive this process. Safe for threads and forks."""

    def __init__(self, client: Client, settings: Optional[Settings] = None) -> None:
        self._calls = client
        self._client = platform_client("hms.sys.integration", "OperationService", settings)

    def start(
        self,
        method: str,
        request: Any = None,
        *,
        timeout: Optional[float] = None,
        idempotency_key: Optional[str] = None,
        callback: Optional[Tuple[str, str]] = None,
        keep_result: Optional[float] = None,
    ) -> AsyncCall:
        """Starts a unary method and answers at once. `timeout` in seconds (default 1 h, at most 7 days); the same
        `idempotency_key` answers with the call it started before; `callback` is a service and method that is called
        with the ended operation; the result is kept `keep_result` seconds (default a day). Raises ServiceError."""
        codecs = self._calls.method_codecs(method, request)
        asked: Dict[str, Any] = {
            "service": codecs.service,
            "method": codecs.name,
            "request": base64_text(codecs.request.encode(request)),
            "codec": "PAYLOAD_CODEC_JSON" if codecs.request.number else "PAYLOAD_CODEC_UNSPECIFIED",
            # With a key it may be asked for again when it is unclear whether it was started.
            "idempotencyKey": idempotency_key or str(uuid.uuid4()),
        }
        if timeout is not None:
            asked["timeout"] = span_text(timedelta(seconds=timeout))
        if keep_result is not None:
            asked["keepResult"] = span_text(timedelta(seconds=keep_result))
        if callback is not None:
            asked["callback"] = {"service": callback[0], "method": callback[1]}
        answer = call_patiently(self._client, "StartOperation", asked)
        return AsyncCall(self._client, answer.get("operation", {}), codecs.response)

    async def start_async(self, method: str, request: Any = None, **options: Any) -> AsyncCall:
        """As `start`, with asyncio. Raises ServiceError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: self.start(method, request, **options))

    def get(self, operation_id: str, method: Optional[str] = None) -> AsyncCall:
        """A call that was started before, perhaps by another process; with `method` its result is decoded. Raises
        ServiceError."""
        answer = call_patiently(self._client, "GetOperation", {"operationId": operation_id})
        operation = answer.get("operation", {})
        # As the program wrote its request that started the call.
        kept = "json" if operation.get("codec") == "PAYLOAD_CODEC_JSON" else "protobuf"
        response = self._calls.answer_codec(method, kept) if method is not None else None
        return AsyncCall(self._client, operation, response)

    def close(self) -> None:
        """Ends the connections to the platform."""
        self._client.close()
