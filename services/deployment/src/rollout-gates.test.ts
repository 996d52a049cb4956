import { describe, expect, test } from "vitest";
import { transition } from "./rollout-machine.ts";
import type { RolloutInput } from "./rollout-state.ts";
import { canary, oldReplicas, planned, policy, success } from "./testing/rollout-fixtures.ts";
import { walk } from "./testing/rollout-walk.ts";

describe("gates", () => {
  const start = { gates: { startLimitMs: 20_000 } };
  const traffic = { gates: { windowMs: 60_000 } };
  const kinds = ({ done }: ReturnType<typeof walk>) => done.map((entry) => entry.split(" ")[0]).join(" ");

  test("at the start are asked about each batch between its health and its first request", () => {
    const { done, titles } = walk({ policy: start });
    expect(done.slice(1, 5)).toEqual(["start 2/1", "verify 2/1", "gate 2/1", "shift 2/1"]);
    expect(done.filter((entry) => entry.startsWith("gate"))).toEqual(["gate 2/1", "gate 2/2"]);
    expect(titles).toContain("✓ Replica 1/2 passed the gates");
  });

  test("at the start that fail leave the traffic where it was", () => {
    const { state, done } = walk({ policy: start, failing: ["gate:1"] });
    expect(done.some((entry) => entry.startsWith("shift"))).toBe(false);
    expect(state).toMatchObject({ phase: "rolled_back", failure: { reason: "gate failed." } });
  });

  test("that cannot tell hold the rollout where it is, until they pass", () => {
    const walked = walk({ policy: start, undecided: ["gate:1"] });
    expect(walked.done.slice(3, 6)).toEqual(["gate 2/1", "hold 2/1", "shift 2/1"]);
    expect(walked.titles).toContain("✓ The gates cannot tell yet: smoke (YELLOW)");
    expect(walked.state.phase).toBe("succeeded");
    expect(walk({ policy: start, undecided: ["gate:1"], failing: ["hold:1"] }).state.phase).toBe("rolled_back");
  });

  test("that cannot tell are overruled by a person, and by nobody else", () => {
    const { state, done } = walk({ policy: start, undecided: ["gate:1"], asks: { "hold:1": "promote" } });
    expect(done.slice(3, 6)).toEqual(["gate 2/1", "hold 2/1", "shift 2/1"]);
    expect(state.phase).toBe("succeeded");
  });

  test("under traffic watch each batch of a rolling update before the old ones leave", () => {
    expect(kinds(walk({ policy: traffic }))).toContain("shift bake hold drain stop start verify shift bake hold drain");
    expect(walk({ policy: traffic, failing: ["hold:2"] }).state.phase).toBe("rolled_back");
  });

  test("under traffic watch steps of a canary that say no time, and the time after the last one", () => {
    const steps = [
      { share: 100, holdMs: 0 },
      { share: 10_000, holdMs: 0 },
    ];
    const sideBySide = { steps, whole: false, warmMs: 0 };
    expect(kinds(walk({ policy: { sideBySide } }))).not.toContain("hold");
    expect(kinds(walk({ policy: { sideBySide, ...traffic } }))).toMatch(/shift bake hold .*shift bake warm drain/);
    const undone = walk({ policy: { sideBySide, ...traffic }, failing: ["warm:1"] });
    expect(undone.state.phase).toBe("rolled_back");
    expect(undone.done.some((entry) => /^start 1/.test(entry))).toBe(false);
  });

  test("that cannot tell at a step go on with that step when promoted, and all the way when promoted in full", () => {
    const policy = { sideBySide: canary, ...traffic, wanted: 2 };
    const one = walk({ policy, undecided: ["hold:1"], asks: { "hold:2": "promote" } });
    expect(one.done.filter((entry) => entry.startsWith("hold"))).toHaveLength(3);
    const full = walk({ policy, undecided: ["hold:1"], asks: { "hold:2": "promote full" } });
    expect(full.done.filter((entry) => entry.startsWith("hold"))).toHaveLength(2);
    for (const { state } of [one, full]) expect(state.phase).toBe("succeeded");
  });

  test("are not asked about a fix for what is broken, nor beside nothing", () => {
    const both = { gates: { ...start.gates, ...traffic.gates } };
    expect(kinds(walk({ oldReady: 0, policy: both }))).not.toMatch(/gate|hold/);
    const first = kinds(walk({ old: 0, policy: both }));
    expect(first).toContain("verify gate shift");
    expect(first).not.toContain("hold");
  });

  test("watch anew after a restart: what was seen of a hold is gone with who watched", () => {
    const existing = oldReplicas(1);
    const grant = { revision: 2, previousRevision: 1, trafficRevision: 1, existing };
    const ready = new Set(existing.map(({ id }) => id));
    let state = planned("deploy");
    let input: RolloutInput = { type: "locked", grant: { ...grant, policy: policy({ wanted: 1, ...traffic }) } };
    while (state.doing?.kind !== "hold") {
      state = transition(state, input, { now: 1000, ready }).state;
      if (state.doing) input = success(state.doing);
    }
    expect(state.doing.until).toBe(61_000);
    const later = transition(state, { type: "resumed", awayMs: 5000, why: "" }, { now: 50_000, ready }).state;
    expect(later.doing).toMatchObject({ kind: "hold", until: 110_000 });
  });
});
