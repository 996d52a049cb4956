import { HmsError } from "@hms/kernel/errors";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { describe, expect, test } from "vitest";
import type { GraphNode, Json, StepExecutor } from "./index.ts";
import { engineSuite, environment, step } from "./testing/engine-suite.ts";
import { principal } from "./testing/open-engine.ts";

const suite = engineSuite();
const { reaches, start, states, work } = suite;
const order = (runId: string) => ({ environment, runId, by: principal });
const NOBODY = { queue: "nobody" };
/** Waits until it is told to stop. */
const patient: StepExecutor = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

describe("targets of which the later ones were done before", () => {
  /** A run whose first host has failed, and all others not. */
  async function partlyDone(targets: Partial<NonNullable<GraphNode["targets"]>>) {
    const hosts = ["h1", "h2", "h3", "h4", "h5"];
    const fan = step({ targets: { items: hosts, batch: 1, max_fail: 1, ...targets } });
    const broken = new Set(["h1"]);
    const worker = work({
      x: ({ target }) => {
        if (broken.has(target?.name ?? "")) throw new HmsError("NOT_FOUND", "no such host");
      },
    });
    const id = await start({ nodes: { a: fan, b: step({ needs: ["a"] }) } });
    expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
    broken.clear();
    return { worker, again: { environment, runId: id, from: "a", onlyFailedTargets: true, principal } };
  }

  test("end with their run, after the pause", async () => {
    const { worker, again } = await partlyDone({ pause_ms: 20 });
    await using _worker = worker;
    const { id } = await suite.durable.retry(again);
    expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
    expect(new Set(Object.values(await states(id)))).toEqual(new Set(["succeeded"]));
  });

  test("are cancelled with their run while it pauses", async () => {
    const { worker, again } = await partlyDone({ pause_ms: 20 });
    await using _worker = worker;
    await sql`update run set graph = jsonb_set(graph, '{nodes,a,targets,pause_ms}', '600000') where id = ${again.runId}::uuid`.execute(
      suite.durable.database.db,
    );
    const { id } = await suite.durable.retry(again);
    await reaches(id, "a/h1", "succeeded");
    expect(await suite.durable.cancel(order(id))).toBe(true);
    expect(await suite.durable.ended(id, 10_000)).toBe("cancelled");
    expect(await states(id)).toMatchObject({ a: "cancelled", "a/h1": "succeeded", b: "cancelled" });
  });

  test("may be thousands of batches", async () => {
    await using _worker = work({ x: () => ({}) }, { concurrency: 200 });
    const items = Array.from({ length: 3000 }, (_, n) => `h${n}`);
    const id = await start({ nodes: { a: step({ targets: { items, batch: 3000 } }) } });
    expect(await suite.durable.ended(id, 60_000)).toBe("succeeded");
    await sql`update run set graph = jsonb_set(graph, '{nodes,a,targets,batch}', '1') where id = ${id}::uuid`.execute(
      suite.durable.database.db,
    );
    const again = { environment, runId: id, from: "a", onlyFailedTargets: true, principal };
    const { id: second } = await suite.durable.retry(again);
    expect(await suite.durable.ended(second, 60_000)).toBe("succeeded");
  });
});

test("a run within a run that cleans up goes on while its run is cancelled, and so does what is within it", async () => {
  const begun = Promise.withResolvers<void>();
  const going = Promise.withResolvers<void>();
  const x = () => {
    begun.resolve();
    return going.promise;
  };
  await using _worker = work({ x, patient });
  const inner = (node: GraphNode): Json => ({ graph: { nodes: { a: node } } }) as never;
  const undo = { kind: "run", finally: true, with: inner({ kind: "run", with: inner(step()) }) } as const;
  const id = await start({ nodes: { a: step({ uses: "patient" }), undo } });
  await reaches(id, "a", "running");
  await suite.durable.cancel(order(id));
  await begun.promise;
  // What is within another run is stopped by looks that have come by both.
  for (let n = 0; n < 2; n += 1) {
    const other = await start({ nodes: { b: { kind: "run", with: inner(step({ uses: "patient" })) } } });
    await reaches(other, "b", "waiting");
    await suite.durable.cancel(order(other));
    expect(await suite.durable.ended(other, 10_000)).toBe("cancelled");
  }
  going.resolve();
  expect(await suite.durable.ended(id, 10_000)).toBe("cancelled");
  expect(await states(id)).toEqual({ a: "cancelled", undo: "succeeded" });
});

describe("however many others there are that have to wait,", () => {
  const many = <T>(amount: number, of: (n: number) => Promise<T>) =>
    Promise.all(Array.from({ length: amount }, (_, n) => of(n)));

  test("a run whose time is over is stopped", async () => {
    await using _worker = work({ x: () => ({}), patient });
    const cleaning = { nodes: { a: step(), last: step({ ...NOBODY, finally: true }) } };
    const ids = await many(60, () => start(cleaning, { timeoutMs: 600_000 }));
    for (const id of ids) await reaches(id, "last", "ready");
    await sql`update run set deadline_at = clock_timestamp() - interval '1 hour' where id = any (${ids}::uuid[])`.execute(
      suite.durable.database.db,
    );
    const late = await start({ nodes: { a: step({ uses: "patient" }) } }, { timeoutMs: 200 });
    expect(await suite.durable.ended(late, 10_000)).toBe("timed_out");
  });

  test("a run within a run that is cancelled is stopped", async () => {
    await using _worker = work({ x: () => ({}), patient });
    const run = (nodes: Record<string, GraphNode>): GraphNode => ({ kind: "run", with: { graph: { nodes } } as never });
    const names = Array.from({ length: 60 }, (_, n) => `cleaning${n}`);
    const cleaning = run({ a: step(), last: step({ ...NOBODY, finally: true }) });
    const id = await start({
      nodes: {
        ...Object.fromEntries(names.map((name) => [name, cleaning])),
        pause: { kind: "wait", timeout_ms: 1000 },
        late: { ...run({ a: step({ uses: "patient" }) }), needs: ["pause"] },
      },
    });
    await reaches(id, "late", "waiting");
    const [late] = await suite.durable.list(environment, { limit: 1 });
    await reaches(late?.id ?? "", "a", "running");
    const left = sql<{ n: number }>`select count(*)::int as n from run
      where parent_run = ${id}::uuid and open_nodes = open_finally and ended_at is null`;
    await waitFor(async () => (await left.execute(suite.durable.database.db)).rows[0]?.n === 60, {
      describe: "the others to have nothing left but what runs finally",
    });
    await suite.durable.cancel(order(id));
    expect(await suite.durable.ended(late?.id ?? "", 10_000)).toBe("cancelled");
  });

  test("a run begins once there is room for its concurrency key", async () => {
    await using _worker = work({ x: () => ({}), patient });
    const waiting = { nodes: { a: step(NOBODY) } };
    const keyed = (key: string) => ({ concurrency: { key, limit: 1 } });
    await many(240, (n) => start(waiting, keyed(`key ${n % 120}`)));
    const first = await start({ nodes: { a: step({ uses: "patient" }) } }, keyed("the last key"));
    const second = await start({ nodes: { a: step() } }, keyed("the last key"));
    await suite.durable.cancel(order(first));
    expect(await suite.durable.ended(second, 10_000)).toBe("succeeded");
  });
});
