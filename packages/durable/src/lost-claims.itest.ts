import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Durable } from "./index.ts";
import type { RunDatabase } from "./run-database.ts";
import { StartQueue } from "./start-queue.ts";
import { openEngine, principal } from "./testing/open-engine.ts";
import { Worker } from "./worker.ts";

let durable: Durable;
beforeAll(async () => {
  durable = await openEngine();
});
afterAll(() => durable[Symbol.asyncDispose]());

/** Answers are long on their way: of claims, and longer of the question for claims whose answer was lost. */
function slowAnswers(database: RunDatabase): RunDatabase {
  const unknown = new Set<object>();
  const db = database.db.withPlugin({
    transformQuery: ({ node, queryId }) => {
      if (JSON.stringify(node).includes("unknown_claims")) unknown.add(queryId);
      return node;
    },
    transformResult: async ({ result, queryId }) => {
      if (unknown.delete(queryId)) await delay(240);
      return result;
    },
  });
  const prepared: RunDatabase["prepared"] = async <Row>(...asked: Parameters<RunDatabase["prepared"]>) => {
    const rows = await database.prepared<Row>(...asked);
    await delay(60);
    return rows;
  };
  return Object.assign(Object.create(database) as RunDatabase, { db, prepared });
}

test("a step whose claim was on its way when lost claims were asked for is done once", async () => {
  const database = slowAnswers(durable.database);
  const done = new Map<string, number>();
  const host = { database, ended: () => {}, ready: () => {} };
  await using worker = new Worker(host, {
    leaseMs: 900,
    executors: { x: ({ run }) => void done.set(run.id, (done.get(run.id) ?? 0) + 1) },
  });
  worker.start();
  const starts = new StartQueue(database, { room: () => worker.room(), ready: () => worker.wake() });
  const graph = { nodes: { a: { uses: "x", effect: "at_most_once" } } } as const;
  const ids: string[] = [];
  for (let n = 0; n < 25; n += 1) {
    const { id } = await starts.start({ environment: "test", graph, principal });
    expect(await durable.ended(id, 10_000)).toBe("succeeded");
    ids.push(id);
  }
  // The last question for lost claims has been answered, too.
  await delay(600);
  expect(ids.map((id) => done.get(id))).toEqual(ids.map(() => 1));
});
