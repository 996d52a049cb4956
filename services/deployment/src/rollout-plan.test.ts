import { describe, expect, test } from "vitest";
import { belongsTo, nextStep, type PlannedReplica, type RolloutTarget } from "./rollout-plan.ts";

const replica = (id: string, revision: bigint, phase: PlannedReplica["phase"], rolloutId = "r"): PlannedReplica => ({
  id,
  revision,
  phase,
  rolloutId,
});
const target = (revision: bigint, wanted: number, more: Partial<RolloutTarget> = {}): RolloutTarget => ({
  revision,
  wanted,
  batch: 1,
  ...more,
});

describe("the next step", () => {
  test("starts all replicas at once where nothing serves, and a batch where something does", () => {
    expect(nextStep([], target(1n, 3))).toEqual({ kind: "start", count: 3 });
    const old = [replica("a", 1n, "active"), replica("b", 1n, "active")];
    expect(nextStep(old, target(2n, 2))).toEqual({ kind: "start", count: 1 });
  });

  test("gives traffic to new replicas in the moment it takes it from as many old ones", () => {
    const now = [replica("a", 1n, "active"), replica("b", 1n, "active"), replica("c", 2n, "starting")];
    expect(nextStep(now, target(2n, 2))).toEqual({ kind: "shift", ids: ["c"], replaces: ["a"] });
  });

  test("drains before it starts more", () => {
    const now = [replica("a", 1n, "draining"), replica("b", 1n, "active"), replica("c", 2n, "active")];
    expect(nextStep(now, target(2n, 2))).toEqual({ kind: "drain", ids: ["a"] });
  });

  test("ends new replicas that never had traffic when it goes back", () => {
    const now = [replica("a", 1n, "active"), replica("c", 2n, "starting")];
    expect(nextStep(now, target(1n, 1))).toEqual({ kind: "abandon", ids: ["c"] });
  });

  test("replaces replicas of the same revision when it restarts", () => {
    const now = [replica("a", 1n, "active", "before")];
    expect(nextStep(now, target(1n, 1, { onlyRollout: "now" }))).toEqual({ kind: "start", count: 1 });
  });

  test("takes traffic from what is too much, and is done when nothing is", () => {
    const now = [replica("a", 1n, "active"), replica("b", 1n, "active")];
    expect(nextStep(now, target(1n, 1))).toEqual({ kind: "retire", ids: ["a"] });
    expect(nextStep(now, target(1n, 2))).toEqual({ kind: "done" });
    expect(nextStep([], target(1n, 0))).toEqual({ kind: "done" });
  });
});

/** A small generator of the same numbers for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface World {
  replicas: PlannedReplica[];
  started: number;
}

/** What a step leaves on record; a crash may come after any part of it, and the next plan starts from there. */
function perform(world: World, wish: RolloutTarget, rolloutId: string, random: () => number): boolean {
  const step = nextStep(world.replicas, wish);
  const set = (ids: string[], phase: PlannedReplica["phase"]) => {
    for (const one of world.replicas) if (ids.includes(one.id)) one.phase = phase;
  };
  const remove = (ids: string[]) => {
    const gone = ids.filter(() => random() < 0.8);
    world.replicas = world.replicas.filter(({ id }) => !gone.includes(id));
  };
  switch (step.kind) {
    case "start":
      for (let n = 0; n < step.count && random() < 0.9; n += 1) {
        world.started += 1;
        world.replicas.push(replica(`n${world.started}`, wish.revision, "starting", rolloutId));
      }
      break;
    case "shift":
      if (random() < 0.1) break;
      set(step.ids, "active");
      set(step.replaces, "draining");
      break;
    case "retire":
      set(step.ids, "draining");
      break;
    case "drain":
    case "abandon":
      remove(step.ids);
      break;
    case "done":
      return true;
  }
  return false;
}

const serving = (world: World) => world.replicas.filter(({ phase }) => phase === "active").length;

test("whatever crashes in between, a rollout reaches its target, never serves with too few, and may turn back at any time", () => {
  for (let seed = 1; seed <= 2000; seed += 1) {
    const random = randomOf(seed);
    const before = Math.floor(random() * 5);
    const wanted = Math.floor(random() * 5);
    const world: World = {
      replicas: Array.from({ length: before }, (_, n) => replica(`o${n}`, 1n, "active", "old")),
      started: 0,
    };
    const batch = 1 + Math.floor(random() * 3);
    const onward = target(2n, wanted, { batch });
    const back = target(1n, before, { batch });
    const turnsBackAt = random() < 0.5 ? Math.floor(random() * 12) : Number.POSITIVE_INFINITY;
    let steps = 0;
    let done = false;
    while (!done) {
      steps += 1;
      const wish = steps > turnsBackAt ? back : onward;
      const servedBefore = serving(world);
      done = perform(world, wish, "now", random);
      expect(serving(world), `seed ${seed}, step ${steps}`).toBeGreaterThanOrEqual(Math.min(servedBefore, wish.wanted));
      expect(steps, `seed ${seed} ends`).toBeLessThan(200);
    }
    const wish = steps > turnsBackAt ? back : onward;
    expect(
      world.replicas.every((one) => belongsTo(wish, one) && one.phase === "active"),
      `seed ${seed}`,
    ).toBe(true);
    expect(world.replicas.length).toBe(wish.wanted);
  }
});
