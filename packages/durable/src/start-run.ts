import { createHash } from "node:crypto";
import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { retryWhileUnavailable } from "@hms/postgres";
import { sql } from "kysely";
import type { RunGraph } from "./graph.ts";
import { checkGraph } from "./graph-check.ts";
import { type Json, toStoredJson } from "./json.ts";
import { asJsonb, type RunDatabase, rowsOf } from "./run-database.ts";
import type { RunState } from "./run-view.ts";
import { type PlannedTask, planTasks } from "./task-plan.ts";
import { v7 } from "./uuid.ts";

/** A run to start. */
export interface StartRequest {
  readonly environment: string;
  readonly graph: RunGraph;
  /** What expressions see as `inputs`; default {}. At most 64 KiB as JSON. */
  readonly inputs?: { readonly [name: string]: Json };
  /** On whose behalf, as plain JSON; every step is given it and may be authorized by it. */
  readonly principal: { readonly kind: string; readonly id: string; readonly [fact: string]: unknown };
  /** By which it is found again; default none. */
  readonly labels?: { readonly [name: string]: string };
  /** The same key in the same environment gives the run that has it, if it asks for the same. */
  readonly idempotencyKey?: string;
  /** The run is stopped after this long, ending as timed_out. Default: never. */
  readonly timeoutMs?: number;
  /** -100 to 100, higher goes first; default 0. */
  readonly priority?: number;
  /** At most `limit` runs with this key in this environment run at once. */
  readonly concurrency?: {
    readonly key: string;
    readonly limit: number;
    /** What happens to one more: it waits (default), the running ones are cancelled first, or it is refused. */
    readonly onLimit?: "queue" | "cancel_running" | "reject";
  };
}

/** What only the engine itself says of a run. */
export interface StartExtras {
  readonly parent?: { readonly run: string; readonly node: string };
  readonly retryOf?: string;
  readonly onlyFailedTargets?: boolean;
  /** The rows of its nodes, if some are done already. */
  readonly tasks?: readonly PlannedTask[];
}

/** What a start gave. */
export interface StartedRun {
  readonly id: string;
  /** False if the idempotency key was known. */
  readonly isNew: boolean;
  /** "queued" if it waits for others with its concurrency key. */
  readonly state: RunState;
}

interface StartRow {
  id: string | null;
  is_new: boolean;
  same_request: boolean;
  state: RunState;
}

/** A run that has been checked, and has its id: storing it again stores nothing more. */
export interface PreparedStart {
  readonly row: object;
  readonly idempotencyKey: string | undefined;
}

/** @throws HmsError INVALID_ARGUMENT with every problem. */
export function prepareStart(request: StartRequest, extras: StartExtras = {}): PreparedStart {
  return { row: toRow(request, extras), idempotencyKey: request.idempotencyKey };
}

/** How long it is tried while the database is away. */
const PATIENCE_MS = 10_000;

/**
 * Stores runs, all in one commit; once it resolves they will run. Gives what each came to: a run, or ALREADY_EXISTS if its key
 * was used for another request.
 * @throws HmsError RESOURCE_EXHAUSTED if one's concurrency key has reached its limit and it says "reject": none is stored;
 * UNAVAILABLE if they may or may not be.
 */
export async function storeStarts(
  database: RunDatabase,
  asked: readonly PreparedStart[],
): Promise<(StartedRun | HmsError)[]> {
  const rows = asked.map(({ row }) => row);
  const ask = () => retryWhileUnavailable(() => rowsOf(database, startQuery(rows)), { deadlineMs: PATIENCE_MS });
  const first = await ask().catch((error: unknown) => {
    throw isLimit(error) ? limitReached(error) : error;
  });
  // Somebody committed the same key while we did: now it can be seen.
  const stored = first.some(({ id }) => id === null) ? await ask() : first;
  return stored.map((row, index) => {
    if (row.id !== null && row.same_request) return { id: row.id, isNew: row.is_new, state: row.state };
    return keyReused(asked[index]?.idempotencyKey, row.id);
  });
}

/** The same commit gives the new ones their labels. */
function startQuery(rows: readonly object[]) {
  if (!rows.some((row) => "labels" in row && row.labels)) {
    return sql<StartRow>`select * from start_runs(${asJsonb(rows)})`;
  }
  return sql<StartRow>`
    with asked as materialized (select ${asJsonb(rows)} as rows)
    select s.id, s.is_new, s.same_request, s.state,
      case when s.is_new then label_run(s.id, asked.rows -> (s.place - 1)::int -> 'labels') end
    from asked cross join lateral start_runs(asked.rows) with ordinality s (id, is_new, same_request, state, place)
    order by s.place`;
}

const keyReused = (key: string | undefined, run: string | null) =>
  new HmsError(
    "ALREADY_EXISTS",
    `The idempotency key "${key}" was used to start another run (${run}) with a different graph, inputs or principal. Use a new key for a new request.`,
    { reason: "IDEMPOTENCY_KEY_REUSED" },
  );

/**
 * Stores runs, all in one commit.
 * @throws HmsError INVALID_ARGUMENT with every problem of the first that has one; ALREADY_EXISTS; as storeStarts().
 */
export async function startRuns(
  database: RunDatabase,
  requests: readonly StartRequest[],
  extras: StartExtras = {},
): Promise<StartedRun[]> {
  if (requests.length === 0) return [];
  const results = await storeStarts(
    database,
    requests.map((request) => prepareStart(request, extras)),
  );
  return results.map((result) => {
    if (result instanceof HmsError) throw result;
    return result;
  });
}

const isLimit = (error: unknown) => error instanceof HmsError && error.details.metadata?.sqlstate === "HMS02";
const limitReached = (cause: unknown) =>
  new HmsError(
    "RESOURCE_EXHAUSTED",
    "As many runs with this concurrency key run as may. Wait for one to end, or start it with onLimit: queue.",
    {
      reason: "CONCURRENCY_LIMIT",
      cause,
    },
  );

interface CheckedGraph {
  graph: RunGraph;
  text: string;
  tasks: PlannedTask[];
}

const known = new Map<string, CheckedGraph>();
const MOST_KNOWN = 200;
const MOST_KNOWN_CHARACTERS = 16_384;

/** Small graphs are usually started more than once: the same text is checked once. */
function checkOnce(asked: RunGraph): CheckedGraph {
  const text = JSON.stringify(asked) ?? "null";
  const found = known.get(text);
  if (found) return found;
  const graph = checkGraph(JSON.parse(text));
  const checked = { graph, text, tasks: planTasks(graph) };
  if (known.size >= MOST_KNOWN) known.clear();
  if (text.length <= MOST_KNOWN_CHARACTERS) known.set(text, checked);
  return checked;
}

function toRow(request: StartRequest, extras: StartExtras): object {
  requireFields(request);
  const { graph, text, tasks } = checkOnce(request.graph);
  const inputs = toStoredJson(request.inputs ?? {}, "The run's inputs");
  const principal = toStoredJson(request.principal, "The run's principal");
  const { environment, idempotencyKey, timeoutMs, priority, concurrency } = request;
  const rows = extras.tasks ?? tasks;
  const open = rows.filter(({ state }) => state !== "succeeded" && state !== "skipped");
  return {
    id: v7(),
    environment,
    graph,
    inputs: JSON.parse(inputs),
    principal: JSON.parse(principal),
    labels: request.labels,
    idempotency_key: idempotencyKey,
    request_sha256: idempotencyKey && digest(text, inputs, principal),
    priority,
    timeout_ms: timeoutMs,
    open_nodes: open.length,
    open_finally: open.filter((task) => task.is_finally).length,
    concurrency_key: concurrency?.key,
    concurrency_limit: concurrency?.limit,
    on_limit: concurrency && (concurrency.onLimit ?? "queue"),
    parent_run: extras.parent?.run,
    parent_node: extras.parent?.node,
    retry_of: extras.retryOf,
    only_failed_targets: extras.onlyFailedTargets,
    tasks: rows,
  };
}

const digest = (...parts: string[]) => createHash("sha256").update(parts.join("\0")).digest("hex");

function requireFields({
  environment,
  timeoutMs,
  priority,
  idempotencyKey,
  principal,
  concurrency,
}: StartRequest): void {
  const fieldViolations: FieldViolation[] = [];
  const report = (field: string, description: string) => void fieldViolations.push({ field, description });
  if (!environment) report("environment", "is missing");
  if (!principal?.kind || !principal.id) report("principal", "is missing: say kind and id of on whose behalf it runs");
  if (timeoutMs !== undefined && !(timeoutMs > 0)) report("timeoutMs", "must be more than 0");
  if (priority !== undefined && !(Number.isInteger(priority) && Math.abs(priority) <= 100)) {
    report("priority", "must be a whole number from -100 to 100");
  }
  if (idempotencyKey !== undefined && !(idempotencyKey.length > 0 && idempotencyKey.length <= 200)) {
    report("idempotencyKey", "must have 1 to 200 characters");
  }
  if (concurrency && !(concurrency.key && Number.isInteger(concurrency.limit) && concurrency.limit > 0)) {
    report("concurrency", "must have a key that is not empty and a limit of at least 1");
  }
  if (fieldViolations.length === 0) return;
  const list = fieldViolations.map(({ field, description }) => `  ${field}: ${description}`).join("\n");
  throw new HmsError("INVALID_ARGUMENT", `The run cannot start:\n${list}`, { reason: "INVALID_RUN", fieldViolations });
}
