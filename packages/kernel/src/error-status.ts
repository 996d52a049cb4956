import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyPack, anyUnpack, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { errorDetails, ffiErrors, status } from "@hms/contracts";
import { type ErrorDetails, HmsError } from "./hms-error.ts";
import { statusCodeName } from "./status-code.ts";

/** A google.rpc.Status message. */
export type Status = MessageShape<typeof status.StatusSchema>;

const DOMAIN = "hms-sys";
/** The longest Duration: 10,000 years. */
const LONGEST_WAIT_MS = 315_576_000_000_000;

function violationDetails(violations: NonNullable<ErrorDetails["fieldViolations"]>): Any[] {
  const { BadRequestSchema } = errorDetails;
  const details = packed(BadRequestSchema, create(BadRequestSchema, { fieldViolations: violations.map(fieldOnly) }));
  if (violations.some((violation) => violation.line !== undefined)) {
    const positions = violations.map(({ line = 0, column = 0 }) => ({ line, column }));
    details.push(...packed(ffiErrors.TextPositionsSchema, create(ffiErrors.TextPositionsSchema, { positions })));
  }
  return details;
}

const wholeWait = (ms: number) => Math.min(Math.max(0, Math.ceil(ms)), LONGEST_WAIT_MS);

const fieldOnly = ({ field, description }: { field: string; description: string }) => ({ field, description });

/** A detail; what cannot be written is left out, for the error itself has to reach its caller. */
function packed<D extends DescMessage>(schema: D, message: MessageShape<D>): Any[] {
  try {
    return [anyPack(schema, message)];
  } catch {
    return [];
  }
}

/** The error as it travels: the same bytes on every edge. The cause stays here. */
export function errorToStatus(error: HmsError): Status {
  const { reason, metadata, fieldViolations, retryAfterMs } = error.details;
  const details: Any[] = [];
  if (reason !== undefined || metadata !== undefined) {
    const info = create(errorDetails.ErrorInfoSchema, {
      reason: reason ?? "",
      domain: DOMAIN,
      metadata: metadata ?? {},
    });
    details.push(...packed(errorDetails.ErrorInfoSchema, info));
  }
  if (fieldViolations) details.push(...violationDetails(fieldViolations));
  // A fraction of a millisecond has no place in a Duration, and what cannot be written would fail whoever answers.
  if (retryAfterMs !== undefined && Number.isFinite(retryAfterMs)) {
    const retry = create(errorDetails.RetryInfoSchema, {
      retryDelay: durationFromMs(wholeWait(retryAfterMs)),
    });
    details.push(...packed(errorDetails.RetryInfoSchema, retry));
  }
  return create(status.StatusSchema, { code: error.statusCode, message: error.message, details });
}

/** The error that a status carries; unknown details are left out. */
export function errorFromStatus(received: Status): HmsError {
  const details: ErrorDetails = {};
  for (const any of received.details) readDetail(any, details);
  readPositions(received.details, details);
  const name = statusCodeName(received.code);
  return new HmsError(name === "OK" ? "UNKNOWN" : name, received.message, details);
}

function readDetail(any: Any, details: ErrorDetails): void {
  const info = anyUnpack(any, errorDetails.ErrorInfoSchema);
  if (info) {
    if (info.reason !== "") details.reason = info.reason;
    if (Object.keys(info.metadata).length > 0) details.metadata = { ...info.metadata };
  }
  const bad = anyUnpack(any, errorDetails.BadRequestSchema);
  if (bad) details.fieldViolations = bad.fieldViolations.map(fieldOnly);
  const retry = anyUnpack(any, errorDetails.RetryInfoSchema);
  // A program's own, which may be anything.
  if (retry?.retryDelay) details.retryAfterMs = wholeWait(durationMs(retry.retryDelay));
}

function readPositions(packed: Any[], details: ErrorDetails): void {
  for (const any of packed) {
    const found = anyUnpack(any, ffiErrors.TextPositionsSchema);
    found?.positions.forEach(({ line, column }, index) => {
      const violation = details.fieldViolations?.[index];
      if (violation && line > 0) Object.assign(violation, { line, column });
    });
  }
}
