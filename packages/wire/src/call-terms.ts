import { type CallOptions, HmsError, type Metadata } from "@hms/kernel";
import { metadataFields } from "./metadata-fields.ts";

/** Until when and how one call is made, from its options and the call it is made for. */
export interface CallTerms {
  /** Absolute, in `performance.now()` milliseconds. */
  readonly deadlineAt: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** Encoded as fields of a Request. */
  readonly metadata: Buffer | undefined;
  /** True if the metadata says as whom the call is made. */
  readonly authorized: boolean;
}

const NO_TERMS: CallTerms = { deadlineAt: undefined, signal: undefined, metadata: undefined, authorized: false };

/**
 * Works out a call's terms: the nearer of its own deadline and the one it inherits, and the metadata it passes on.
 * @throws HmsError INVALID_ARGUMENT if the metadata is too large
 */
export function callTerms(options: CallOptions | undefined): CallTerms {
  if (options === undefined) return NO_TERMS;
  const { context, timeoutMs, signal } = options;
  const own = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  const inherited = context?.deadlineAt;
  const metadata = passedOn(options);
  return {
    deadlineAt: own === undefined ? inherited : Math.min(own, inherited ?? own),
    signal: signal ?? (context?.cancellable ? context.signal : undefined),
    metadata: metadata && metadataFields(metadata),
    authorized: metadata?.authorization !== undefined,
  };
}

function passedOn({ context, metadata }: CallOptions): Metadata | undefined {
  if (context === undefined) return metadata;
  const { requestId } = context;
  // The callee's audit then names the same request.
  if (metadata === undefined) return { ...context.metadata, "x-request-id": requestId };
  return { ...traceOf(context.metadata), "x-request-id": requestId, ...metadata };
}

/** W3C trace context, as far as there is one. */
function traceOf({ traceparent, tracestate, baggage }: Metadata): Metadata {
  return {
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(tracestate === undefined ? {} : { tracestate }),
    ...(baggage === undefined ? {} : { baggage }),
  };
}

/** The error of a call that takes too long. */
export function deadlineError(): HmsError {
  return new HmsError("DEADLINE_EXCEEDED", "The call's deadline has passed.");
}
