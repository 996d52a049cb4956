import { create } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { expect, test } from "vitest";
import { planned, policy } from "../testing/rollout-fixtures.ts";
import type { EffectScene } from "./effect-scene.ts";
import { refuseEnding } from "./verify-replicas.ts";

const OLD = "default/a/1/1-old";
const NEW = "default/a/2/1-new";

/** A rollout whose new replica ends again and again, while the old one is waited for. */
function sceneIn(phase: "starting" | "reverting"): EffectScene {
  const replicas = [
    { id: OLD, role: "retiring", revision: 1 },
    { id: NEW, role: "fresh", revision: 2 },
  ];
  const observed = {
    get: (id: string) => (id === NEW ? { lastExit: create(agent.ExitStatusSchema, { code: 1 }) } : undefined),
    exits: (id: string) => (id === NEW ? 3 : 0),
  };
  const parts = {
    observed,
    book: { get: () => undefined },
    health: { of: () => ({ state: "unknown" }) },
    runtime: { async *readLogs() {} },
  };
  const state = { ...planned("deploy"), policy: policy({ wanted: 1 }), phase, replicas };
  const effect = { kind: "verify", ids: [OLD], until: Date.now() + 60_000, stepId: "1", startedAt: 0, title: "" };
  return { state, effect, parts, signal: AbortSignal.timeout(5000) } as unknown as EffectScene;
}

test("a new replica that keeps ending ends its rollout, but not the way back from it", async () => {
  await expect(refuseEnding(sceneIn("starting"))).rejects.toMatchObject({
    failure: { reason: expect.stringContaining("ended 3 times") },
  });
  await refuseEnding(sceneIn("reverting"));
});
