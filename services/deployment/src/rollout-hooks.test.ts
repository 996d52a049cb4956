import { parseManifest } from "@hms/manifest";
import { describe, expect, test } from "vitest";
import { planDeploy } from "./deploy-plan.ts";
import { hookPlanOf } from "./rollout-hooks.ts";
import { transition } from "./rollout-machine.ts";
import { oldReplicas, planned, policy, success } from "./testing/rollout-fixtures.ts";
import { walk } from "./testing/rollout-walk.ts";

const hook = (name: string, ignored = false) => ({ name, timeoutMs: 5000, ignored });
const all = {
  hooks: {
    before_deploy: [hook("a"), hook("b")],
    before_traffic: [hook("c")],
    after_deploy: [hook("d", true)],
    on_failure: [hook("e", true), hook("f", true)],
  },
};
const kinds = ({ done }: ReturnType<typeof walk>) => done.map((entry) => entry.split(" ")[0]).join(" ");

describe("hooks", () => {
  test("run one after the other, each at its moment and once, however many batches there are", () => {
    const walked = walk({ policy: { ...all, runsReleaseCommand: true } });
    expect(kinds(walked)).toBe(
      "prepare hook hook release start verify hook shift bake drain stop start verify shift bake drain stop prove hook",
    );
    expect(walked.titles.filter((title) => title.includes("Hook"))).toEqual([
      "✓ Hook a done",
      "✓ Hook b done",
      "✓ Hook c done",
      "✓ Hook d done",
    ]);
    expect(walked.state).toMatchObject({ phase: "succeeded" });
  });

  test("that fail before traffic undo the rollout with their words, and those after a failure are told last", () => {
    const walked = walk({ policy: all, failing: ["hook:3"] });
    expect(kinds(walked)).toBe("prepare hook hook start verify hook stop hook hook");
    expect(walked.state).toMatchObject({ phase: "rolled_back", failure: { reason: "hook failed." } });
  });

  test("whose failure is ignored change nothing, and the journal says so", () => {
    const walked = walk({ policy: { hooks: { before_deploy: [hook("a", true)] } }, failing: ["hook:1"] });
    expect(walked.titles).toContain("✗ Hook a failed, which is ignored: hook failed.");
    expect(walked.state.phase).toBe("succeeded");
  });

  test("after the deploy that must not fail bring back what had gone already", () => {
    const walked = walk({ old: 1, policy: { wanted: 1, hooks: { after_deploy: [hook("d")] } }, failing: ["hook:1"] });
    expect(walked.done.slice(-6)).toEqual(["hook", "start 1/1", "verify 1/1", "shift 1/1", "drain 2/1", "stop 2/1"]);
    expect(walked.state).toMatchObject({ phase: "rolled_back", trafficRevision: 1 });
  });

  test("after a failure change nothing of how it ends, and are left out if nothing has begun", () => {
    const failed = walk({ policy: all, failing: ["verify:1", "hook:3", "hook:4"] });
    expect(kinds(failed)).toBe("prepare hook hook start verify stop hook hook");
    expect(failed.state).toMatchObject({ phase: "rolled_back", failure: { reason: "verify failed." } });
    const view = { now: 0, ready: new Set<string>() };
    const refused = transition(planned("deploy"), { type: "refused", failure: { reason: "x", remedy: "" } }, view);
    expect(refused.state).toMatchObject({ phase: "rolled_back" });
    expect(refused.state.doing).toBeUndefined();
  });

  test("do not count against the rollout's time, and abort ends them", () => {
    const grant = {
      ...{ revision: 2, previousRevision: 1, trafficRevision: 1, existing: oldReplicas(1) },
      policy: policy({ hooks: { before_traffic: [hook("c")] } }),
    };
    let { state } = transition(planned("deploy"), { type: "locked", grant }, { now: 0, ready: new Set() });
    for (const now of [1, 2, 3]) {
      if (state.doing) ({ state } = transition(state, success(state.doing), { now, ready: new Set() }));
    }
    expect(state.doing).toMatchObject({ kind: "hook", until: 5003 });
    const { serveBy } = state;
    const later = transition(state, { type: "done", result: {} }, { now: 4003, ready: new Set() });
    expect(later.state.serveBy).toBe(serveBy + 4000);
    const ask = { what: "abort", by: "user:anna", reason: "" } as const;
    const aborted = transition(state, { type: "asked", ask }, { now: 4003, ready: new Set() });
    expect(aborted.state).toMatchObject({ phase: "reverting", doing: { kind: "stop" } });
  });
});

const MANIFEST = `name: a
run: {command: x}
hooks:
  before_deploy: [{run: "node   check.js --all"}]
  before_traffic: [{webhook: "https://a.example:8443/told", timeout: 10s, on_error: ignore}]
  after_deploy: [{run: done}]
`;

test("a manifest's hooks are named by what they run or whom they tell, and a plan lists them where they come", () => {
  const manifest = parseManifest(MANIFEST);
  expect(hookPlanOf(manifest).hooks).toEqual({
    before_deploy: [{ name: "node check.js --all", timeoutMs: 60_000, ignored: false }],
    before_traffic: [{ name: "webhook a.example:8443", timeoutMs: 10_000, ignored: true }],
    after_deploy: [{ name: "done", timeoutMs: 60_000, ignored: true }],
  });
  const { steps = [] } = planDeploy(manifest, {
    record: undefined,
    program: undefined,
    secrets: {},
    ready: 0,
  });
  expect(steps.map((step) => step.replace(/^(?!run)[^,]*/, "…"))).toEqual([
    "…",
    "run the hook node check.js --all, for at most 1m",
    expect.stringContaining("run the hook webhook a.example:8443, for at most 10s, give them traffic"),
    "run the hook done, for at most 1m",
  ]);
  const old = JSON.parse(JSON.stringify({ ...manifest, hooks: undefined }));
  expect(hookPlanOf(old)).toEqual({});
});
