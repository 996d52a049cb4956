import { mesh } from "@hms/contracts";
import { waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDataPlane } from "./support/data-plane-process.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { type SnapshotServer, startSnapshotServer } from "./support/snapshot-server.ts";
import { snapshotOf } from "./support/snapshots.ts";
import { startUpstream } from "./support/upstream.ts";

const { Entrance } = mesh;

let installation: Installation;
let stack: AsyncDisposableStack;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  installation = stack.use(await openInstallation());
});
afterEach(() => stack.disposeAsync());

/** The newest word on a service. */
function lastOf(server: SnapshotServer, name: string): mesh.ServiceTraffic | undefined {
  return server.reports.flatMap(({ traffic }) => traffic).findLast(({ service }) => service === name);
}

async function ask(path: string, headers: Record<string, string> = {}): Promise<string> {
  return (await fetch(`http://127.0.0.1:${installation.network.gatewayPort}${path}`, { headers })).text();
}

test("a split is kept as the server says it, and what is counted is told at most each second, to a new server all of it", async () => {
  const [old, tried] = [stack.use(await startUpstream("old")), stack.use(await startUpstream("new"))];
  const match = { of: { case: "header" as const, value: { name: "x-hms-revision", value: "5" } } };
  const picture = snapshotOf(1, [
    {
      name: "split",
      path: "/split",
      upstreams: [old.port, tried.port],
      firstRevision: 4n,
      split: { revision: 5n, matches: [match] },
    },
    { name: "plain", path: "/plain", upstreams: [old.port] },
    { name: "unused", path: "/unused", upstreams: [old.port] },
  ]);
  const first = await startSnapshotServer(installation.paths, picture);
  stack.use(await startDataPlane(installation));
  await waitFor(() => first.reports.some(({ appliedVersion }) => appliedVersion === 1n), { describe: "the snapshot" });
  expect(first.watches[0]?.features).toContain("split");

  for (let i = 0; i < 5; i++) expect(await ask("/split")).toBe("old");
  expect(await ask("/split", { "x-hms-revision": "5" })).toBe("new");
  const begun = performance.now();
  const slow = ask("/plain?ms=2500");
  await waitFor(() => lastOf(first, "split")?.load?.requests === 6n && lastOf(first, "plain")?.load?.inFlight === 1, {
    describe: () => `the counts: ${JSON.stringify(lastOf(first, "split")?.load?.requests?.toString())}`,
  });
  expect(lastOf(first, "split")).toMatchObject({
    environment: "default",
    revisions: [
      { revision: 4n, answers: { successful: 5n, broken: 0n }, inFlight: 0 },
      { revision: 5n, answers: { successful: 1n } },
    ],
  });
  const latencies = lastOf(first, "split")?.revisions[0]?.latencies ?? [];
  expect([latencies.reduce((sum, count) => sum + count, 0n), latencies.at(-1)]).toEqual([
    5n,
    expect.not.toSatisfy((n) => n === 0n),
  ]);
  expect(lastOf(first, "plain")?.revisions).toEqual([]);
  // Few enough to be told all, each standing for itself; windows end between them.
  const samples = first.reports.flatMap((report) => report.samples).filter(({ service }) => service === "split");
  expect(samples.reduce((sum, { weight }) => sum + weight, 0)).toBe(6);
  expect(samples.filter(({ revision }) => revision === 5n)).toMatchObject([
    { environment: "default", route: "/split", method: "GET", status: 200, entrance: Entrance.GATEWAY },
  ]);

  expect(await slow).toBe("old");
  await waitFor(() => lastOf(first, "plain")?.load?.inFlight === 0, { describe: "its end" });
  const elapsedMs = performance.now() - begun;
  const { load } = lastOf(first, "plain") as mesh.ServiceTraffic;
  expect(load?.busyMs).toBeGreaterThan(2_490);
  expect(load?.busyMs).toBeLessThanOrEqual(elapsedMs);
  // One for each second in which something ran, the first one and the last one.
  const told = first.reports.filter(({ traffic }) => traffic.some(({ service }) => service === "plain"));
  expect(told.length).toBeGreaterThanOrEqual(3);
  expect(told.length).toBeLessThanOrEqual(elapsedMs / 950 + 2);

  await first[Symbol.asyncDispose]();
  const second = stack.use(await startSnapshotServer(installation.paths, picture));
  await waitFor(() => lastOf(second, "split") !== undefined, {
    describe: "the counts of before, told to the next server",
  });
  expect(lastOf(second, "split")).toMatchObject({
    load: { requests: 6n },
    revisions: [{ revision: 4n }, { revision: 5n }],
  });
  expect(lastOf(second, "plain")).toMatchObject({ load });
  expect(lastOf(second, "unused")).toBeUndefined();
});
