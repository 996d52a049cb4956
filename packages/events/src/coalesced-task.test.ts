import { expect, test } from "vitest";
import { CoalescedTask } from "./coalesced-task.ts";

test("a coalesced task runs at once, then once for all that was asked during its pause", async () => {
  const runs: number[] = [];
  const second = Promise.withResolvers<void>();
  await using task = new CoalescedTask(async () => {
    runs.push(performance.now());
    if (runs.length === 2) second.resolve();
  }, 30);
  task.request();
  expect(runs).toHaveLength(1);
  for (let n = 0; n < 100; n += 1) task.request();
  await second.promise;
  expect(runs).toHaveLength(2);
  // Timers may fire up to a millisecond early.
  expect((runs[1] ?? 0) - (runs[0] ?? 0)).toBeGreaterThan(28);
});

test("a coalesced task goes on after a failure, and does nothing once it is closed", async () => {
  let runs = 0;
  const second = Promise.withResolvers<void>();
  const task = new CoalescedTask(async () => {
    runs += 1;
    if (runs === 1) throw new Error("failed");
    second.resolve();
  }, 1);
  task.request();
  task.request();
  await second.promise;
  await task[Symbol.asyncDispose]();
  task.request();
  expect(runs).toBe(2);
});
