import { expect, test } from "vitest";
import { openCrashArena } from "../../packages/durable/src/testing/crash-arena.ts";
import { brokenInvariants } from "../../packages/durable/src/testing/invariants.ts";
import { playRandomCrashes } from "../../packages/durable/src/testing/random-crashes.ts";

const RUNS = Number(process.env.HMS_SOAK_RUNS ?? 10_000);
const OPEN = 400;

test("ten thousand random graphs, workers and the database killed at random: every run ends as the reference scheduler says", async () => {
  await using arena = await openCrashArena();
  const seed = Number(process.env.HMS_SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31));
  // Most runs wait for the leases of killed workers at any moment, many side by side; and a new worker needs seconds to come.
  const options = { runs: RUNS, seed, databaseEvery: 10, open: OPEN, killEveryMs: 4000 };
  const { broken, ...counts } = await playRandomCrashes(arena, options);
  console.log(JSON.stringify({ seed, ...counts }));
  expect(broken, `seed ${seed}`).toEqual([]);
  expect(await brokenInvariants(arena.durable.database)).toEqual([]);
});
