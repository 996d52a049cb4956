import { create } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { automationRuns, automationSteps } from "@hms/contracts";
import type { Durable, RemoteStep, RemoteWorker, Step } from "@hms/durable";
import {
  type CallContext,
  errorFromStatus,
  implement,
  type Kernel,
  principalName,
  type ServiceRegistration,
} from "@hms/kernel";
import { invalidField, mayNotRun } from "./errors.ts";
import type { QueueWorkers } from "./queue-workers.ts";
import { OWN_QUEUES } from "./run-graph.ts";
import { type CurrentPrincipal, principalNow } from "./run-principal.ts";
import { fromWkt, toWkt } from "./value.ts";
import type { WaitingClaims } from "./waiting-claims.ts";

const { ClaimStop, StepService } = automationSteps;

const DEFAULT_LEASE_MS = 30_000;

/** What the handlers stand on. */
export interface StepParts {
  readonly kernel: Kernel;
  readonly durable: Pick<Durable, "remote">;
  readonly current: CurrentPrincipal;
  readonly workers: QueueWorkers;
  readonly waiting: WaitingClaims;
  /** The signal of a call that also ends when the service stops. */
  readonly untilEnd: (context: CallContext) => AbortSignal;
}

interface Working {
  readonly environment: string;
  readonly queue: string;
  readonly worker: string;
}

function workerOf({ environment, queue, worker }: Working, { principal }: CallContext): RemoteWorker {
  if (OWN_QUEUES.includes(queue)) {
    throw invalidField("queue", `"${queue}" is the platform's own queue: name one of yours, as the graph's nodes do.`);
  }
  return { environment: environment || "default", queue, principal: principalName(principal), name: worker };
}

const leaseMsOf = (lease: Duration | undefined) => (lease === undefined ? DEFAULT_LEASE_MS : durationMs(lease));

/** The methods of hms.automation.v1's steps over the engine. */
export function stepRegistration(parts: StepParts): ServiceRegistration {
  const { remote } = parts.durable;

  return implement(StepService, {
    async claimSteps(request, context) {
      const worker = workerOf(request, context);
      const leaseMs = leaseMsOf(request.lease);
      const asked = { worker, leaseMs, slots: request.maxSteps || 1, authorize: mayRun(parts, worker) };
      const steps = await claimWaiting(parts, asked, {
        context,
        waitMs: request.wait ? durationMs(request.wait) : 0,
      });
      if (steps.length === 0) context.changedNothing();
      return { steps: steps.map(stepMessage), lease: durationFromMs(leaseMs) };
    },

    async renewSteps(request, context) {
      const worker = workerOf(request, context);
      const renewed = await remote.renew(worker, request.claims, leaseMsOf(request.lease));
      return {
        claims: renewed.map(({ holds, stop }, index) => ({
          claim: request.claims[index] as automationSteps.StepClaim,
          holds,
          stop: stop === undefined ? ClaimStop.UNSPECIFIED : STOPS[stop],
        })),
      };
    },

    async completeStep(request, context) {
      const { claim, output } = request;
      if (!claim) throw invalidField("claim", "is missing.");
      await remote.end(workerOf(request, context), claim, { output: fromWkt(output) });
      return {};
    },

    async failStep(request, context) {
      const { claim, error } = request;
      if (!claim || !error) throw invalidField(claim ? "error" : "claim", "is missing.");
      if (error.code === 0) throw invalidField("error.code", "is 0, which is no failure: call CompleteStep.");
      await remote.end(workerOf(request, context), claim, { error: errorFromStatus(error) });
      return {};
    },

    async appendStepLog(request, context) {
      const { claim, seq, text } = request;
      if (!claim) throw invalidField("claim", "is missing.");
      if (text.includes("\0")) throw invalidField("text", "has a NUL character: leave it out.");
      await remote.log(workerOf(request, context), claim, { seq, text: text.endsWith("\n") ? text : `${text}\n` });
      return {};
    },
  });
}

/** Claims steps, and waits for the first one if there is none; what the caller does not get goes back. */
async function claimWaiting(
  { durable: { remote }, workers, waiting, untilEnd }: StepParts,
  asked: Parameters<Durable["remote"]["claim"]>[0],
  { context, waitMs }: { context: CallContext; waitMs: number },
): Promise<RemoteStep[]> {
  const { worker } = asked;
  const signal = untilEnd(context);
  const until = performance.now() + waitMs;
  for (;;) {
    await workers.note(worker);
    const steps = await remote.claim(asked);
    if (signal.aborted) await remote.release(worker, steps);
    signal.throwIfAborted();
    const leftMs = until - performance.now();
    if (steps.length > 0 || leftMs <= 0) return steps;
    await waiting.wait(worker, signal, leftMs);
  }
}

const STOPS = { cancelled: ClaimStop.CANCELLED, timed_out: ClaimStop.TIMED_OUT, lost: ClaimStop.LOST } as const;

/**
 * Lets a step go to a program elsewhere only if whoever started its run may come in still, and may run something in its
 * environment still; what is asked for is the queue.
 */
function mayRun({ kernel, current }: StepParts, { environment, queue }: RemoteWorker): (step: Step) => Promise<void> {
  const { typeName } = automationRuns.RunService;
  return async (step) => {
    const principal = await principalNow(current, step.principal);
    const method = kernel.find(typeName, "StartRun");
    if (method === undefined) return;
    const { permission } = method.rule;
    const decision = await kernel.options.policy.decide({
      principal,
      permission,
      resource: queue,
      environment,
      method,
    });
    if (!decision.allowed) throw mayNotRun(principal, decision.reason);
  };
}

function stepMessage(step: RemoteStep): automationSteps.ClaimedStep {
  const { runId, node, target, fence, uses, input, item, attempt, failures, effect, principal, timeoutMs } = step;
  return create(automationSteps.ClaimedStepSchema, {
    claim: { runId, node, target, fence },
    uses,
    input: toWkt(input),
    attempt,
    failures,
    effect,
    principal: `${principal.kind}:${principal.id}`,
    ...(target === "" ? {} : { item: toWkt(item) }),
    ...(timeoutMs === undefined ? {} : { timeout: durationFromMs(timeoutMs) }),
  });
}
