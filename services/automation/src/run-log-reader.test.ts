import { create } from "@bufbuild/protobuf";
import { automationRuns } from "@hms/contracts";
import type { RunProgress, RunView } from "@hms/durable";
import type { CallContext } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { RunFollower } from "./run-follower.ts";
import { readLogs } from "./run-log-reader.ts";

/** A run that says nothing. */
function quietRun(progress: () => RunProgress) {
  const seen = { pages: 0, waiting: 0, mostWaiting: 0 };
  const follower = new RunFollower({ progress: async () => [progress()] });
  const follow: RunFollower["follow"] = (runId) => {
    const followed = follower.follow(runId);
    return {
      next: async (...asked) => {
        seen.waiting += 1;
        seen.mostWaiting = Math.max(seen.mostWaiting, seen.waiting);
        try {
          return await followed.next(...asked);
        } finally {
          seen.waiting -= 1;
        }
      },
      [Symbol.dispose]: () => followed[Symbol.dispose](),
    };
  };
  const runLogs = async () => {
    seen.pages += 1;
    return [];
  };
  const call = new AbortController();
  const source = { durable: { logs: runLogs, runLogs }, follower: { follow }, untilEnd: () => call.signal };
  const request = create(automationRuns.ReadRunLogsRequestSchema, { runId: "r", follow: true });
  const more = { context: {} as CallContext, read: async () => ({}) as RunView };
  return { seen, follower, call, pieces: readLogs(source, request, more) };
}

const running: RunProgress = { id: "r", lastSeq: 1, hasEnded: false, running: [] };

test("whoever follows the log of a quiet run waits for one change of it at a time, and for none any more at the end", async () => {
  let now = running;
  const { seen, follower, pieces } = quietRun(() => now);
  await using _follower = follower;
  const end = pieces.next();
  await waitFor(() => seen.pages > 5, { describe: () => `the log to be looked at again; so far ${seen.pages} times` });
  expect(seen.mostWaiting).toBe(1);
  now = { ...running, lastSeq: 2, hasEnded: true };
  expect(await end).toMatchObject({ done: true });
  expect(seen.waiting).toBe(0);
});

test("whoever does not follow it any more waits for nothing", async () => {
  const { seen, follower, call, pieces } = quietRun(() => running);
  await using _follower = follower;
  const end = pieces.next();
  await waitFor(() => seen.pages > 2, { describe: "the log to be looked at again" });
  call.abort(new Error("gone"));
  await expect(end).rejects.toThrow("gone");
  await waitFor(() => seen.waiting === 0, { describe: "nobody to wait" });
});

test("who ends following a run waits for it no longer", async () => {
  await using follower = new RunFollower({ progress: async () => [running] });
  const followed = follower.follow("r");
  const { signal } = new AbortController();
  const known = await followed.next(signal);
  const next = followed.next(signal, known);
  followed[Symbol.dispose]();
  await expect(next).rejects.toMatchObject({ name: "AbortError" });
});
