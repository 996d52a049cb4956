import { expect, test } from "vitest";
import { planned, policy } from "../testing/rollout-fixtures.ts";
import type { EffectScene } from "./effect-scene.ts";
import { proveOutcome } from "./prove-outcome.ts";

test("fewer replicas than are wanted are no success, however well they serve", async () => {
  const state = { ...planned("restart"), policy: policy({ wanted: 2 }) };
  const effect = { kind: "prove", ids: [], until: 0, stepId: "9-prove", startedAt: 0, title: "Checking" };
  const scene = { state, effect, signal: AbortSignal.timeout(5000) } as unknown as EffectScene;
  await expect(proveOutcome(scene)).rejects.toMatchObject({
    failure: { reason: "0 of 2 replicas are there to serve revision 2." },
  });
});
