import { sql } from "kysely";
import type { ClaimedTask } from "./claimed-task.ts";
import type { RemoteClaim } from "./remote-claims.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";

/** A task that is held by a claim. */
export interface HeldTask extends ClaimedTask {
  readonly stop_reason: "cancelled" | "timed_out" | null;
}

/** The task of a claim, if this worker still holds it. */
export async function heldTask(
  database: RunDatabase,
  worker: string,
  { runId, node, target, fence }: RemoteClaim,
): Promise<HeldTask | undefined> {
  const [task] = await rowsOf(
    database,
    sql<HeldTask>`select t.run_id as "runId", t.node, t.target, t.item, t.attempt, t.failures, t.fence, 0 as followers, t.spec, r.stop_reason
      from task t join run r on r.id = t.run_id
      where t.run_id = ${runId}::uuid and t.node = ${node} and t.target = ${target} and t.fence = ${fence}::bigint
        and t.state = 'running' and t.worker = ${worker}`,
  );
  return task;
}

/** How a claim has ended: as its attempt did, as the task that it was the last one of stands, or "running". */
export interface EndedClaim {
  readonly outcome: string;
  readonly worker: string | null;
}

/** How a claim stands; undefined if its environment has had none such. */
export async function endedClaim(
  database: RunDatabase,
  environment: string,
  { runId, node, target, fence }: RemoteClaim,
): Promise<EndedClaim | undefined> {
  const [ended] = await rowsOf(
    database,
    sql<EndedClaim>`select a.outcome, a.worker from attempt a join run r on r.id = a.run_id
      where a.run_id = ${runId}::uuid and r.environment = ${environment} and a.node = ${node} and a.target = ${target}
        and a.fence = ${fence}::bigint
      union all
      select t.state, t.worker from task t join run r on r.id = t.run_id
      where t.run_id = ${runId}::uuid and r.environment = ${environment} and t.node = ${node} and t.target = ${target}
        and t.fence = ${fence}::bigint and t.worker is not null`,
  );
  return ended;
}
