"""google.rpc.Status in JSON, as answers of the platform carry it."""

from __future__ import annotations

from typing import Any, Dict, Optional

from .errors import FieldViolation, ServiceError, error_class
from .wellknown import span


def error_of(status: Optional[Dict[str, Any]]) -> Optional[ServiceError]:
    """The error in a status; None if there is none. Unknown details are skipped."""
    code = int((status or {}).get("code", 0))
    if not status or code == 0:
        return None
    error = error_class(code)(status.get("message", ""))
    for detail in status.get("details", []):
        kind = str(detail.get("@type", "")).rsplit("/", 1)[-1]
        if kind == "google.rpc.ErrorInfo":
            error.reason = detail.get("reason") or None
            error.metadata.update(detail.get("metadata", {}))
        elif kind == "google.rpc.BadRequest":
            for each in detail.get("fieldViolations", []):
                error.violations.append(FieldViolation(each.get("field", ""), each.get("description", "")))
        elif kind == "google.rpc.RetryInfo" and detail.get("retryDelay"):
            error.retry_after = span(detail["retryDelay"]).total_seconds()
    return error
