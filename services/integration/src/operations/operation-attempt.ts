import { toBinary } from "@bufbuild/protobuf";
import { ffiOptions, status } from "@hms/contracts";
import { errorToStatus, HmsError, type Kernel, type MethodEntry, type Principal } from "@hms/kernel";
import { cancelledOnRequest, interrupted, methodUnknown, outOfTime, principalGone } from "../errors.ts";
import type { ClaimedOperation, OperationEnd } from "./operation-store.ts";
import { decodePayload, encodePayload } from "./payload.ts";

/** How an attempt came out: the operation has ended, or is to be tried again. */
export type AttemptOutcome = OperationEnd | { retryAfterMs: number };

/** Failures of calls that no handler ever saw, so that any method may be called again. */
const NEVER_SERVED = new Set(["NOT_CONNECTED", "SERVER_STOPPING", "SERVICE_UNAVAILABLE"]);

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** An error as it is kept. */
export function errorBytes(error: HmsError): Uint8Array {
  return toBinary(status.StatusSchema, errorToStatus(error));
}

function pauseMs({ attempts }: ClaimedOperation, error: HmsError): number {
  const asked = error.details.retryAfterMs ?? 0;
  const grown = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(attempts - 1, 10), LONGEST_PAUSE_MS);
  return Math.max(asked, grown * (0.5 + Math.random() / 2));
}

function mayRepeat({ rule }: MethodEntry): boolean {
  return rule.idempotency !== ffiOptions.Idempotency.NONE;
}

function isPassing(error: HmsError, entry: MethodEntry | undefined): boolean {
  // The method was there when the operation was started: its service may come back.
  if (entry === undefined) return error.code === "UNAVAILABLE" || error.code === "NOT_FOUND";
  return error.code === "UNAVAILABLE" && (NEVER_SERVED.has(error.details.reason ?? "") || mayRepeat(entry));
}

/**
 * Makes one attempt at an operation on behalf of its principal, who is authorized anew. Never rejects.
 * The callee sees the operation's id as `x-hms-idempotency-key`, the same at each attempt.
 */
export async function attemptOperation(
  { kernel, current }: { kernel: Kernel; current: CurrentPrincipal },
  operation: ClaimedOperation,
  signal: AbortSignal,
): Promise<AttemptOutcome> {
  let entry: MethodEntry | undefined;
  try {
    entry = await findMethod(kernel, operation);
    const principal = await knownStill(current, operation.principal_facts);
    return { state: "succeeded", response: await call(kernel, entry, { operation, signal, principal }) };
  } catch (error) {
    return judge({ operation, signal, entry }, HmsError.from(error));
  }
}

async function findMethod(kernel: Kernel, operation: ClaimedOperation): Promise<MethodEntry> {
  if (operation.cancel_requested) throw cancelledOnRequest();
  if (operation.deadline.getTime() <= Date.now()) throw outOfTime();
  const { service, method, environment } = operation;
  const entry = await kernel.resolve({ service, method, environment });
  if (entry === undefined) throw methodUnknown(service, method, environment);
  return entry;
}

interface Attempting {
  operation: ClaimedOperation;
  signal: AbortSignal;
}

/** A principal of an earlier call as it is now; undefined if nobody knows it any more. */
export type CurrentPrincipal = (principal: Principal) => Principal | undefined | Promise<Principal | undefined>;

/** @throws HmsError PERMISSION_DENIED if nobody knows the principal any more */
export async function knownStill(current: CurrentPrincipal, before: Principal): Promise<Principal> {
  const principal = await current(before);
  if (principal === undefined) throw principalGone(before);
  return principal;
}

async function call(
  kernel: Kernel,
  entry: MethodEntry,
  { operation, signal, principal }: Attempting & { principal: Principal },
): Promise<Uint8Array> {
  // Whoever ran it before has gone without a word: nobody knows whether the call was served.
  if (operation.orphaned && !mayRepeat(entry)) throw interrupted();
  const { input, output } = entry.desc;
  const { codec } = operation;
  const answer = await kernel.unary(entry, decodePayload(input, operation.request, codec), {
    caller: { principal },
    deadlineAt: performance.now() + operation.deadline.getTime() - Date.now(),
    signal,
    metadata: metadataOf(operation),
  });
  return encodePayload(output, answer, codec);
}

/** What a failure means for the operation. */
function judge({ operation, signal, entry }: Attempting & { entry: MethodEntry | undefined }, error: HmsError) {
  if (signal.aborted && HmsError.from(signal.reason).details.reason === "SERVER_STOPPING") {
    return entry === undefined || mayRepeat(entry) ? { retryAfterMs: 0 } : ended("failed", interrupted());
  }
  if (signal.aborted || operation.cancel_requested) return ended("cancelled", cancelledOnRequest());
  if (isOutOfTime(operation, error)) return ended("timed_out", outOfTime());
  if (isPassing(error, entry)) return { retryAfterMs: pauseMs(operation, error) };
  return ended("failed", error);
}

/** The call's own clock may be a little ahead of the wall's. */
function isOutOfTime({ deadline }: ClaimedOperation, { code }: HmsError): boolean {
  const toleranceMs = code === "DEADLINE_EXCEEDED" ? 50 : 0;
  return deadline.getTime() <= Date.now() + toleranceMs;
}

function ended(state: OperationEnd["state"], error: HmsError): OperationEnd {
  return { state, error: errorBytes(error) };
}

function metadataOf({ operation_id, request_id, traceparent, environment }: ClaimedOperation): Record<string, string> {
  return {
    "x-hms-idempotency-key": operation_id,
    "x-request-id": request_id,
    "x-hms-environment": environment,
    ...(traceparent === null ? {} : { traceparent }),
  };
}
