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
  readonly onMetadata: CallOptions["onMetadata"];
  readonly readAnswer: CallOptions["readAnswer"];
}

const NO_TERMS: CallTerms = {
  deadlineAt: undefined,
  signal: undefined,
  metadata: undefined,
  authorized: false,
  onMetadata: undefined,
  readAnswer: undefined,
};

/** Until when and how a call is made, before it is encoded. */
export interface OutgoingTerms {
  /** Absolute, in `performance.now()` milliseconds. */
  readonly deadlineAt: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly metadata: Metadata | undefined;
}

/**
 * Works out a call's terms, whatever carries it: the nearer of its own deadline and the one it inherits, its caller's
 * cancellation, and the metadata it passes on.
 */
export function outgoingTerms(options: CallOptions): OutgoingTerms {
  const { context, timeoutMs, signal } = options;
  const own = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  const inherited = context?.deadlineAt;
  return {
    deadlineAt: own === undefined ? inherited : Math.min(own, inherited ?? own),
    signal: signal ?? (context?.cancellable ? context.signal : undefined),
    metadata: passedOn(options),
  };
}

/** Works out the terms of a call in frames. @throws HmsError INVALID_ARGUMENT if the metadata is too large */
export function callTerms(options: CallOptions | undefined): CallTerms {
  if (options === undefined) return NO_TERMS;
  const { deadlineAt, signal, metadata } = outgoingTerms(options);
  return {
    deadlineAt,
    signal,
    metadata: metadata && metadataFields(metadata),
    authorized: metadata?.authorization !== undefined,
    onMetadata: options.onMetadata,
    readAnswer: options.readAnswer,
  };
}

function passedOn({ context, metadata }: CallOptions): Metadata | undefined {
  return context === undefined ? metadata : context.passedOn(metadata);
}

/** The error of a call that takes too long. */
export function deadlineError(): HmsError {
  return new HmsError("DEADLINE_EXCEEDED", "The call's deadline has passed.");
}
