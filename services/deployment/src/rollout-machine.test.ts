import { describe, expect, test } from "vitest";
import { transition } from "./rollout-machine.ts";
import type { RolloutInput } from "./rollout-state.ts";
import { hasEnded } from "./rollout-state.ts";
import { blueGreen, canary, oldReplicas, planned, policy, success } from "./testing/rollout-fixtures.ts";
import { short, walk } from "./testing/rollout-walk.ts";

describe("a deploy", () => {
  test("of the first revision starts all replicas, registers them, and says what happened", () => {
    const { state, done, titles } = walk({ old: 0 });
    expect(done).toEqual([
      "prepare",
      "start 2/1 2/2",
      "verify 2/1 2/2",
      "shift 2/1 2/2",
      "bake 2/1 2/2",
      "prove 2/1 2/2",
    ]);
    expect(titles).toEqual([
      "✓ Release prepared (12 files, sha256:abababab…)",
      "✓ Replicas 1 and 2 of 2 started",
      "✓ Replicas 1 and 2 of 2 healthy",
      "✓ Registered in service mesh",
      "✓ Replicas 1 and 2 of 2 healthy under traffic",
      "✓ Revision 2 serves (2/2 replicas, sha256:abababab…)",
    ]);
    expect(state).toMatchObject({ phase: "succeeded", trafficRevision: 2 });
  });

  test("replaces one by one: new in, confirmed, then as many old ones out", () => {
    const { done } = walk({});
    const turn = (n: number, old: number) => [
      `start 2/${n}`,
      `verify 2/${n}`,
      `shift 2/${n}`,
      `bake 2/${n}`,
      `drain 1/${old}`,
      `stop 1/${old}`,
    ];
    expect(done).toEqual(["prepare", ...turn(1, 2), ...turn(2, 1), "prove 2/1 2/2"]);
  });

  test("lets the new revision's routes apply once no old replica gets requests", () => {
    const seen: string[] = [];
    let state = planned("deploy");
    const existing = oldReplicas(1);
    const grant = { revision: 2, previousRevision: 1, trafficRevision: 1, policy: policy({ wanted: 1 }), existing };
    let input: RolloutInput = { type: "locked", grant };
    while (!hasEnded(state)) {
      state = transition(state, input, { now: 0, ready: new Set(existing.map(({ id }) => id)) }).state;
      if (state.doing) {
        seen.push(`${state.doing.kind} ${state.trafficRevision}`);
        input = success(state.doing);
      }
    }
    expect(seen.filter((entry) => /shift|drain/.test(entry))).toEqual(["shift 1", "drain 2"]);
  });

  test("runs the release command once, before anything starts", () => {
    const { done } = walk({ policy: { runsReleaseCommand: true } });
    expect(done.slice(0, 3)).toEqual(["prepare", "release", "start 2/1"]);
    expect(done.filter((entry) => entry === "release")).toHaveLength(1);
  });

  test("whose release command fails has touched nothing", () => {
    const { state, done } = walk({ policy: { runsReleaseCommand: true }, failing: ["release:1"] });
    expect(done).toEqual(["prepare", "release"]);
    expect(state.phase).toBe("rolled_back");
  });

  test("whose first replica does not become healthy stops it and never shifts traffic", () => {
    const { state, done } = walk({ failing: ["verify:1"] });
    expect(done).toEqual(["prepare", "start 2/1", "verify 2/1", "stop 2/1"]);
    expect(state).toMatchObject({ phase: "rolled_back", failure: { reason: "verify failed." } });
    expect(state.replicas.map(({ id }) => short(id))).toEqual(["1/1", "1/2"]);
  });

  test("that fails halfway brings the old replicas back before the new ones leave", () => {
    const { state, done } = walk({ failing: ["verify:2"] });
    expect(done.slice(done.indexOf("verify 2/2"))).toEqual([
      "verify 2/2",
      "start 1/2",
      "verify 1/2",
      "shift 1/1 1/2",
      "drain 2/1",
      "stop 2/1",
      "stop 2/2",
    ]);
    expect(state.phase).toBe("rolled_back");
    expect(state.trafficRevision).toBe(1);
  });

  test("that cannot be undone ends failed and leaves what serves alone", () => {
    const { state } = walk({ failing: ["verify:2", "verify:3"] });
    expect(state.phase).toBe("failed");
    const serving = state.replicas.filter(({ traffic, phase }) => traffic === "active" && phase === "running");
    expect(serving.map(({ id }) => short(id)).sort()).toEqual(["1/1", "1/2", "2/1"]);
    expect(state.failure?.reason).toContain("Undoing it failed too");
  });

  test("over a revision without a healthy replica goes direct: all at once, nothing to be careful with", () => {
    const { state, done } = walk({ old: 3, oldReady: 0, policy: { wanted: 3 } });
    expect(done.slice(1, 3)).toEqual(["start 2/1 2/2 2/3", "verify 2/1 2/2 2/3"]);
    expect(state).toMatchObject({ direct: true, phase: "succeeded" });
  });

  test("that was the first one and fails leaves nothing behind, also not in the mesh", () => {
    const early = walk({ old: 0, failing: ["verify:1"] });
    expect(early.done.at(-1)).toBe("stop 2/1 2/2");
    const late = walk({ old: 0, failing: ["bake:1"] });
    expect(late.done.slice(-4)).toEqual(["shift", "drain 2/1 2/2", "stop 2/1 2/2", "unregister"]);
    for (const { state } of [early, late]) expect(state).toMatchObject({ phase: "rolled_back", replicas: [] });
  });

  test("to more replicas uses the room, to fewer never goes below what is wanted", () => {
    expect(walk({ old: 2, policy: { wanted: 4 } }).done.slice(1, 2)).toEqual(["start 2/1 2/2 2/3"]);
    const fewer = walk({ old: 4, policy: { wanted: 2 } });
    expect(fewer.done.filter((entry) => entry.startsWith("drain"))).toEqual(
      ["drain 1/4", "drain 1/3 1/2 1/1"].map(sorted),
    );
    expect(fewer.state.phase).toBe("succeeded");
  });
});

describe("both versions side by side", () => {
  const four = { wanted: 4, sideBySide: canary };

  test("a canary starts what each share needs, holds it, and lets the old ones go at the end only", () => {
    const { state, done, titles } = walk({ old: 4, policy: four });
    expect(done).toEqual([
      "prepare",
      ...["start 2/1", "verify 2/1", "shift 2/1", "bake 2/1", "hold 2/1"],
      ...["start 2/2", "verify 2/2", "shift 2/1 2/2", "bake 2/1 2/2", "hold 2/1 2/2"],
      ...["start 2/3 2/4", "verify 2/3 2/4", "shift 2/1 2/2 2/3 2/4", "bake 2/1 2/2 2/3 2/4"],
      ...["drain 1/1 1/2 1/3 1/4", "stop 1/1 1/2 1/3 1/4", "prove 2/1 2/2 2/3 2/4"],
    ]);
    expect(titles).toContain("✓ Revision 2 gets 1 % of the traffic");
    expect(state).toMatchObject({ phase: "succeeded", trafficRevision: 2 });
    expect(state.split).toBeUndefined();
  });

  test("a canary that fails gives its share back at once: nothing of the old has to start", () => {
    const { state, done } = walk({ old: 4, policy: four, failing: ["hold:2"] });
    expect(done.slice(done.lastIndexOf("hold 2/1 2/2") + 1)).toEqual([
      "shift 1/1 1/2 1/3 1/4",
      "drain 2/1 2/2",
      "stop 2/1 2/2",
    ]);
    expect(state).toMatchObject({ phase: "rolled_back", trafficRevision: 1 });
    expect(state.split).toBeUndefined();
  });

  test("blue-green has the whole set ready behind the preview, switches when promoted, and keeps the old one warm", () => {
    const { state, done, titles } = walk({ policy: { sideBySide: blueGreen }, asks: { "hold:1": "promote" } });
    expect(done).toEqual([
      "prepare",
      ...["start 2/1 2/2", "verify 2/1 2/2", "shift 2/1 2/2", "bake 2/1 2/2", "hold 2/1 2/2"],
      ...["shift 2/1 2/2", "bake 2/1 2/2", "warm 2/1 2/2"],
      ...["drain 1/1 1/2", "stop 1/1 1/2", "prove 2/1 2/2"],
    ]);
    expect(titles).toContain("✓ Preview open");
    expect(state.phase).toBe("succeeded");
  });

  test("aborting in the warm window is a change of traffic only", () => {
    const { state, done } = walk({
      policy: { sideBySide: blueGreen },
      asks: { "hold:1": "promote", "warm:1": "abort" },
    });
    expect(done.slice(done.indexOf("warm 2/1 2/2") + 1)).toEqual(["shift 1/1 1/2", "drain 2/1 2/2", "stop 2/1 2/2"]);
    expect(state).toMatchObject({ phase: "rolled_back", failure: { reason: "Aborted by anna." } });
  });

  test.each(["hold:1", "start:1", "verify:1", "shift:1", "bake:1"])(
    "a full promotion during %s skips what is left",
    (when) => {
      const { state, done } = walk({ old: 4, policy: four, asks: { [when]: "promote full" } });
      const shares = done.filter((entry) => entry.startsWith("shift"));
      expect(shares.at(-1)).toBe("shift 2/1 2/2 2/3 2/4");
      expect(shares.length).toBeLessThan(3);
      expect(state.phase).toBe("succeeded");
    },
  );

  test.each([
    ["a canary", four],
    ["batches", { wanted: 4, surge: 1 }],
  ])("paused, %s finish what has begun and go on when resumed", (_, plan) => {
    const { state, done } = walk({ old: 4, policy: plan, asks: { "verify:1": "pause", "hold:1": "resume" } });
    expect(done.slice(0, 4)).toContain("verify 2/1");
    expect(done.filter((entry) => entry.startsWith("hold")).length).toBeGreaterThan(0);
    expect(state).toMatchObject({ phase: "succeeded", paused: false });
  });

  test("beside what serves badly, and beside nothing, nobody is careful", () => {
    const bad = walk({ old: 4, oldReady: 0, policy: four });
    expect(bad.done.slice(1, 3)).toEqual(["start 2/1 2/2 2/3 2/4", "verify 2/1 2/2 2/3 2/4"]);
    const first = walk({ old: 0, policy: four });
    expect(first.done.some((entry) => entry.startsWith("hold"))).toBe(false);
    for (const { state } of [bad, first]) expect(state.phase).toBe("succeeded");
  });
});

const sorted = (entry: string) => {
  const [word, ...rest] = entry.split(" ");
  return [word, ...rest.sort()].join(" ");
};

describe("the other kinds", () => {
  test("scale up adds, scale down drains and stops the youngest", () => {
    expect(walk({ kind: "scale", policy: { wanted: 4, release: "none" } }).done).toEqual([
      "start 1/3 1/4",
      "verify 1/3 1/4",
      "shift 1/3 1/4",
      "bake 1/3 1/4",
      "prove 1/1 1/2 1/3 1/4",
    ]);
    expect(walk({ kind: "scale", policy: { wanted: 1, release: "none" } }).done).toEqual([
      "drain 1/2",
      "stop 1/2",
      "prove 1/1",
    ]);
  });

  test("restart replaces every replica by one of the same revision", () => {
    const { state, done } = walk({ kind: "restart", policy: { release: "none" } });
    expect(done.filter((entry) => entry.startsWith("start"))).toEqual(["start 1/1", "start 1/2"]);
    expect(state.replicas.every(({ role, revision }) => role === "fresh" && revision === 1)).toBe(true);
  });

  test("stop drains and stops everything, remove also forgets it", () => {
    const nothing = { wanted: 0, release: "none" } as const;
    expect(walk({ kind: "stop", policy: nothing }).done).toEqual(["drain 1/1 1/2", "stop 1/1 1/2", "prove"]);
    const { done } = walk({ kind: "remove", policy: nothing });
    expect(done).toEqual(["drain 1/1 1/2", "stop 1/1 1/2", "unregister", "forget"]);
  });

  test("rollback only looks for its release before it starts", () => {
    const { titles, state } = walk({ kind: "rollback", revision: 2, policy: { release: "find" } });
    expect(titles[0]).toBe("✓ Release of revision 2 is there (sha256:abababab…)");
    expect(state.phase).toBe("succeeded");
  });
});
