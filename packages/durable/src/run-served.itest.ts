import { HmsError } from "@hms/kernel/errors";
import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { engineSuite, environment, step } from "./testing/engine-suite.ts";
import { principal } from "./testing/open-engine.ts";

const suite = engineSuite();
const { start, work } = suite;

test("labels are a run's from its first moment on, and those of the run that carries it on", async () => {
  await using _worker = work({ x: () => ({}) });
  const labels = { team: "sre", tier: "1" };
  const id = await start({ nodes: { a: step() } }, { labels, idempotencyKey: "labelled" });
  await start({ nodes: { a: step() } }, { labels: { other: "1" }, idempotencyKey: "labelled" });
  expect(await suite.durable.get(environment, id)).toMatchObject({ labels, principal, lastSeq: expect.any(Number) });
  await suite.durable.ended(id, 10_000);
  const again = await suite.durable.retry({ environment, runId: id, principal, from: "a" });
  const found = await suite.durable.list(environment, { labels: { team: "sre", tier: null } });
  expect(found.map((run) => [run.id, run.retryOf])).toEqual([
    [again.id, id],
    [id, null],
  ]);
  expect(await suite.durable.list(environment, { labels: { team: "sre", none: null } })).toEqual([]);
  await suite.durable.ended(again.id, 10_000);
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
  await waitFor(async () => (await suite.durable.get(environment, known)).nodes[0]?.state === "needs_decision", {
    describe: "the lease to run out",
  });
  await closing[Symbol.asyncDispose]();
  await using _other = work({});
  await waitFor(async () => (await suite.durable.get(environment, closed)).nodes[0]?.state === "needs_decision", {
    describe: "the lease of the closed worker to run out",
  });
  expect(begun).toBe(2);
  for (const id of [known, closed]) await suite.durable.cancel({ environment, runId: id, by: principal });
});
