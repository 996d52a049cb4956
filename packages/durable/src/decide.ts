import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import type { RunPrincipal } from "./claimed-task.ts";
import { toStoredJson } from "./json.ts";
import { asJsonb, type RunDatabase, rowsOf } from "./run-database.ts";

/** What somebody decides of a task that waits for it. */
export interface Decision {
  readonly environment: string;
  readonly runId: string;
  readonly node: string;
  /** The target's name, if one of a node's targets waits. */
  readonly target?: string;
  /** Do it (again), take it as done with `output`, or as failed with `message`. An approval cannot be retried. */
  readonly decision: "retry" | "succeed" | "fail";
  readonly output?: unknown;
  readonly message?: string;
  /** Who decides. */
  readonly by: RunPrincipal;
}

/** @throws HmsError NOT_FOUND, FAILED_PRECONDITION if the task does not wait for a decision (any more). */
export async function decide(database: RunDatabase, decision: Decision): Promise<void> {
  const { environment, runId, node, target = "", by, message = "Somebody decided that this has failed." } = decision;
  const output = decision.decision === "succeed" ? toStoredJson(decision.output, `The output of ${node}`) : null;
  const error = decision.decision === "fail" ? { code: "ABORTED", reason: "DECIDED", message } : null;
  const [answer] = await rowsOf(
    database,
    sql<{ is_known: boolean; was_decided: boolean | null }>`
      select true as is_known, decide(r.id, ${node}, ${target}, ${decision.decision}, ${output}::jsonb,
        ${error === null ? null : JSON.stringify(error)}::jsonb, ${asJsonb(by)}) as was_decided
      from run r where r.id = ${runId}::uuid and r.environment = ${environment}`,
  );
  if (!answer) throw new HmsError("NOT_FOUND", `There is no run ${runId} in ${environment}.`, { reason: "NO_RUN" });
  if (answer.was_decided) return;
  const what = target === "" ? node : `${node} (${target})`;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `${what} does not wait for such a decision: look at the run; somebody else may have decided, or its time is over.`,
    { reason: "NOT_WAITING" },
  );
}
