import { createHash } from "node:crypto";
import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { retryWhileUnavailable } from "@hms/postgres";
import type { RunContext, RunPrincipal } from "./claimed-task.ts";
import type { RunGraph } from "./graph.ts";
import { checkGraph } from "./graph-check.ts";
import { type Json, toStoredJson } from "./json.ts";
import type { RunDatabase } from "./run-database.ts";
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

/** A row of what a start gave. */
export interface StartRow {
  asked_id: string;
  id: string | null;
  is_new: boolean;
  same_request: boolean;
  state: RunState;
  nodes: string[] | null;
  fences: string[] | null;
}

/** A run that has been checked, and has its id: storing it again stores nothing more. */
export interface PreparedStart {
  readonly row: RunRow;
  readonly plan: RunPlan;
}

/** A graph with the rows of its nodes. */
interface RunPlan {
  readonly graph: RunGraph;
  readonly tasks: readonly PlannedTask[];
}

/** Room that a worker of this process has for tasks that are ready at once. */
export interface ClaimRoom {
  readonly worker: string;
  readonly queues: readonly string[];
  readonly slots: number;
  readonly leaseMs: number;
  /** Takes what was claimed, all at once, and gives back the rest of the room; called exactly once. */
  done(claims: readonly StartClaim[]): void;
}

/** A task that was claimed as its run was stored. */
export interface StartClaim {
  readonly run: RunContext;
  readonly task: PlannedTask;
  readonly fence: string;
}

/** @throws HmsError INVALID_ARGUMENT with every problem. */
export function prepareStart(request: StartRequest, extras: StartExtras = {}): PreparedStart {
  requireFields(request);
  const { graph, text, plan: ofGraph } = checkOnce(request.graph);
  const plan = extras.tasks ? { graph, tasks: extras.tasks } : ofGraph;
  return { row: toRow(request, { text, tasks: plan.tasks, extras }), plan };
}

/** How long it is tried while the database is away. */
const PATIENCE_MS = 10_000;

const START = { name: "durable.start_runs", text: "select * from start_runs($1::jsonb, $2, $3::text[], $4)" };

/** What became of starts. */
export interface StoredStarts {
  /** A run, or ALREADY_EXISTS if its key was used for another request; in the order in which they were asked for. */
  readonly results: readonly (StartedRun | HmsError)[];
  /** Something may be ready that was not claimed. */
  readonly hasMore: boolean;
}

/**
 * Stores runs, all in one commit; once it resolves they will run. What `room` there is, is claimed in the same commit.
 * @throws HmsError RESOURCE_EXHAUSTED if one's concurrency key has reached its limit and it says "reject": none is stored;
 * UNAVAILABLE if they may or may not be.
 */
export async function storeStarts(
  database: RunDatabase,
  asked: readonly PreparedStart[],
  room?: ClaimRoom,
): Promise<StoredStarts> {
  const { worker = null, queues = [], leaseMs = 0 } = room ?? {};
  const { batches, ready } = batchesOf(asked, room);
  const parameters = [JSON.stringify(batches), worker, queues, leaseMs];
  const ask = () =>
    retryWhileUnavailable(() => database.prepared<StartRow>(START, parameters), { deadlineMs: PATIENCE_MS });
  let claims: StartClaim[] = [];
  try {
    const first = await ask().catch(throwNamed);
    claims = claimsOf(asked, first);
    // Somebody committed the same key while we did: now it can be seen.
    const stored = first.some(({ id }) => id === null) ? await ask() : first;
    return { results: resultsOf(asked, stored), hasMore: claims.length < ready };
  } finally {
    room?.done(claims);
  }
}

interface StartBatch extends RunPlan {
  readonly runs: RunRow[];
  slots: number;
}

/** What has one plan together, so that it is sent once; what has a concurrency key apart. */
export function batchesOf(asked: readonly PreparedStart[], room?: ClaimRoom) {
  const batches = new Map<RunPlan, StartBatch>();
  const keyed = new Map<RunPlan, StartBatch>();
  for (const { row, plan } of asked) {
    const own = row.concurrency_key === undefined ? batches : keyed;
    const batch = own.get(plan) ?? { ...plan, runs: [], slots: 0 };
    own.set(plan, batch);
    batch.runs.push(row);
  }
  let left = room?.slots ?? 0;
  let ready = 0;
  for (const batch of batches.values()) {
    const own = batch.tasks.filter(({ state }) => state === "ready");
    const claimable = own.filter(({ queue }) => room?.queues.includes(queue)).length * batch.runs.length;
    batch.slots = Math.min(left, claimable);
    left -= batch.slots;
    ready += own.length * batch.runs.length;
  }
  for (const { runs } of keyed.values()) ready += runs.length;
  return { batches: [...batches.values(), ...keyed.values()], ready };
}

function claimsOf(asked: readonly PreparedStart[], rows: readonly StartRow[]): StartClaim[] {
  const byId = new Map(asked.map((prepared) => [prepared.row.id, prepared]));
  return rows.flatMap(({ asked_id, nodes, fences }) => {
    const prepared = byId.get(asked_id);
    if (!prepared || !nodes || !fences) return [];
    const { id, environment, inputs, principal } = prepared.row;
    return nodes.flatMap((node, index) => {
      const task = prepared.plan.tasks.find((each) => each.node === node);
      const fence = fences[index];
      return task && fence ? [{ run: { id, environment, inputs, principal }, task, fence }] : [];
    });
  });
}

/** What became of each that was asked for, by the first of its rows. */
export function resultsOf(
  asked: readonly PreparedStart[],
  rows: readonly Omit<StartRow, "nodes" | "fences">[],
): (StartedRun | HmsError)[] {
  const byId = new Map<string, (typeof rows)[number]>();
  for (const row of rows) if (!byId.has(row.asked_id)) byId.set(row.asked_id, row);
  return asked.map(({ row: { id, idempotency_key } }) => {
    const stored = byId.get(id);
    if (stored && stored.id !== null && stored.same_request) {
      return { id: stored.id, isNew: stored.is_new, state: stored.state };
    }
    return keyReused(idempotency_key, stored?.id ?? null);
  });
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
  const prepared = requests.map((request) => prepareStart(request, extras));
  const { results } = await storeStarts(database, prepared);
  return results.map((result) => {
    if (result instanceof HmsError) throw result;
    return result;
  });
}

/** What a start throws, with a name for what start_runs() raises. */
export function throwNamed(error: unknown): never {
  throw isLimit(error) ? limitReached(error) : error;
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
  plan: RunPlan;
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
  const checked = { graph, text, plan: { graph, tasks: planTasks(graph) } };
  if (known.size >= MOST_KNOWN) known.clear();
  if (text.length <= MOST_KNOWN_CHARACTERS) known.set(text, checked);
  return checked;
}

interface RunRow {
  readonly id: string;
  readonly environment: string;
  readonly inputs: RunContext["inputs"];
  readonly principal: RunPrincipal;
  readonly idempotency_key: string | undefined;
  readonly concurrency_key: string | undefined;
  readonly [column: string]: unknown;
}

interface RowParts {
  /** The graph as it was asked for. */
  readonly text: string;
  readonly tasks: readonly PlannedTask[];
  readonly extras: StartExtras;
}

function toRow(request: StartRequest, { text, tasks, extras }: RowParts): RunRow {
  const inputs = toStoredJson(request.inputs ?? {}, "The run's inputs");
  const principal = toStoredJson(request.principal, "The run's principal");
  const { environment, idempotencyKey, timeoutMs, priority, concurrency } = request;
  const open = tasks.filter(({ state }) => state !== "succeeded" && state !== "skipped");
  return {
    id: v7(),
    environment,
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
