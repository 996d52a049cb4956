import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import {
  type CrashArena,
  openCrashArena,
  orderBroken,
  unexplainedRepeats,
  victims,
  writePoints,
} from "../../packages/events/src/testing/crash-arena.ts";

/** How many processes are killed. */
const KILLS = Number(process.env.HMS_SOAK_ROUNDS ?? 200);
const MOST_EVENTS_BETWEEN = 3000;

test(`${KILLS} times kill -9 while events flow: nothing acknowledged is lost, no position is missing, keys keep their order`, async () => {
  await using arena = await openCrashArena();
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const victim = victims[Math.floor(Math.random() * victims.length)] ?? "postgres";
    const enough = arena.handled.length + Math.floor(Math.random() * MOST_EVENTS_BETWEEN);
    await waitFor(() => arena.handled.length >= enough, {
      deadlineMs: 60_000,
      intervalMs: 1,
      describe: () => `events to flow before kill ${kill}, of ${victim}; failures: ${arena.failures.join(" · ")}`,
    });
    console.log(`kill ${kill}: ${victim}, after ${arena.handled.length} handlings`);
    await arena.kill(victim);
  }
  await isWhole(arena);
});

/** How often everything is killed at each table that it writes. */
const ROUNDS_AT_WRITES = Math.max(1, Math.round(KILLS / 50));

test("killed while it waits to write outbox, log, head, cursors or leases: nothing acknowledged is lost or skipped", async () => {
  await using arena = await openCrashArena();
  for (let round = 1; round <= ROUNDS_AT_WRITES; round += 1) {
    for (const point of writePoints) {
      const enough = arena.handled.length + 200;
      await waitFor(() => arena.handled.length >= enough, {
        deadlineMs: 60_000,
        describe: () => `events to flow before ${point.join(" at ")}; failures: ${arena.failures.join(" · ")}`,
      });
      console.log(`round ${round}: ${point.join(" at ")}, after ${arena.handled.length} handlings`);
      await arena.killAt(point);
    }
  }
  await isWhole(arena);
});

/** Expects that all that is acknowledged is in the log once and in order, and has been handled. */
async function isWhole(arena: CrashArena): Promise<void> {
  await arena.settle();
  const log = await arena.readLog();
  console.log(`${log.length} events, ${arena.handled.length} handlings by two groups`);
  expect(log.every(({ position }, index) => position === index + 1)).toBe(true);
  expect(new Set(log.map(({ event_id }) => event_id)).size).toBe(log.length);
  expect(orderBroken(arena.handled)).toEqual([]);
  expect(unexplainedRepeats(arena)).toEqual([]);
  expect(arena.failures).toEqual([]);
}
