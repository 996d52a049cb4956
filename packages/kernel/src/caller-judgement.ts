import { CallContext } from "./call-context.ts";
import { type CallEnd, recordRefusedInput, refuse, refuseUnknown, rejectWhenKept } from "./call-outcome.ts";
import { HmsError } from "./hms-error.ts";
import type { IncomingCall, KernelOptions } from "./kernel-options.ts";
import { environmentOf, type MethodEntry, resourceOf } from "./method-entry.ts";
import type { CallSource, PolicyDecision } from "./ports.ts";
import { anonymous, type Principal } from "./principal.ts";

/** A call that has arrived at a kernel. */
export interface Arrival {
  readonly options: KernelOptions;
  readonly entry: MethodEntry;
  readonly call: IncomingCall;
  /** `performance.now()` then. */
  readonly started: number;
}

/** Who makes a call, at once where that needs no asking. Rejects with UNAUTHENTICATED, recorded as a denial. */
export function principalOf(arrival: Arrival): Principal | Promise<Principal> {
  const { caller } = arrival.call;
  if ("principal" in caller) return caller.principal;
  try {
    const principal = arrival.options.identity.authenticate(caller.credentials);
    return principal instanceof Promise ? principal.catch((error) => unknown(arrival, error)) : principal;
  } catch (error) {
    return unknown(arrival, error);
  }
}

function unknown(arrival: Arrival, error: unknown): Promise<never> {
  const end = callOf(arrival, anonymous, undefined);
  return rejectWhenKept(end, refuseUnknown(end, HmsError.from(error)));
}

/**
 * A call whose caller is known, with what is known of it before anybody has decided. `input` is undefined for streams of
 * requests.
 */
export function callOf({ options, entry, call, started }: Arrival, principal: Principal, input: unknown): CallEnd {
  const context = new CallContext({
    method: entry,
    principal,
    deadlineAt: call.deadlineAt,
    signal: call.signal,
    metadata: call.metadata,
    attached: call.attach !== undefined,
    ...(options.originOf?.(call.metadata) ?? { way: call.way, source: sourceOf(call) }),
    answerMetadata: call,
    takesEncoded: call.takesEncoded,
    policy: options.policy,
    transport: transportOf(call.caller),
  });
  const resource = input === undefined ? "" : resourceOf(entry.rule, input);
  return { options, context, input, resource, started, auditLevel: entry.rule.auditLevel, decision: undefined };
}

/** What a transport says of where a call came from, and the certificate that was shown. */
function sourceOf({ caller, source }: IncomingCall): CallSource | undefined {
  const peer = "credentials" in caller ? caller.credentials.peer : undefined;
  return peer === undefined ? source : { ...source, peer };
}

/** Records a request that its transport could not read, if somebody known has sent it; of one caller not too often. */
export async function noteUnreadable(arrival: Arrival, error: HmsError): Promise<void> {
  const principal = await principalOf(arrival);
  recordRefusedInput(callOf(arrival, principal, undefined), error.message);
}

/** Asks the policy; `caller` says how the call came in. */
export function decide(
  { options, context, input, resource }: CallEnd,
  caller: IncomingCall["caller"],
): PolicyDecision | Promise<PolicyDecision> {
  const { method, principal } = context;
  return options.policy.decide({
    principal,
    permission: method.rule.permission,
    resource,
    method,
    environment: input === undefined ? undefined : environmentOf(method, input),
    transport: transportOf(caller),
  });
}

const transportOf = (caller: IncomingCall["caller"]) =>
  "credentials" in caller ? caller.credentials.transport : undefined;

/** Notes what was decided of a call; if it is refused, the error for its caller, which has been recorded. */
export function judge(end: CallEnd, decision: PolicyDecision): HmsError | undefined {
  end.decision = decision;
  if (!decision.allowed) return refuse(end, decision);
  end.auditLevel = decision.auditLevel ?? end.auditLevel;
  return undefined;
}

/**
 * Refuses a caller from the network whom nobody knows before its request is read.
 * @throws HmsError UNAUTHENTICATED, recorded like any other denial
 */
export async function refuseStrangers(arrival: Arrival): Promise<void> {
  const { caller } = arrival.call;
  if ("principal" in caller) return;
  const { transport, peer } = caller.credentials;
  if (transport !== "network" || peer !== undefined) return;
  const principal = await principalOf(arrival);
  if (principal.kind !== "anonymous") return;
  const end = callOf(arrival, principal, undefined);
  const decision = await decide(end, caller);
  if (!decision.allowed) throw refuse(end, decision);
}
