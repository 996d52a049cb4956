import { isThorough } from "@hms/testkit";
import { expect, test } from "vitest";
import { openCrashArena } from "./testing/crash-arena.ts";
import { brokenInvariants } from "./testing/invariants.ts";
import { playRandomCrashes } from "./testing/random-crashes.ts";

test("random graphs on workers that are killed at random end as the reference scheduler says", async () => {
  await using arena = await openCrashArena();
  let lost = 0;
  // A quick machine may be through with two hundred before a kill hits anything: then these showed nothing.
  for (let round = 0; round < 10 && lost === 0; round += 1) {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const played = await playRandomCrashes(arena, { runs: isThorough ? 2000 : 200, seed, databaseEvery: 5 });
    expect(played.broken, `seed ${seed}`).toEqual([]);
    lost += played.lost;
  }
  expect(lost, "nothing was lost: nothing was tested").toBeGreaterThan(0);
  expect(await brokenInvariants(arena.durable.database)).toEqual([]);
}, 300_000);
