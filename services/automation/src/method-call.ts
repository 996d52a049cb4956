import { createHash } from "node:crypto";
import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import type { Effect, Step, StepExecutor } from "@hms/durable";
import { anyTypesOf, HmsError, type Kernel, type MethodEntry } from "@hms/kernel";
import { methodAway, tellsSecret } from "./errors.ts";
import { type CurrentPrincipal, principalNow } from "./run-principal.ts";

/** What steps that call a method begin with: "call/SERVICE/METHOD". */
export const CALL = "call/";

/** Failures of calls that no handler ever saw. */
const NEVER_SERVED = new Set(["NOT_CONNECTED", "SERVER_STOPPING", "SERVICE_UNAVAILABLE", "METHOD_UNKNOWN"]);
/** Failures that do not say whether the method was served. */
const MAY_BE_DONE = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL"]);

/** The method that a step calls; undefined if its name is none. */
export function calledMethod(uses: string): { service: string; method: string } | undefined {
  const found = /^call\/([A-Za-z_][\w]*(?:\.[A-Za-z_][\w]*)+)\/([A-Za-z_]\w*)$/.exec(uses);
  return found ? { service: found[1] as string, method: found[2] as string } : undefined;
}

/** What a crash may repeat of a method, as its contract says. */
export const effectOf = ({ rule }: MethodEntry): Effect =>
  rule.idempotency === ffiOptions.Idempotency.NONE ? "at_most_once" : "idempotent";

/** Why a step may not call a method with this effect; undefined: it may. */
export function effectProblem(entry: MethodEntry, effect: Effect): string | undefined {
  if (effectOf(entry) === "idempotent" || effect === "at_most_once") return undefined;
  return `is "${effect}", and the contract of ${entry.name} says that a second call is a second effect: write at_most_once, or leave it out`;
}

/** Whether a method's request or answer has a field that its contract calls secret. */
export const tellsSecrets = ({ desc: { input, output } }: MethodEntry): boolean =>
  [...input.fields, ...output.fields].some(({ proto }) => proto.options?.debugRedact === true);

/**
 * Does steps that call a method of any contract: through the kernel, as the run's principal is now, decided by the policies
 * that hold now. The callee sees the same `x-hms-idempotency-key` at each attempt of a step.
 */
export function methodCalls(kernel: Kernel, current: CurrentPrincipal): StepExecutor {
  return async (step) => {
    const { environment } = step.run;
    const entry = await findMethod(kernel, step);
    const problem = effectProblem(entry, step.effect);
    if (problem) throw new HmsError("INVALID_ARGUMENT", `effect ${problem}.`, { reason: "EFFECT_TOO_LOOSE" });
    // Graphs of runs within runs may be known only by now.
    if (tellsSecrets(entry)) throw tellsSecret(entry.name);
    const input = readInput(entry, step.input);
    const principal = await principalNow(current, step.principal);
    const metadata = {
      "x-hms-idempotency-key": keyOf(step),
      "x-request-id": step.run.id,
      "x-hms-environment": environment,
    };
    // What must not be done twice is not begun by a process that stood still meanwhile.
    if (!step.holds()) throw unknown(step);
    try {
      const answer = await kernel.unary(entry, input, { caller: { principal }, signal: step.signal, metadata });
      return toJson(entry.desc.output, answer, { registry: anyTypesOf(entry.desc.parent.file) });
    } catch (error) {
      throw judged(entry, step, HmsError.from(error));
    }
  };
}

/** The same at each attempt of a step; names of targets can be longer than a key, and of any letters. */
function keyOf({ run, node, target }: Step): string {
  const key = [run.id, node, ...(target ? [target.name] : [])].join("/");
  if (/^[\x21-\x7e]{1,128}$/.test(key)) return key;
  const digest = createHash("sha256").update(`${node}\0${target?.name}`).digest("hex");
  return `${run.id}/${digest}`;
}

async function findMethod(kernel: Kernel, { uses, run }: Step): Promise<MethodEntry> {
  const name = calledMethod(uses);
  if (!name) throw new HmsError("INVALID_ARGUMENT", `"${uses}" must be call/SERVICE/METHOD.`, { reason: "BAD_CALL" });
  const entry = await kernel.resolve({ ...name, environment: run.environment });
  if (entry === undefined) throw methodAway(name.service, name.method, run.environment);
  if (entry.desc.methodKind === "unary") return entry;
  throw new HmsError("INVALID_ARGUMENT", `${entry.name} is a stream; a step calls a method with one answer.`, {
    reason: "NOT_UNARY",
  });
}

function readInput(entry: MethodEntry, input: Step["input"]) {
  const { input: desc } = entry.desc;
  try {
    return fromJson(desc, (input ?? {}) as JsonValue, { registry: anyTypesOf(desc.file) });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HmsError("INVALID_ARGUMENT", `"with" is no ${desc.typeName}: ${why}.`, { reason: "BAD_INPUT", cause });
  }
}

function judged(entry: MethodEntry, step: Step, error: HmsError): HmsError {
  const isUnknown =
    effectOf(entry) === "at_most_once" &&
    MAY_BE_DONE.has(error.code) &&
    !NEVER_SERVED.has(error.details.reason ?? "") &&
    !step.signal.aborted;
  if (isUnknown) return unknown(step, error);
  // A callee's word must not be taken for the engine's own.
  return ENGINE_REASONS.has(error.details.reason ?? "") ? new HmsError(error.code, error.message) : error;
}

/** What the engine leaves to whoever finds the lease run out, who asks for a decision. */
const UNKNOWN = "STEP_UNKNOWN";
const ENGINE_REASONS = new Set([UNKNOWN, "TASK_LEFT"]);

const unknown = ({ node, log }: Step, cause?: HmsError) => {
  if (cause) log(`Whether this was done is not known (${cause.code}: ${cause.message}). Somebody has to decide.`);
  return new HmsError("ABORTED", `Whether ${node} was done is not known.`, { reason: UNKNOWN, cause });
};
