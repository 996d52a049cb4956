"""Errors of calls: one exception for each code of gRPC, with the details that travelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Dict, List, Mapping, Optional, Sequence, Type


@dataclass(frozen=True)
class FieldViolation:
    """One problem of an input: the field's path and what is wrong with it."""

    field: str
    description: str


class ServiceError(Exception):
    """A call that failed; also what a handler raises to fail its call. Every subclass stands for one code."""

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str = "",
        *,
        reason: Optional[str] = None,
        metadata: Optional[Mapping[str, str]] = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        #: Machine-readable, in UPPER_SNAKE_CASE.
        self.reason = reason
        #: Facts that belong to the reason.
        self.metadata: Dict[str, str] = dict(metadata or {})
        #: Every problem of the input, in order.
        self.violations: List[FieldViolation] = list(violations)
        #: Seconds to wait before the next try.
        self.retry_after = retry_after

    @property
    def details(self) -> Mapping[str, str]:
        """The facts of the error, under the name other languages use."""
        return self.metadata

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" if self.message else self.code


class CancelledCallError(ServiceError):
    """The caller no longer wanted the answer."""

    code = "CANCELLED"


class UnknownError(ServiceError):
    """Something failed that has no code."""

    code = "UNKNOWN"


class ValidationError(ServiceError):
    """The input is wrong; `violations` lists every problem."""

    code = "INVALID_ARGUMENT"

    def __init__(self, message: str = "", *, field: Optional[str] = None, **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]
        if field is not None:
            self.violations.append(FieldViolation(field, message))

    @property
    def field(self) -> Optional[str]:
        """The first field that is wrong."""
        return self.violations[0].field if self.violations else self.metadata.get("field")


class DeadlineExceededError(ServiceError, TimeoutError):
    """The time for the call was over."""

    code = "DEADLINE_EXCEEDED"


class ResourceNotFoundError(ServiceError):
    """What the call is about does not exist."""

    code = "NOT_FOUND"

    def __init__(
        self,
        message: str = "",
        *,
        resource_type: Optional[str] = None,
        resource_id: Optional[str] = None,
        **details: object,
    ) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]
        if resource_type is not None:
            self.metadata["resource_type"] = resource_type
        if resource_id is not None:
            self.metadata["resource_id"] = resource_id

    @property
    def resource_type(self) -> Optional[str]:
        """What kind of thing is missing, if the service said so."""
        return self.metadata.get("resource_type")

    @property
    def resource_id(self) -> Optional[str]:
        """Which thing is missing, if the service said so."""
        return self.metadata.get("resource_id")


class AlreadyExistsError(ServiceError):
    """What should be made is there already."""

    code = "ALREADY_EXISTS"


class PermissionDeniedError(ServiceError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class ResourceExhaustedError(ServiceError):
    """A limit is reached; `retry_after` says when to come back, if that is known."""

    code = "RESOURCE_EXHAUSTED"


class FailedPreconditionError(ServiceError):
    """The system is not in the state that the call needs."""

    code = "FAILED_PRECONDITION"


class AbortedError(ServiceError):
    """Somebody else was faster; the whole business may be tried again."""

    code = "ABORTED"


class OutOfRangeError(ServiceError):
    """Beyond the end of what there is."""

    code = "OUT_OF_RANGE"


class UnimplementedError(ServiceError):
    """There is no such method."""

    code = "UNIMPLEMENTED"


class InternalError(ServiceError):
    """Something broke that its service did not foresee; the service's log says what."""

    code = "INTERNAL"


class UnavailableError(ServiceError, ConnectionError):
    """The service cannot be reached now."""

    code = "UNAVAILABLE"


class DataLossError(ServiceError):
    """Data is lost or damaged."""

    code = "DATA_LOSS"


class UnauthenticatedError(ServiceError):
    """Nobody knows who calls."""

    code = "UNAUTHENTICATED"


#: The classes by the number of their code, 1 to 16.
BY_NUMBER: Sequence[Type[ServiceError]] = (
    CancelledCallError,
    UnknownError,
    ValidationError,
    DeadlineExceededError,
    ResourceNotFoundError,
    AlreadyExistsError,
    PermissionDeniedError,
    ResourceExhaustedError,
    FailedPreconditionError,
    AbortedError,
    OutOfRangeError,
    UnimplementedError,
    InternalError,
    UnavailableError,
    DataLossError,
    UnauthenticatedError,
)

#: The classes by the name of their code.
BY_CODE: Mapping[str, Type[ServiceError]] = {each.code: each for each in BY_NUMBER}

_NUMBERS: Mapping[str, int] = {each.code: number for number, each in enumerate(BY_NUMBER, 1)}


def code_number(code: str) -> int:
    """The number of a code as it travels."""
    return _NUMBERS[code]


def error_class(number: int) -> Type[ServiceError]:
    """The class of a code's number; numbers nobody knows are UNKNOWN."""
    return BY_NUMBER[number - 1] if 1 <= number <= len(BY_NUMBER) else UnknownError


def as_service_error(error: BaseException) -> ServiceError:
    """The error as a caller may see it: one of ours as it is, anything else INTERNAL without its text."""
    if isinstance(error, ServiceError):
        return error
    hidden = InternalError("The service failed; its log says why.")
    hidden.__cause__ = error
    return hidden
