import { isThorough } from "@hms/testkit";
import { expect, test } from "vitest";
import { openCrashArena } from "./testing/crash-arena.ts";
import { brokenInvariants } from "./testing/invariants.ts";
import { playRandomCrashes } from "./testing/random-crashes.ts";

test("random graphs on workers that are killed at random end as the reference scheduler says", async () => {
  await using arena = await openCrashArena();
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { broken, lost } = await playRandomCrashes(arena, { runs: isThorough ? 2000 : 200, seed, databaseEvery: 5 });
  expect(broken, `seed ${seed}`).toEqual([]);
  expect(lost, "nothing was lost: nothing was tested").toBeGreaterThan(0);
  expect(await brokenInvariants(arena.durable.database)).toEqual([]);
}, 300_000);
