import { afterAll, expect, test } from "vitest";
import { deploymentHost, openSite } from "./testing/test-site.ts";

afterAll(() => deploymentHost[Symbol.asyncDispose]());

const SAME = "use the release of the current revision again: the program is the same";

test("a plan compares the program with the current revision's, and judges by what really serves", async () => {
  await using site = await openSite();
  const first = await site.client.plan(site.program.write({ version: "1" }));
  expect(first).toMatchObject({ currentRevision: 0n, zeroDowntime: true });
  expect(first.program).toBeUndefined();
  await site.deploy({ version: "1" });

  const same = await site.client.plan(site.program.write({ version: "1" }));
  expect(same).toMatchObject({ currentRevision: 1n, changes: [], zeroDowntime: true });
  expect(same.steps).toContain(SAME);
  expect(same.program?.digestAfter).toBe(same.program?.digestBefore);

  // The same manifest with another program is a change.
  const other = await site.client.plan(site.program.write({ version: "1", before: "// another program" }));
  expect(other.changes).toEqual([]);
  expect(other.program?.digestAfter).not.toBe(other.program?.digestBefore);
  expect(other.steps).not.toContain(SAME);

  const cutting = site.program.write({ version: "1", manifest: "rollout: {drain_timeout: 0s}" });
  const verdict = await site.client.plan(cutting);
  expect(verdict.zeroDowntime).toBe(false);
  expect(verdict.zeroDowntimeReasons.join(" ")).toContain("rollout.drain_timeout is 0 s");
  expect(verdict.warnings).toEqual([expect.stringMatching(/^Everybody may call \/.*: the route does not say auth\./)]);
});
