import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import {
  openCrashArena,
  orderBroken,
  unexplainedRepeats,
  victims,
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
  await arena.settle();
  const log = await arena.readLog();
  console.log(`${log.length} events, ${arena.handled.length} handlings by two groups`);
  expect(log.every(({ position }, index) => position === index + 1)).toBe(true);
  expect(new Set(log.map(({ event_id }) => event_id)).size).toBe(log.length);
  expect(orderBroken(arena.handled)).toEqual([]);
  expect(unexplainedRepeats(arena)).toEqual([]);
  expect(arena.failures).toEqual([]);
});
