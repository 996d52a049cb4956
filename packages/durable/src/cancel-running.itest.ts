import { HmsError } from "@hms/kernel/errors";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { beforeEach, expect, test } from "vitest";
import type { StartRequest } from "./index.ts";
import { engineSuite, environment, step } from "./testing/engine-suite.ts";
import { principal } from "./testing/open-engine.ts";

const suite = engineSuite();
let key = "";
beforeEach(({ task }) => {
  key = task.name;
});

/** A start that makes room for itself; nobody does its step. */
const asked = (more: Partial<StartRequest> = {}): StartRequest => ({
  environment,
  graph: { nodes: { a: step({ queue: "nobody" }) } },
  principal,
  concurrency: { key, limit: 1, onLimit: "cancel_running" },
  ...more,
});
const stateOf = async (id: string) => (await suite.durable.get(environment, id)).state;

test("the same start again, with its idempotency key, is the same run and cancels nothing", async () => {
  const request = asked({ idempotencyKey: "once" });
  const started = await Promise.all(Array.from({ length: 8 }, () => suite.durable.start(request)));
  started.push(await suite.durable.start(request));
  expect(new Set(started.map(({ id }) => id)).size).toBe(1);
  expect(started.filter(({ isNew }) => isNew)).toHaveLength(1);
  expect(await stateOf(started[0]?.id ?? "")).toBe("running");
  const { id: next } = await suite.durable.start(asked());
  // Of what has been cancelled meanwhile, too.
  expect(await suite.durable.start(request)).toMatchObject({ id: started[0]?.id, isNew: false, state: "cancelled" });
  expect(await stateOf(next)).toBe("running");
});

test("a start that is refused cancels nothing", async () => {
  const { id } = await suite.durable.start(asked({ idempotencyKey: "used" }));
  const refused = (more: Partial<StartRequest>) => suite.durable.start(asked(more)).catch(HmsError.from);
  const full = { key: `${key}-full`, limit: 1 };
  await suite.durable.start(asked({ concurrency: full }));
  const answers = [
    await refused({ inputs: { text: "x".repeat(70_000) } }),
    await refused({ idempotencyKey: "used", inputs: { n: 1 } }),
    await refused({ priority: 1000 }),
    await suite.durable
      .startAll([asked(), asked({ concurrency: { ...full, onLimit: "reject" } })])
      .catch(HmsError.from),
  ];
  expect(answers.map((answer) => (answer as HmsError).code)).toEqual([
    "INVALID_ARGUMENT",
    "ALREADY_EXISTS",
    "INVALID_ARGUMENT",
    "RESOURCE_EXHAUSTED",
  ]);
  expect(await stateOf(id)).toBe("running");
});

test("whoever may not cancel one of the runs cancels none of them, and starts nothing", async () => {
  const concurrency = { key, limit: 2 };
  const held = [await suite.durable.start(asked({ concurrency })), await suite.durable.start(asked({ concurrency }))];
  const queued = await suite.durable.start(asked({ concurrency }));
  const authorizeCancel = (runId: string) => {
    if (runId === queued.id) throw new HmsError("PERMISSION_DENIED", "Not that one.");
  };
  await expect(suite.durable.start(asked(), { authorizeCancel })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  expect(await Promise.all([...held, queued].map(({ id }) => stateOf(id)))).toEqual(["running", "running", "queued"]);
  const heard: string[] = [];
  const next = await suite.durable.start(asked(), { authorizeCancel: (runId) => void heard.push(runId) });
  expect(heard.sort()).toEqual([...held, queued].map(({ id }) => id).sort());
  for (const { id } of [...held, queued]) expect(await suite.durable.ended(id, 10_000)).toBe("cancelled");
  expect(await stateOf(next.id)).toBe("running");
});

test("a start that somebody else has made meanwhile, with the same idempotency key, gets its run and cancels nothing", async () => {
  const { id: old } = await suite.durable.start(asked());
  const { db } = suite.durable.database;
  const other = asked({ idempotencyKey: "taken", concurrency: { key, limit: 2 } });
  const { late, taken } = await db.transaction().execute(async (transaction) => {
    await sql`select from run where id = ${old}::uuid for update`.execute(transaction);
    const late = suite.durable.start(asked({ idempotencyKey: "taken" }));
    const waiting = sql<{ n: number }>`select count(*)::int as n from pg_stat_activity
      where query like '%start_cancelling%' and wait_event_type = 'Lock'`;
    await waitFor(async () => (await waiting.execute(db)).rows[0]?.n === 1, { describe: "it to wait for the old run" });
    return { late: [late], taken: await suite.durable.start(other) };
  });
  expect(await late[0]).toMatchObject({ id: taken.id, isNew: false });
  expect([taken.isNew, await stateOf(old), await stateOf(taken.id)]).toEqual([true, "running", "running"]);
});
