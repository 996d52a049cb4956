import { type ErrorCode, type ErrorDetails, type FieldViolation, HmsError, StatusCode } from "@hms/kernel/errors";

export type { ErrorCode, ErrorDetails, FieldViolation };

const MARK = Symbol.for("hms.error");

/** What an error may be made with beside its message. */
export type ErrorOptions = ErrorDetails & { cause?: unknown };

/**
 * What every failed call throws, and what handlers throw: a gRPC code, a message that says what, why and what to do, and
 * details for programs. There is one class for each code.
 */
export class FfiError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  // The platform's own mark: an error thrown by a handler reaches its caller with code and details.
  readonly [MARK] = true;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    const { cause, ...details } = options;
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.details = details;
  }

  /** The code's number, as it travels. */
  get statusCode(): number {
    return StatusCode[this.code];
  }

  /** A machine-readable reason in UPPER_SNAKE_CASE; empty if there is none. */
  get reason(): string {
    return this.details.reason ?? "";
  }

  /** Every problem of the input, if it was one. */
  get violations(): readonly FieldViolation[] {
    return this.details.fieldViolations ?? [];
  }

  /** Any failure as the class of its code; what is no error of a call becomes an InternalError. */
  static of(failure: unknown): FfiError {
    if (failure instanceof FfiError) return failure;
    const { code, message, details, cause } = HmsError.from(failure);
    const error = new classes[code](message, { ...details, ...(cause === undefined ? {} : { cause }) });
    if (failure instanceof Error && failure.stack) error.stack = failure.stack.replace(/^\w*Error/, error.name);
    return error;
  }
}

type Arguments = [message: string, options?: ErrorOptions];

/** The caller cancelled the call. */
export class CancelledError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("CANCELLED", message, options);
  }
}
/** Something went wrong that says nothing of itself. */
export class UnknownError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("UNKNOWN", message, options);
  }
}
/** The request does not fit the contract; `violations` say where. */
export class InvalidArgumentError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("INVALID_ARGUMENT", message, options);
  }
}
/** The call took longer than it may. */
export class DeadlineExceededError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("DEADLINE_EXCEEDED", message, options);
  }
}
/** What the request names is not there. */
export class NotFoundError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("NOT_FOUND", message, options);
  }
}
/** What should be made is there already. */
export class AlreadyExistsError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("ALREADY_EXISTS", message, options);
  }
}
/** The caller is known and may not do that. */
export class PermissionDeniedError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("PERMISSION_DENIED", message, options);
  }
}
/** A limit has been reached. */
export class ResourceExhaustedError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("RESOURCE_EXHAUSTED", message, options);
  }
}
/** The system is not in the state that the call needs. */
export class FailedPreconditionError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("FAILED_PRECONDITION", message, options);
  }
}
/** Somebody else was faster; read again and repeat. */
export class AbortedError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("ABORTED", message, options);
  }
}
/** The request goes beyond what there is. */
export class OutOfRangeError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("OUT_OF_RANGE", message, options);
  }
}
/** Nobody offers that method. */
export class UnimplementedError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("UNIMPLEMENTED", message, options);
  }
}
/** The callee is broken; its log says how. */
export class InternalError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("INTERNAL", message, options);
  }
}
/** Nobody answers now; later somebody may. */
export class UnavailableError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("UNAVAILABLE", message, options);
  }
}
/** Data is lost or damaged. */
export class DataLossError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("DATA_LOSS", message, options);
  }
}
/** Nobody knows who the caller is. */
export class UnauthenticatedError extends FfiError {
  constructor(...[message, options]: Arguments) {
    super("UNAUTHENTICATED", message, options);
  }
}

const classes: Record<ErrorCode, new (message: string, options?: ErrorOptions) => FfiError> = {
  CANCELLED: CancelledError,
  UNKNOWN: UnknownError,
  INVALID_ARGUMENT: InvalidArgumentError,
  DEADLINE_EXCEEDED: DeadlineExceededError,
  NOT_FOUND: NotFoundError,
  ALREADY_EXISTS: AlreadyExistsError,
  PERMISSION_DENIED: PermissionDeniedError,
  RESOURCE_EXHAUSTED: ResourceExhaustedError,
  FAILED_PRECONDITION: FailedPreconditionError,
  ABORTED: AbortedError,
  OUT_OF_RANGE: OutOfRangeError,
  UNIMPLEMENTED: UnimplementedError,
  INTERNAL: InternalError,
  UNAVAILABLE: UnavailableError,
  DATA_LOSS: DataLossError,
  UNAUTHENTICATED: UnauthenticatedError,
};
