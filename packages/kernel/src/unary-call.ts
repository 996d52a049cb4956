import { admit, beginTrace, type Handler, rejectEnded } from "./admission.ts";
import { type CallEnd, finishCall, rejectWhenKept, whenKept } from "./call-outcome.ts";
import { type Arrival, callOf, decide, judge, principalOf } from "./caller-judgement.ts";
import { guardDeadline } from "./deadline.ts";
import { HmsError } from "./hms-error.ts";
import type { PolicyDecision } from "./ports.ts";
import type { Principal } from "./principal.ts";
import { wholeMessage } from "./whole-message.ts";

/** Answers a unary call; the promise rejects with HmsError only. Nothing is waited for that is known at once. */
export function answerUnary(arrival: Arrival, input: unknown): Promise<unknown> {
  const principal = principalOf(arrival);
  if (principal instanceof Promise) return principal.then((known) => judged(arrival, known, input));
  return judged(arrival, principal, input);
}

function judged(arrival: Arrival, principal: Principal, input: unknown): Promise<unknown> {
  const { call } = arrival;
  const end = callOf(arrival, principal, input);
  call.attach?.(end.context);
  let decision: PolicyDecision | Promise<PolicyDecision>;
  try {
    decision = decide(end, call.caller);
  } catch (error) {
    return Promise.reject(HmsError.from(error));
  }
  if (!(decision instanceof Promise)) return invoke(end, decision);
  return decision.then(
    (settled) => invoke(end, settled),
    (error) => Promise.reject(HmsError.from(error)),
  );
}

function invoke(end: CallEnd, decision: PolicyDecision): Promise<unknown> {
  const refusal = judge(end, decision);
  if (refusal !== undefined) return rejectWhenKept(end, refusal);
  const { context, input } = end;
  try {
    admit(end);
    const trace = beginTrace(end);
    const handler = context.method.handler as Handler;
    const answer = trace === undefined ? handler(input, context) : trace.run(() => handler(input, context));
    const settled = answer instanceof Promise ? answer : Promise.resolve(answer);
    return guardDeadline(context, settled).then(
      (output) => answered(end, output),
      (error) => rejectEnded(end, error),
    );
  } catch (error) {
    return rejectEnded(end, error);
  }
}

function answered(end: CallEnd, output: unknown): unknown {
  finishCall(end, undefined);
  const kept = whenKept(end);
  const answer = wholeMessage(end.context.method.desc.output, output);
  return kept === undefined ? answer : kept.then(() => answer);
}
