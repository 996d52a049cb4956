import { HmsError } from "@hms/kernel/errors";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { describe, expect, test } from "vitest";
import { engineSuite, environment, step } from "./testing/engine-suite.ts";
import { principal } from "./testing/open-engine.ts";

const suite = engineSuite();
const { start, work } = suite;

test("what a step says can be read from any place, in order, once it has ended", async () => {
  await using _worker = work({
    x: ({ log, failures: before }) => {
      for (let n = 0; n < 3; n += 1) log(`attempt ${before} line ${n} ✓`);
      if (before < 1) throw new HmsError("UNAVAILABLE", "again");
    },
  });
  const id = await start({ nodes: { a: step({ retry: { max: 2, initial_ms: 1 } }) } });
  expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
  const pieces = await suite.durable.logs({ runId: id, node: "a" });
  expect(pieces.map(({ text }) => text).join("")).toBe(
    [0, 1].map((n) => [0, 1, 2].map((line) => `attempt ${n} line ${line} ✓\n`).join("")).join(""),
  );
  expect(pieces.map(({ attempt, seq }) => [attempt, seq])).toEqual([
    [1, 1],
    [2, 1],
  ]);
  expect(await suite.durable.logs({ runId: id, node: "a", after: { attempt: 1, seq: 1 } })).toEqual(pieces.slice(1));
});

test("what all steps of a run say has one order, and whoever reads on behind a position misses nothing of it", async () => {
  await using _worker = work({ x: ({ log, node }) => log(`${node} says`) });
  await using _other = work({ x: ({ log, node }) => log(`${node} says`) });
  const names = Array.from({ length: 12 }, (_, n) => `n${n}`);
  const id = await start({ nodes: Object.fromEntries(names.map((name) => [name, step()])) });
  const read: string[] = [];
  let after = 0;
  const readOn = async () => {
    for (const { node, text, position } of await suite.durable.runLogs({ runId: id, after, limit: 5 })) {
      expect(position).toBeGreaterThan(after);
      after = position;
      read.push(`${node}: ${text}`);
    }
    return read.length === names.length;
  };
  await waitFor(readOn, { intervalMs: 1, describe: () => `all to be said; so far ${read.join("")}` });
  expect(read.sort()).toEqual(names.map((name) => `${name}: ${name} says\n`).sort());
});

test("what is written to a run's log behind a commit that is late waits for it, so nothing is passed over", async () => {
  await using _worker = work({ x: ({ log }) => log("first") });
  const id = await start({ nodes: { a: step() } });
  expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
  const { db } = suite.durable.database;
  const write = (text: string) => sql`select write_logs(array[${id}::uuid], array[${text}], array[''], array[1], array[1],
    array[convert_to(${text}, 'UTF8')])`;
  const texts = async () => (await suite.durable.runLogs({ runId: id })).map(({ text }) => text);
  let next: Promise<unknown> | undefined;
  await db.transaction().execute(async (transaction) => {
    await write("late").execute(transaction);
    next = write("next").execute(db);
    const waiting = sql<{ n: number }>`select count(*)::int as n from pg_stat_activity
      where query like '%write_logs%' and wait_event_type = 'Lock'`;
    await waitFor(async () => (await waiting.execute(transaction)).rows[0]?.n === 1, { describe: "the next one to wait" });
    expect(await texts()).toEqual(["first\n"]);
  });
  await next;
  expect(await texts()).toEqual(["first\n", "late", "next"]);
});

describe("starting", () => {
  test("twice with one idempotency key is one run, with another request an error", async () => {
    const request = { environment, graph: { nodes: { a: step() } }, principal, idempotencyKey: "once" };
    const started = await Promise.all(Array.from({ length: 5 }, () => suite.durable.start(request)));
    expect(new Set(started.map(({ id }) => id)).size).toBe(1);
    expect(started.filter(({ isNew }) => isNew)).toHaveLength(1);
    await expect(suite.durable.start({ ...request, inputs: { n: 1 } })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
    });
    expect((await suite.durable.start({ ...request, environment: "other" })).isNew).toBe(true);
  });

  test("many at once takes one commit for many, and one that cannot start takes no other with it", async () => {
    await using _worker = work({ x: () => ({}) }, { concurrency: 50 });
    const request = { environment, graph: { nodes: { a: step() } }, principal };
    const concurrency = { key: "full", limit: 1, onLimit: "reject" } as const;
    const holder = await suite.durable.start({
      ...request,
      graph: { nodes: { a: step({ queue: "nobody" }) } },
      concurrency,
    });
    const asked = Array.from({ length: 60 }, (_, n) => {
      if (n === 20) return suite.durable.start({ ...request, concurrency });
      if (n === 21) return suite.durable.start({ ...request, priority: 1000 });
      return suite.durable.start(request);
    });
    const outcomes = await Promise.allSettled(asked);
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason.code] : []));
    expect(refused).toEqual(["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"]);
    const ids = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.id] : []));
    expect(new Set(ids).size).toBe(58);
    for (const id of ids) expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
    await suite.durable.cancel({ environment, runId: holder.id, by: principal });
  });

  test("leaves runs that ended long ago behind, with all that belongs to them, and no others", async () => {
    await using _worker = work({ x: ({ log }) => log("done") });
    const [old, young] = [await start({ nodes: { a: step() } }), await start({ nodes: { a: step() } })];
    for (const id of [old, young]) await suite.durable.ended(id, 10_000);
    const { db } = suite.durable.database;
    await sql`update run set ended_at = ended_at - interval '91 days' where id = ${old}::uuid`.execute(db);
    await sql`select forget_runs(90)`.execute(db);
    await expect(suite.durable.get(environment, old)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await suite.durable.get(environment, young)).state).toBe("succeeded");
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
    expect(await suite.durable.ended(denied, 10_000)).toBe("failed");
    expect(done).toEqual(["50", "0", "-3"]);
    expect((await suite.durable.get(environment, denied)).nodes.map(({ error }) => error?.code)).toEqual([
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
    await expect(suite.durable.start(request)).rejects.toMatchObject({
      details: {
        fieldViolations: [
          { field: "environment" },
          { field: "principal" },
          { field: "timeoutMs" },
          { field: "priority" },
        ],
      },
    });
    const unstorable = suite.durable.start({
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
  expect(await suite.durable.ended(id, 10_000)).toBe("failed");
  expect((await suite.durable.get(environment, id)).nodes.map(({ error }) => error?.reason)).toEqual([
    "VALUE_NOT_STORABLE",
    "VALUE_NOT_STORABLE",
  ]);
});
