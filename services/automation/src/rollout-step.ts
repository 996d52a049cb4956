import { create, type DescMessage, fromJson, type JsonObject, type Message } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { Step, StepExecutor } from "@hms/durable";
import { HmsError, type Kernel } from "@hms/kernel";
import { rolloutIdOf } from "./rollout-id.ts";
import { RolloutSite } from "./rollout-site.ts";
import { type CurrentPrincipal, principalNow } from "./run-principal.ts";

/** What steps that are rollouts begin with: "rollout/Deploy". */
export const ROLLOUT = "rollout/";
/** The queue of steps that are rollouts: they wait much, and do nothing themselves. */
export const ROLLOUT_QUEUE = "hms.rollouts";
/** Takes a rollout of the run back: to the revision that served before, or, if nothing did, to nothing. */
const UNDO = "undo";
/** Ends rollouts of steps that were cancelled, and waits for their ends. */
const SETTLE = "settle";

const { DeploymentService, RolloutState } = deployment;

/** Methods whose answer is what happens in a rollout that they begin. */
const METHODS = DeploymentService.methods
  .filter(({ name, output }) => output === deployment.RolloutEventSchema && name !== "WatchRollout")
  .map(({ name }) => name);

/** What may stand after "rollout/". */
export const ROLLOUT_VERBS: readonly string[] = [...METHODS, UNDO, SETTLE];

/** The rollout that a step is; empty if it is none. */
export function rolloutOfStep(uses: string, runId: string, { node, target }: { node: string; target: string }): string {
  return uses.startsWith(ROLLOUT) && uses !== `${ROLLOUT}${SETTLE}` ? rolloutIdOf(runId, node, target) : "";
}

/**
 * Does steps that are rollouts, as the run's principal is now: begins the rollout, or finds the one that an earlier attempt has
 * begun, and follows it to its end. A run that is told to stop aborts it; a worker that ends leaves it alone.
 */
export function rolloutSteps(kernel: Kernel, current: CurrentPrincipal): StepExecutor {
  return async (step) => {
    const principal = await principalNow(current, step.principal);
    const site = new RolloutSite(kernel, step, principal);
    const verb = step.uses.slice(ROLLOUT.length);
    if (verb === SETTLE) return await settle(site, step);
    const { method, input } = verb === UNDO ? await undoing(site, step) : { method: verb, input: asObject(step.input) };
    if (!METHODS.includes(method)) throw badStep(`"${step.uses}" is none: there are ${ROLLOUT_VERBS.join(", ")}.`);
    const rolloutId = rolloutIdOf(step.run.id, step.node, step.target?.name);
    const entry = await site.method(method);
    const request = readRequest(entry.desc.input, { environment: step.run.environment, ...input });
    try {
      return outcome(rolloutId, await site.follow(entry, request, { rolloutId, signal: step.signal }));
    } catch (error) {
      if (wasStopped(step.signal)) await site.abort(request, rolloutId);
      throw error;
    }
  };
}

/** The run was told to stop, or the step's time is over; not: its worker ends, or has lost it. */
const wasStopped = ({ aborted, reason }: AbortSignal) => aborted && reason !== "closing" && reason !== "lost";

/** What a rollout came to, as its step's output. @throws HmsError FAILED_PRECONDITION: another attempt finds the same end */
function outcome(rolloutId: string, ended: deployment.RolloutEnded) {
  const { state, revision, previousRevision, serviceUrls, failure } = ended;
  if (state !== RolloutState.SUCCEEDED) {
    const restored = state === RolloutState.ROLLED_BACK;
    const after = restored ? "What served before serves." : "It could not be undone: see hms-sys status.";
    const message = `The rollout ${rolloutId} failed: ${failure?.reason ?? "no reason is known"} ${after}`;
    throw new HmsError("FAILED_PRECONDITION", message, { reason: restored ? "ROLLED_BACK" : "NOT_RESTORED" });
  }
  return {
    rollout_id: rolloutId,
    revision: Number(revision),
    previous_revision: Number(previousRevision),
    service_urls: serviceUrls,
  };
}

/** What takes a service back. @throws HmsError FAILED_PRECONDITION if it is another revision by now than the run's own */
async function undoing(site: RolloutSite, { input }: Step): Promise<{ method: string; input: JsonObject }> {
  const { revision, from, ...rest } = asObject(input);
  if (typeof revision !== "number") throw badStep(`"with" of rollout/${UNDO} names no revision; 0 is nothing.`);
  const own = typeof from === "number" ? await site.servingOf(String(rest.service ?? ""), [from, revision]) : undefined;
  // Somebody's deploy may be under way, behind which it waits: it must not undo that one.
  const request = own === undefined ? rest : { ...rest, expectedRevision: String(own) };
  if (revision === 0) return { method: "Stop", input: request };
  return { method: "Rollback", input: { ...request, revision: String(revision) } };
}

/** Steps whose node was cancelled have told their rollouts to undo themselves, unless their worker was killed first. */
async function settle(site: RolloutSite, step: Step): Promise<{ aborted: string[] }> {
  const { rollouts } = asObject(step.input);
  if (!Array.isArray(rollouts)) throw badStep(`"with" of rollout/${SETTLE} is {rollouts: [{node, state}, …]}.`);
  const ids = rollouts.flatMap((each) => {
    const { node, state } = asObject(each as Step["input"]);
    return state === "cancelled" ? [rolloutIdOf(step.run.id, String(node))] : [];
  });
  const watch = await site.method("WatchRollout");
  await Promise.all(
    ids.map(async (rolloutId) => {
      const request = create(deployment.WatchRolloutRequestSchema, { rolloutId });
      await site.abort(request, rolloutId);
      try {
        await site.follow(watch, request, { rolloutId, signal: step.signal });
      } catch (error) {
        // The step had not begun it.
        if (HmsError.from(error).code !== "NOT_FOUND") throw error;
      }
    }),
  );
  return { aborted: ids };
}

const asObject = (input: Step["input"]): JsonObject =>
  typeof input === "object" && input !== null && !Array.isArray(input) ? (input as JsonObject) : {};

function readRequest(desc: DescMessage, input: JsonObject): Message {
  try {
    return fromJson(desc, input);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw badStep(`"with" is no ${desc.typeName}: ${why}.`, cause);
  }
}

const badStep = (message: string, cause?: unknown) =>
  new HmsError("INVALID_ARGUMENT", message, { reason: "BAD_INPUT", cause });
