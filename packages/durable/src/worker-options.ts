import type { HmsError } from "@hms/kernel/errors";
import type { ClaimedTask } from "./claimed-task.ts";
import type { RunDatabase } from "./run-database.ts";
import type { Step, StepExecutor } from "./step.ts";
import type { StepMoment } from "./step-runner.ts";

/** How a worker works. */
export interface WorkerOptions {
  /** Whose tasks it takes; default ["default"]. */
  readonly queues?: readonly string[];
  /** Steps at once; default 10. */
  readonly concurrency?: number;
  /** What steps can use, by name; "call/*" is what begins with "call/" and has no entry of its own. */
  readonly executors: { readonly [name: string]: StepExecutor };
  /** Called before each execution; throws if the principal may not do this (any more). */
  readonly authorize?: (step: Step) => Promise<void> | void;
  /** For how long a claim holds without a sign of life; default 10 000, prolonged every 3/10 of that. */
  readonly leaseMs?: number;
  /** How long a step that was told to stop may go on before it counts as cancelled; default 5000. */
  readonly graceMs?: number;
  /** For how many days the logs of steps are kept; default 30. */
  readonly logDays?: number;
  /** For how many days runs are kept after their end; default 90. */
  readonly runDays?: number;
  /** How often it looks for tasks that nobody told it of; default 500. */
  readonly pollMs?: number;
  /** Hears what fails with no caller to tell; default: nobody. */
  readonly onFailure?: (failure: HmsError) => void;
  /** For tests that break something at a named moment. */
  readonly moment?: (
    moment: WorkerMoment,
    tasks: readonly Pick<ClaimedTask, "runId" | "node" | "target">[],
  ) => Promise<void> | void;
}

/** Named moments of a worker. */
export type WorkerMoment = StepMoment | "before-settle" | "after-settle" | "before-heartbeat" | "before-look";

/** A run that has ended. */
export interface EndedRun {
  readonly runId: string;
  readonly state: string;
}

/** What a worker hears and tells within its process. */
export interface WorkerHost {
  readonly database: RunDatabase;
  /** Runs have ended. */
  readonly ended: (rows: readonly EndedRun[]) => void;
  /** Something has become ready that this worker did not claim. */
  readonly ready: () => void;
}
