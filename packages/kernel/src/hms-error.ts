import { type ErrorCode, StatusCode } from "./status-code.ts";

/** One problem of an input, for BAD_REQUEST details. */
export interface FieldViolation {
  /** Path of the field, "scaling.min". */
  field: string;
  /** What is wrong, why, and what to write instead. */
  description: string;
  /** Position in a text, 1-based, if the input was one. */
  line?: number;
  column?: number;
}

/** Typed facts that travel with an error (google.rpc error details in spirit). */
export interface ErrorDetails {
  /** A machine-readable reason in UPPER_SNAKE_CASE. */
  reason?: string;
  /** What the reason needs to be understood, "holder" or "resource". */
  metadata?: Record<string, string>;
  /** Every problem of the input, together. */
  fieldViolations?: FieldViolation[];
  /** Come back after this long. */
  retryAfterMs?: number;
}

const MARK = Symbol.for("hms.error");

/**
 * The one error of the product: a gRPC code, a message for people (what, why, what to do), details for programs.
 * Recognised across copies of this package by a registered symbol.
 */
export class HmsError extends Error {
  override readonly name = "HmsError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  readonly [MARK] = true;

  constructor(code: ErrorCode, message: string, options: ErrorDetails & { cause?: unknown } = {}) {
    const { cause, ...details } = options;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  /** The code's number, as it travels. */
  get statusCode(): number {
    return StatusCode[this.code];
  }

  static override [Symbol.hasInstance](value: unknown): value is HmsError {
    return typeof value === "object" && value !== null && MARK in value;
  }

  /** The error itself if it is one of ours; aborts become CANCELLED or DEADLINE_EXCEEDED, anything else INTERNAL. */
  static from(value: unknown): HmsError {
    if (value instanceof HmsError) return value;
    if (value instanceof Error && value.name === "AbortError") {
      return new HmsError("CANCELLED", "The call was cancelled.", { cause: value });
    }
    if (value instanceof Error && value.name === "TimeoutError") {
      return new HmsError("DEADLINE_EXCEEDED", "The call's deadline has passed.", { cause: value });
    }
    return new HmsError("INTERNAL", "Something failed inside the platform; its log says what.", { cause: value });
  }
}
