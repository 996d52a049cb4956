import type { Durable } from "@hms/durable";
import type { CallContext, HmsError, Kernel, ServiceRegistration } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import { stopping } from "./errors.ts";
import { CALL, methodCalls } from "./method-call.ts";
import { type AutomationTables, QueueWorkers } from "./queue-workers.ts";
import { ROLLOUT, ROLLOUT_QUEUE, rolloutSteps } from "./rollout-step.ts";
import { RunFollower } from "./run-follower.ts";
import { OWN_QUEUE } from "./run-graph.ts";
import type { CurrentPrincipal } from "./run-principal.ts";
import { runRegistration } from "./run-registration.ts";
import { stepRegistration } from "./step-registration.ts";
import { WaitingClaims } from "./waiting-claims.ts";

export type { AutomationTables } from "./queue-workers.ts";

/** The folder of the automation service's migrations. */
export const automationMigrations = new URL("../migrations/", import.meta.url);

/** What an automation service is made of. */
export interface AutomationServiceOptions {
  /** The service's own schema, with `automationMigrations`. */
  readonly database: Pick<ServiceDatabase<AutomationTables>, "db">;
  /** The installation's run engine. */
  readonly durable: Durable;
  /** Makes the calls of steps, authorized for whoever started their run; has the service's registrations, too. */
  readonly kernel: Kernel;
  /** Who a principal is when its steps run, later than it started them; undefined: nobody any more. Default: the same. */
  readonly current?: CurrentPrincipal;
  /** Steps done at once in this process; default 32. */
  readonly concurrency?: number;
  /** How long a step stays a process's that says nothing; default 10 s. */
  readonly leaseMs?: number;
  /** How often this process looks for steps without being told; default 1000 ms. */
  readonly pollMs?: number;
  /** Hears what fails in the background; it is tried again. Default: nobody. */
  readonly onFailure?: (failure: HmsError) => void;
}

/** Rollouts that are steps at once: each may wait for days, for a person or a gate. */
const MOST_ROLLOUTS = 500;

/** An automation service, ready to be registered; disposing it lets go of what runs. The engine stays open. */
export interface AutomationService extends AsyncDisposable {
  readonly registrations: readonly ServiceRegistration[];
}

/** Makes the automation service: runs, the platform's own worker for them, and the queues of workers elsewhere. */
export function createAutomationService(options: AutomationServiceOptions): AutomationService {
  const { database, durable, kernel, concurrency = 32, leaseMs = 10_000, pollMs = 1000, onFailure } = options;
  const { current = (principal) => principal } = options;
  const end = new AbortController();
  const untilEnd = (context: CallContext) => AbortSignal.any([context.signal, end.signal]);
  const workers = new QueueWorkers(database);
  const follower = new RunFollower(durable);
  const waiting = new WaitingClaims(durable.remote);
  const worker = durable.worker({
    queues: [OWN_QUEUE],
    concurrency,
    leaseMs,
    pollMs,
    executors: { [`${CALL}*`]: methodCalls(kernel, current) },
    ...(onFailure ? { onFailure } : {}),
  });
  const rollouts = durable.worker({
    queues: [ROLLOUT_QUEUE],
    concurrency: MOST_ROLLOUTS,
    leaseMs,
    // Those that begin here are told of.
    pollMs: 2 * pollMs,
    executors: { [`${ROLLOUT}*`]: rolloutSteps(kernel, current) },
    ...(onFailure ? { onFailure } : {}),
  });
  return {
    registrations: [
      runRegistration({ kernel, durable, workers, follower, untilEnd }),
      stepRegistration({ kernel, durable, current, workers, waiting, untilEnd }),
    ],
    async [Symbol.asyncDispose]() {
      end.abort(stopping());
      await Promise.all([
        worker[Symbol.asyncDispose](),
        rollouts[Symbol.asyncDispose](),
        follower[Symbol.asyncDispose](),
        waiting[Symbol.asyncDispose](),
      ]);
    },
  };
}
