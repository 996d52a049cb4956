import { HmsError } from "@hms/kernel";
import { type ErrorCode, FfiError } from "../src/index.ts";

/** What a request says an error should be. */
export interface Failure {
  code: string;
  message?: string;
  reason?: string;
  metadata?: Record<string, string>;
  violations?: { field: string; description: string }[];
  retryAfterMs?: number;
  retry_after_ms?: number;
}

/** The error that a handler is asked to throw. */
export function errorOf({ code, message = "", reason, metadata = {}, violations = [], ...wait }: Failure): FfiError {
  const retryAfterMs = wait.retryAfterMs ?? wait.retry_after_ms ?? 0;
  return FfiError.of(
    new HmsError(code as ErrorCode, message, {
      ...(reason ? { reason } : {}),
      ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
      ...(violations.length > 0 ? { fieldViolations: violations } : {}),
      ...(retryAfterMs > 0 ? { retryAfterMs } : {}),
    }),
  );
}

/** An error as the runner compares it. */
export function outcomeOf(thrown: unknown): object {
  const { code, message, details } = FfiError.of(thrown);
  const { reason, metadata, fieldViolations, retryAfterMs } = details;
  return {
    code,
    message,
    ...(reason ? { reason } : {}),
    ...(metadata ? { metadata } : {}),
    ...(fieldViolations
      ? { violations: fieldViolations.map(({ field, description }) => ({ field, description })) }
      : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}
