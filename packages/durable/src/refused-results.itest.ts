import { sql } from "kysely";
import { expect, test } from "vitest";
import { engineSuite, environment, step } from "./testing/engine-suite.ts";
import { openEngine, principal } from "./testing/open-engine.ts";

const suite = engineSuite();
const { reaches, start, states, work } = suite;

/** From now on the database refuses rows of tasks of which this holds. */
const refuse = (name: string, condition: string) =>
  sql
    .raw(`alter table task add constraint ${name} check (coalesce(not (${condition}), true))`)
    .execute(suite.durable.database.db);
const errorOf = async (runId: string, node: string) =>
  (await suite.durable.get(environment, runId)).nodes.find((each) => each.node === node && each.target === "")?.error;

test("targets whose names are taken, or that cannot be stored, hold up nobody", async () => {
  await using _worker = work({ x: () => ({}) }, { concurrency: 2 });
  const fan = (items: string) => start({ nodes: { a: step({ targets: { items, max_fail: 10_000 } }) } });
  const named = [await fan('${{ ["#1", "#1"] }}'), await fan('${{ ["#1", 5] }}')];
  const unstorable = [await fan('${{ ["a\\u0000b"] }}'), await fan('${{ [{"name": "\\u0000"}] }}')];
  const neighbour = await start({ nodes: { a: step(), b: step({ needs: ["a"] }) } });
  for (const id of [...named, neighbour]) expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
  for (const id of unstorable) {
    expect(await suite.durable.ended(id, 10_000)).toBe("failed");
    expect(await errorOf(id, "a")).toMatchObject({ reason: "VALUE_NOT_STORABLE" });
  }
  expect(await states(named[0] ?? "")).toEqual({ a: "succeeded", "a/#1": "succeeded", "a/#1.2": "succeeded" });
});

test("a result that the database refuses fails its own step, and those that were stored with it are stored", async () => {
  await refuse("no_poison", "output = '\"poison\"'");
  const gate = Promise.withResolvers<void>();
  await using _worker = work({ x: ({ input }) => gate.promise.then(() => input) }, { concurrency: 8 });
  const ids: string[] = [];
  for (let n = 0; n < 7; n += 1) {
    ids.push(await start({ nodes: { a: step({ with: n === 3 ? "poison" : n }), b: step({ needs: ["a"] }) } }));
  }
  for (const id of ids) await reaches(id, "a", "running");
  gate.resolve();
  const ends = await Promise.all(ids.map((id) => suite.durable.ended(id, 10_000)));
  expect(ends.map((end, n) => (n === 3 ? end === "failed" : end === "succeeded"))).toEqual(ids.map(() => true));
  expect(await errorOf(ids[3] ?? "", "a")).toMatchObject({ code: "INVALID_ARGUMENT", reason: "RESULT_REFUSED" });
  // Nor is any room lost.
  const later = await Promise.all(Array.from({ length: 16 }, () => start({ nodes: { a: step() } })));
  for (const id of later) expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
});

test("a step of which nothing can be stored at all is left to its lease, and is not done again by itself", async () => {
  await refuse("nothing_ends", "node = 'cursed' and state in ('succeeded', 'failed')");
  let begun = 0;
  const x = () => {
    begun += 1;
  };
  await using _worker = work({ x, y: () => ({}) }, { concurrency: 1 });
  const id = await start({ nodes: { cursed: step({ effect: "at_most_once" }) } });
  const neighbour = await start({ nodes: { a: step({ uses: "y" }), b: step({ uses: "y", needs: ["a"] }) } });
  expect(await suite.durable.ended(neighbour, 10_000)).toBe("succeeded");
  await reaches(id, "cursed", "needs_decision");
  expect(begun).toBe(1);
  await suite.durable.cancel({ environment, runId: id, by: principal });
});

test("who claims steps elsewhere gets those that can begin, whatever was claimed with them", async () => {
  await refuse("no_target", "target = 'forbidden'");
  const queue = "elsewhere";
  const bad = await start({ nodes: { a: step({ queue, targets: { items: ["forbidden"] } }) } });
  const good = await start({ nodes: { a: step({ queue }) } });
  const worker = { environment, queue, principal: "service:etl", name: "w1" };
  const steps = await suite.durable.remote.claim({ worker, slots: 10, leaseMs: 10_000 });
  expect(steps.map(({ runId }) => runId)).toEqual([good]);
  expect(await suite.durable.ended(bad, 10_000)).toBe("failed");
  expect(await errorOf(bad, "a")).toMatchObject({ reason: "RESULT_REFUSED" });
  for (const each of steps) await suite.durable.remote.end(worker, each, { output: null });
  expect(await suite.durable.ended(good, 10_000)).toBe("succeeded");
});

test("targets that take longer to store than a statement may fail their step, and hold up nobody meanwhile", async () => {
  await using durable = await openEngine({ statementTimeoutMs: 300 });
  for (const statement of [
    `create function be_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(10); return new; end $$`,
    `create trigger be_slow before insert on task for each row when (new.target = 'slow') execute function be_slow()`,
  ])
    await sql.raw(statement).execute(durable.database.db);
  await using _worker = durable.worker({ executors: { x: () => ({}) } });
  const slow = { nodes: { a: step({ targets: { items: ["slow"] } }) } };
  const many = [slow, ...Array.from({ length: 5 }, () => ({ nodes: { a: step() } }))];
  const started = await durable.startAll(many.map((graph) => ({ environment, graph, principal })));
  const ends = await Promise.all(started.map(({ id }) => durable.ended(id, 20_000)));
  expect(ends).toEqual(["failed", ...Array.from({ length: 5 }, () => "succeeded")]);
  const [failed] = (await durable.get(environment, started[0]?.id ?? "")).nodes;
  expect(failed?.error).toMatchObject({ reason: "RESULT_REFUSED" });
});
