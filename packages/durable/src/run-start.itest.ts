import { HmsError } from "@hms/kernel/errors";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Durable, GraphNode, RunGraph, RunLogCursor, StepExecutor, WorkerOptions } from "./index.ts";
import { brokenInvariants } from "./testing/invariants.ts";
import { openEngine, principal } from "./testing/open-engine.ts";

let durable: Durable;
beforeAll(async () => {
  durable = await openEngine();
});
afterAll(async () => {
  expect(await brokenInvariants(durable.database)).toEqual([]);
  await durable[Symbol.asyncDispose]();
});

const environment = "test";
const failures: HmsError[] = [];
const work = (executors: Record<string, StepExecutor>, more: Partial<WorkerOptions> = {}) =>
  durable.worker({ executors, leaseMs: 2000, onFailure: (failure) => failures.push(failure), ...more });
const start = async (graph: RunGraph, more = {}) =>
  (await durable.start({ environment, graph, principal, ...more })).id;
const step = (more: Partial<GraphNode> = {}): GraphNode => ({ uses: "x", effect: "idempotent", ...more });

test("what a step says can be read from any place, in order, once it has ended", async () => {
  await using _worker = work({
    x: ({ log, failures: before }) => {
      for (let n = 0; n < 3; n += 1) log(`attempt ${before} line ${n} ✓`);
      if (before < 1) throw new HmsError("UNAVAILABLE", "again");
    },
  });
  const id = await start({ nodes: { a: step({ retry: { max: 2, initial_ms: 1 } }) } });
  expect(await durable.ended(id, 10_000)).toBe("succeeded");
  const pieces = await durable.logs({ runId: id, node: "a" });
  expect(pieces.map(({ text }) => text).join("")).toBe(
    [0, 1].map((n) => [0, 1, 2].map((line) => `attempt ${n} line ${line} ✓\n`).join("")).join(""),
  );
  expect(pieces.map(({ attempt, seq }) => [attempt, seq])).toEqual([
    [1, 1],
    [2, 1],
  ]);
  expect(await durable.logs({ runId: id, node: "a", after: { attempt: 1, seq: 1 } })).toEqual(pieces.slice(1));
});

test("the log of a whole run is in the order in which it was written, and nothing that is committed late is passed over", async () => {
  const said = Promise.withResolvers<void>();
  const say: StepExecutor = async ({ node, log }) => {
    log(node);
    if (node === "a") await said.promise;
  };
  await using _worker = work({ x: say });
  const id = await start({ nodes: { a: step(), b: step() } });
  const texts = async (after?: RunLogCursor) =>
    (await durable.runLogs({ runId: id, ...(after ? { after } : {}) })).map(({ text }) => text);
  await waitFor(async () => (await texts()).length === 2, { describe: "both to have said something" });
  const [first] = await durable.runLogs({ runId: id, limit: 1 });
  const late = Promise.withResolvers<void>();
  const writes = Promise.withResolvers<void>();
  const writing = durable.database.db.transaction().execute(async (transaction) => {
    const place = sql`(clock_timestamp() at time zone 'UTC')::date, ${id}::uuid`;
    const columns = sql`(day, run_id, node, target, attempt, seq, bytes)`;
    await sql`insert into log_chunk ${columns} select ${place}, 'late', '', 1, 1, 'late'::bytea`.execute(transaction);
    await sql`insert into log_chunk ${columns} select ${place}, 'next', '', 1, 1, 'next'::bytea`.execute(
      durable.database.db,
    );
    writes.resolve();
    await late.promise;
  });
  await writes.promise;
  // What was written after it waits for it.
  expect(await texts()).toHaveLength(2);
  expect(await durable.runLogs({ runId: id, isOver: true })).toHaveLength(3);
  late.resolve();
  await writing;
  await waitFor(async () => (await texts()).length === 4, { describe: "the late one to be read" });
  expect((await texts()).slice(2)).toEqual(["late", "next"]);
  expect(await texts(first)).toEqual((await texts()).slice(1));
  said.resolve();
  expect(await durable.ended(id, 10_000)).toBe("succeeded");
});

test("labels are a run's from its first moment on, and those of the run that carries it on", async () => {
  await using _worker = work({ x: () => ({}) });
  const labels = { team: "sre", tier: "1" };
  const id = await start({ nodes: { a: step() } }, { labels, idempotencyKey: "labelled" });
  await start({ nodes: { a: step() } }, { labels: { other: "1" }, idempotencyKey: "labelled" });
  expect(await durable.get(environment, id)).toMatchObject({ labels, principal, lastSeq: expect.any(Number) });
  await durable.ended(id, 10_000);
  const again = await durable.retry({ environment, runId: id, principal, from: "a" });
  const found = await durable.list(environment, { labels: { team: "sre", tier: null } });
  expect(found.map((run) => [run.id, run.retryOf])).toEqual([
    [again.id, id],
    [id, null],
  ]);
  expect(await durable.list(environment, { labels: { team: "sre", none: null } })).toEqual([]);
  await durable.ended(again.id, 10_000);
});

test("a step of which nobody knows whether it was done is not begun again by the worker that did it", async () => {
  let begun = 0;
  const unknown = () => {
    begun += 1;
    throw new HmsError("ABORTED", "Who knows.", { reason: "STEP_UNKNOWN" });
  };
  const untilStopped = ({ signal }: { signal: AbortSignal }) => {
    begun += 1;
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("closing"))));
  };
  const closing = work({ x: unknown, y: untilStopped });
  const known = await start({ nodes: { a: step({ effect: "at_most_once", retry: { max: 9 } }) } });
  const closed = await start({ nodes: { a: step({ uses: "y", effect: "at_most_once" }) } });
  await waitFor(async () => (await durable.get(environment, known)).nodes[0]?.state === "needs_decision", {
    describe: "the lease to run out",
  });
  await closing[Symbol.asyncDispose]();
  await using _other = work({});
  await waitFor(async () => (await durable.get(environment, closed)).nodes[0]?.state === "needs_decision", {
    describe: "the lease of the closed worker to run out",
  });
  expect(begun).toBe(2);
  for (const id of [known, closed]) await durable.cancel({ environment, runId: id, by: principal });
});

describe("starting", () => {
  test("twice with one idempotency key is one run, with another request an error", async () => {
    const request = { environment, graph: { nodes: { a: step() } }, principal, idempotencyKey: "once" };
    const started = await Promise.all(Array.from({ length: 5 }, () => durable.start(request)));
    expect(new Set(started.map(({ id }) => id)).size).toBe(1);
    expect(started.filter(({ isNew }) => isNew)).toHaveLength(1);
    await expect(durable.start({ ...request, inputs: { n: 1 } })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    expect((await durable.start({ ...request, environment: "other" })).isNew).toBe(true);
  });

  test("many at once takes one commit for many, and one that cannot start takes no other with it", async () => {
    await using _worker = work({ x: () => ({}) }, { concurrency: 50 });
    const request = { environment, graph: { nodes: { a: step() } }, principal };
    const concurrency = { key: "full", limit: 1, onLimit: "reject" } as const;
    const holder = await durable.start({ ...request, graph: { nodes: { a: step({ queue: "nobody" }) } }, concurrency });
    const asked = Array.from({ length: 60 }, (_, n) => {
      if (n === 20) return durable.start({ ...request, concurrency });
      if (n === 21) return durable.start({ ...request, priority: 1000 });
      return durable.start(request);
    });
    const outcomes = await Promise.allSettled(asked);
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason.code] : []));
    expect(refused).toEqual(["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"]);
    const ids = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.id] : []));
    expect(new Set(ids).size).toBe(58);
    for (const id of ids) expect(await durable.ended(id, 10_000)).toBe("succeeded");
    await durable.cancel({ environment, runId: holder.id, by: principal });
  });

  test("leaves runs that ended long ago behind, with all that belongs to them, and no others", async () => {
    await using _worker = work({ x: ({ log }) => log("done") });
    const [old, young] = [await start({ nodes: { a: step() } }), await start({ nodes: { a: step() } })];
    for (const id of [old, young]) await durable.ended(id, 10_000);
    const { db } = durable.database;
    await sql`update run set ended_at = ended_at - interval '91 days' where id = ${old}::uuid`.execute(db);
    await sql`select forget_runs(90)`.execute(db);
    await expect(durable.get(environment, old)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await durable.get(environment, young)).state).toBe("succeeded");
    const { rows } =
      await sql`select from task where run_id = ${old}::uuid union all select from event where run_id = ${old}::uuid
      union all select from attempt where run_id = ${old}::uuid`.execute(db);
    expect(rows).toEqual([]);
  });

  test("takes the more important first, and a step that its principal may not do is not done", async () => {
    const done: string[] = [];
    const queue = "ordered";
    for (const priority of [0, 50, -3])
      await start({ nodes: { a: step({ queue, with: String(priority) }) } }, { priority });
    const denied = await start({ nodes: { a: step({ queue }), b: step({ queue, uses: "y" }) } }, { priority: -50 });
    await using _worker = work(
      { x: ({ input }) => void done.push(String(input)), y: () => ({}) },
      {
        queues: [queue],
        concurrency: 1,
        authorize: ({ principal: { id }, input }) => {
          if (input === null) throw new HmsError("PERMISSION_DENIED", `${id} may not do this`);
        },
      },
    );
    expect(await durable.ended(denied, 10_000)).toBe("failed");
    expect(done).toEqual(["50", "0", "-3"]);
    expect((await durable.get(environment, denied)).nodes.map(({ error }) => error?.code)).toEqual([
      "PERMISSION_DENIED",
      "PERMISSION_DENIED",
    ]);
  });

  test("is refused with every problem at once", async () => {
    const request = {
      environment: "",
      graph: { nodes: { a: step() } },
      principal: { kind: "user", id: "" },
      priority: 500,
      timeoutMs: -1,
    };
    await expect(durable.start(request)).rejects.toMatchObject({
      details: {
        fieldViolations: [
          { field: "environment" },
          { field: "principal" },
          { field: "timeoutMs" },
          { field: "priority" },
        ],
      },
    });
    const unstorable = durable.start({
      environment,
      graph: { nodes: { a: step() } },
      principal,
      inputs: { text: "a\0b" },
    });
    await expect(unstorable).rejects.toMatchObject({ details: { reason: "VALUE_NOT_STORABLE" } });
  });
});

test("an output that cannot be stored is a failure that says so", async () => {
  await using _worker = work({ x: ({ node }) => (node === "large" ? "x".repeat(70_000) : "a\0b") });
  const id = await start({ nodes: { large: step(), odd: step() } });
  expect(await durable.ended(id, 10_000)).toBe("failed");
  expect((await durable.get(environment, id)).nodes.map(({ error }) => error?.reason)).toEqual([
    "VALUE_NOT_STORABLE",
    "VALUE_NOT_STORABLE",
  ]);
});
