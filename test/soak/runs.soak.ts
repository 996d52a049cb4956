import { expect, test } from "vitest";
import { openCrashArena } from "../../packages/durable/src/testing/crash-arena.ts";
import { brokenInvariants } from "../../packages/durable/src/testing/invariants.ts";
import { playRandomCrashes } from "../../packages/durable/src/testing/random-crashes.ts";

const RUNS = Number(process.env.HMS_SOAK_RUNS ?? 10_000);

test("ten thousand random graphs, workers and the database killed at random: every run ends as the reference scheduler says", async () => {
  await using arena = await openCrashArena();
  const seed = Number(process.env.HMS_SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31));
  const { broken, ...counts } = await playRandomCrashes(arena, { runs: RUNS, seed, databaseEvery: 10 });
  console.log(JSON.stringify({ seed, ...counts }));
  expect(broken, `seed ${seed}`).toEqual([]);
  expect(await brokenInvariants(arena.durable.database)).toEqual([]);
});
