"""What a server has to tell the registry of calls it answered without it (docs/tickets.md)."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Deque, Dict, List, Mapping, Optional

from .errors import ServiceError, code_number
from .wellknown import moment_text

if TYPE_CHECKING:
    from .server_call import ServerCall

_MOST_RECORDS = 10_000
_BATCH = 500
_MOST_REQUEST_BYTES = 64 * 1024


class CallReports:
    """Records that wait to be sent, the newest 10,000; safe for threads."""

    def __init__(self) -> None:
        self._records: Deque[Dict[str, Any]] = deque(maxlen=_MOST_RECORDS)
        self._lock = threading.Lock()

    def answered(self, call: ServerCall, error: Optional[ServiceError]) -> None:
        """A call has been answered."""
        record = _record(call.context.method, call.context.metadata, error)
        record["principal"] = call.context.principal
        request = call.request_json
        if request is not None and len(request) <= _MOST_REQUEST_BYTES:
            record["requestJson"] = request.decode("utf-8", "replace")
        self._add(record)

    def refused(self, path: str, metadata: Mapping[str, str], error: ServiceError) -> None:
        """A call has been refused."""
        self._add(_record(path, metadata, error))

    def _add(self, record: Dict[str, Any]) -> None:
        with self._lock:
            self._records.append(record)

    def take(self) -> List[Dict[str, Any]]:
        """The oldest records, to be sent."""
        with self._lock:
            return [self._records.popleft() for _ in range(min(_BATCH, len(self._records)))]

    def give_back(self, records: List[Dict[str, Any]]) -> None:
        """They could not be sent; what has come since is newer and wins the place."""
        with self._lock:
            room = _MOST_RECORDS - len(self._records)
            self._records.extendleft(reversed(records[-room:] if room else []))


def _record(path: str, metadata: Mapping[str, str], error: Optional[ServiceError]) -> Dict[str, Any]:
    return {
        "recordId": uuid.uuid4().hex,
        "time": moment_text(datetime.now(timezone.utc)),
        "method": path,
        "code": code_number(error.code) if error is not None else 0,
        "reason": (error.reason or "") if error is not None else "",
        "requestId": metadata.get("x-request-id", ""),
    }
