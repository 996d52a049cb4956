import { setImmediate as nextTurn } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { parseManifest } from "@hms/manifest";
import { expect, test } from "vitest";
import type { EffectScene } from "../effects/effect-scene.ts";
import { planned } from "../testing/rollout-fixtures.ts";
import { type Gate, gatesOf } from "./gate.ts";
import { GateWatch } from "./gate-watch.ts";

const manifest = parseManifest(
  `name: a
version: "1"
run: {command: ./a}
gates:
  - {exec: ./smoke, name: smoke, at: traffic}
  - {metric: error_rate, max: 1%}`,
  { fileName: "/a/a.hms.yml" },
);
const [smoke, errors] = gatesOf(manifest).map((gate) => ({ ...gate, everyMs: 5 })) as [Gate, Gate];

/** A replica whose programs end well, unless one of the parts around it does something else. */
function sceneWith(
  parts: { access?: () => Promise<object>; getTraffic?: EffectScene["parts"]["mesh"]["getTraffic"] },
  say: (message: string) => void = () => {},
): EffectScene {
  const state = planned("deploy");
  const revision = { revision: 2, manifest, releaseDigest: "sha256:00", secrets: {} };
  return {
    parts: {
      observed: { get: () => ({ port: 1 }) },
      health: { of: () => ({}) },
      traffic: { access: parts.access ?? (async () => ({})) },
      vault: { of: async () => ({}) },
      mesh: { getTraffic: parts.getTraffic },
      book: { get: () => ({ revisions: new Map([[2, revision]]) }) },
      runtime: {
        async *runTask() {
          yield { event: { case: "exit", value: { code: 0 } } };
        },
        async *readLogs() {},
      },
    },
    state,
    effect: {
      kind: "hold",
      ids: ["default/a/2/1-new"],
      until: Date.now() + 60_000,
      stepId: "1",
      startedAt: 0,
      title: "",
    },
    signal: new AbortController().signal,
    say,
    output() {},
  } as unknown as EffectScene;
}

const refusal = (watch: GateWatch) =>
  watch.refuse().then(
    () => "",
    (error: Error) => error.message,
  );

test("a program that cannot be run any more fails its gate, though it passed before", async () => {
  let asked = 0;
  const access = async () => {
    asked += 1;
    if (asked > 1) throw new HmsError("NOT_FOUND", "There is no such environment.");
    return {};
  };
  const said: string[] = [];
  const scene = sceneWith({ access }, (message) => said.push(message));
  await using watch = new GateWatch(scene, [smoke], "all the time");
  await expect.poll(() => refusal(watch)).toBe('Gate "smoke" failed: There is no such environment.');
  expect(said[0]).toBe('Gate "smoke" passes: exit code 0');
});

test("a mesh that is away for a moment is waited for", async () => {
  let asked = 0;
  const access = async () => {
    asked += 1;
    if (asked === 1) throw new HmsError("UNAVAILABLE", "It restarts.");
    return {};
  };
  await using watch = new GateWatch(sceneWith({ access }), [smoke], "until they pass");
  expect(await watch.settled()).toEqual({});
});

test("a mesh that stays away is no finding about the service", async () => {
  const access = () => Promise.reject(new HmsError("UNAVAILABLE", "It is away."));
  const said: string[] = [];
  const scene = sceneWith({ access }, (message) => said.push(message));
  await using watch = new GateWatch(scene, [{ ...smoke, timeoutMs: 100, inconclusive: "pass" }], "all the time");
  await expect.poll(() => said[0]).toContain("the mesh does not answer: It is away.");
  expect(await refusal(watch)).toBeFalsy();
});

test("whatever else ends the asking ends the step, too", async () => {
  const scene = sceneWith({}, () => {
    throw new Error("a defect");
  });
  await using watch = new GateWatch(scene, [smoke], "all the time");
  await expect.poll(() => refusal(watch)).toBe("a defect");
});

test("a watch that ends before the mesh has told its counts leaves nothing behind", async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    const getTraffic = (_: unknown, { signal }: { signal?: AbortSignal | undefined } = {}) =>
      new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    const watch = new GateWatch(sceneWith({ getTraffic }), [{ ...errors, everyMs: 60_000 }], "all the time");
    await watch[Symbol.asyncDispose]();
    await nextTurn();
    await nextTurn();
    expect(unhandled).toEqual([]);
  } finally {
    process.off("unhandledRejection", note);
  }
});
