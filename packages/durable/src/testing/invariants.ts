import { sql } from "kysely";
import { type RunDatabase, rowsOf } from "../run-database.ts";

const CHECKS = [
  [
    "a task that runs has a worker and a lease",
    sql`select run_id, node, target from task where state = 'running' and (worker is null or lease_until is null)`,
  ],
  [
    "a task that runs has a lease that holds",
    sql`select run_id, node, target from task where state = 'running' and lease_until < clock_timestamp() - interval '5 s'`,
  ],
  [
    "what has not begun has no worker",
    sql`select run_id, node from task where state in ('blocked', 'held', 'parked', 'ready') and worker is not null`,
  ],
  [
    "states are known ones",
    sql`select id::text, state from run where state not in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')
      or stop_reason not in ('cancelled', 'timed_out') union all
      select run_id || node, state from task where state not in ('blocked', 'held', 'parked', 'ready', 'running', 'waiting', 'needs_decision',
        'succeeded', 'failed', 'skipped', 'cancelled') or kind not in ('step', 'approval', 'wait', 'run')
        or effect not in ('idempotent', 'resumable', 'at_most_once') or wait_for not in ('retry', 'time', 'decision', 'run', 'targets')
      union all select run_id || node, outcome from attempt where outcome not in ('failed', 'lost', 'released')`,
  ],
  [
    "a run holds its concurrency key, and is stopping, until its end",
    sql`select id from run where held_key is distinct from case when ended_at is null then concurrency_key end
      or is_stopping <> (ended_at is null and stop_reason is not null) or (ended_at is not null and deadline_at is not null)`,
  ],
  [
    "open_nodes counts the nodes that have not ended",
    sql`select r.id, r.open_nodes, r.open_finally from run r where r.open_nodes <> (select count(*) from task t where t.run_id = r.id and t.target = ''
      and t.state not in ('succeeded', 'failed', 'skipped', 'cancelled')) or r.open_finally <> (select count(*) from task t
      where t.run_id = r.id and t.target = '' and t.is_finally and t.state not in ('succeeded', 'failed', 'skipped', 'cancelled'))`,
  ],
  [
    "a run has ended exactly if none of its nodes is open",
    sql`select id, state from run where (open_nodes = 0) <> (ended_at is not null) or (open_nodes = 0) <> (state in ('succeeded', 'failed', 'cancelled', 'timed_out'))`,
  ],
  [
    "a run that has ended has one event that says so, and it is the last",
    sql`select r.id from run r where r.ended_at is not null and (select array_agg(e.seq) from event e where e.run_id = r.id
      and e.type in ('run.succeeded', 'run.failed', 'run.cancelled', 'run.timed_out')) is distinct from array[r.last_seq]`,
  ],
  [
    "the numbers of events have no gaps",
    sql`select r.id, r.last_seq, count(e.seq), max(e.seq) from run r left join event e on e.run_id = r.id group by r.id, r.last_seq
      having count(e.seq) <> r.last_seq or max(e.seq) <> r.last_seq or min(e.seq) <> 1`,
  ],
  [
    "what a step has come to is an event",
    sql`select t.run_id, t.node, t.target, t.state from task t where t.state in ('succeeded', 'failed') and t.attempt > 0 and not exists (
      select from event e where e.run_id = t.run_id and e.node = t.node and coalesce(e.target, '') = t.target
      and e.type in ('node.' || t.state, 'target.' || t.state, 'node.decided', 'target.decided'))`,
  ],
  [
    "no more attempts fail than may",
    sql`select run_id, node, failures from task where failures > coalesce((spec->'retry'->>'max')::int, 1)`,
  ],
  [
    "every attempt but the last is kept",
    sql`select t.run_id, t.node, t.target, t.attempt from task t cross join lateral (select count(*) as kept from attempt a
      where a.run_id = t.run_id and a.node = t.node and a.target = t.target) a
    where a.kept > t.attempt or a.kept < t.attempt - 1 or (t.state = 'running' and a.kept <> t.attempt - 1)
      or (t.state in ('ready', 'parked') and a.kept <> t.attempt)`,
  ],
  [
    "what has ended, or cannot begin, waits for nothing",
    sql`select run_id, node from task where state = 'blocked' and (satisfied >= need or satisfied + pending < need)`,
  ],
] as const;

/** What must hold of all rows at any time, each that does not with the rows that break it. */
export async function brokenInvariants(database: RunDatabase): Promise<string[]> {
  const broken: string[] = [];
  for (const [promise, query] of CHECKS) {
    const rows = await rowsOf(database, query);
    if (rows.length > 0) broken.push(`${promise}: ${JSON.stringify(rows.slice(0, 3))}`);
  }
  return broken;
}
