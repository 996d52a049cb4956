import type { DescMethod } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { ruleOf } from "@hms/descriptors";
import type { HmsError } from "@hms/kernel";

/**
 * How a call failed, as far as repeating it is concerned: it never reached a handler, its ticket was refused, nobody
 * knows whether it took effect, the callee said that it cannot now, it does not read protobuf, or there is nothing to repeat.
 */
export type FailureKind = "not-served" | "ticket" | "codec" | "unsure" | "unavailable" | "final";

const NOT_SERVED = new Set(["NOT_CONNECTED", "SERVER_STOPPING"]);
const UNSURE = new Set(["CONNECTION_LOST", "INTERRUPTED"]);
/** TICKET_INVALID too: another instance may have taken the place of the one that the ticket is for. */
const TICKET = new Set(["TICKET_EXPIRED", "TICKET_REVOKED", "TICKET_INVALID"]);

/** Sorts a failure by docs/wire.md, "Errors". */
export function failureKind({ code, details }: HmsError): FailureKind {
  const { reason = "" } = details;
  if (code === "UNAUTHENTICATED") return TICKET.has(reason) ? "ticket" : "final";
  if (code === "UNIMPLEMENTED" && reason === "CODEC_NOT_SUPPORTED") return "codec";
  if (code !== "UNAVAILABLE") return "final";
  if (NOT_SERVED.has(reason)) return "not-served";
  return UNSURE.has(reason) ? "unsure" : "unavailable";
}

const FAULTS = new Set(["UNAVAILABLE", "UNKNOWN", "INTERNAL", "DATA_LOSS", "DEADLINE_EXCEEDED"]);

/** True if a failure speaks against the instance and not against the call. */
export function isFault({ code }: HmsError): boolean {
  return FAULTS.has(code);
}

/** True if the method's rule says that making a call twice does no harm. */
export function isRepeatable(method: DescMethod): boolean {
  const { NO_SIDE_EFFECTS, IDEMPOTENT } = ffiOptions.Idempotency;
  const { idempotency } = ruleOf(method);
  return idempotency === NO_SIDE_EFFECTS || idempotency === IDEMPOTENT;
}
