import { automationRuns, deployment } from "@hms/contracts";
import {
  type CallContext,
  HmsError,
  implement,
  type ServiceImplementation,
  type ServiceRegistration,
} from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type AutomationScene, openAutomationScene } from "./testing/automation-scene.ts";

const { NodeState, RunState } = automationRuns;
const { DeploymentService, RolloutState } = deployment;
type Handlers = ServiceImplementation<typeof DeploymentService>;

let scene: AutomationScene;
/** What was asked, "Deploy a by anna". */
let asked: string[];
/** Rollouts by their ids, each with its end, once it has one. */
let rollouts: Map<string, { service: string; ended: PromiseWithResolvers<object> }>;

const keyOf = ({ metadata }: CallContext) => metadata["x-hms-idempotency-key"] ?? "";

async function* follow(rolloutId: string, { signal }: CallContext) {
  const rollout = rollouts.get(rolloutId);
  if (rollout === undefined) throw new HmsError("NOT_FOUND", `There is no rollout ${rolloutId}.`);
  const { service, ended } = rollout;
  yield { rolloutId, sequence: 1n, event: { case: "planned" as const, value: { service, environment: "default" } } };
  const stopped = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const value = await Promise.race([ended.promise, stopped]);
  yield { rolloutId, sequence: 2n, event: { case: "ended" as const, value } };
}

/** As the deployment service does it: a key that is known already finds its rollout. */
function begun(what: string) {
  return (
    request: { service?: string; manifest?: string; reason?: string; expectedRevision?: bigint | undefined },
    context: CallContext,
  ) => {
    const service = request.service || request.manifest || "";
    const { expectedRevision: at } = request;
    asked.push(`${what} ${service} by ${context.principal.id}${at === undefined ? "" : ` if at ${at}`}`);
    if (service === "refused") throw new HmsError("FAILED_PRECONDITION", "There is a freeze.");
    const id = keyOf(context);
    if (!rollouts.has(id)) rollouts.set(id, { service, ended: Promise.withResolvers() });
    if (service === "quick" || what !== "Deploy") end(service, RolloutState.SUCCEEDED);
    return follow(id, context);
  };
}

function end(service: string, state: deployment.RolloutState): void {
  const failure = state === RolloutState.SUCCEEDED ? {} : { failure: { reason: "It was not to be." } };
  for (const rollout of rollouts.values()) {
    if (rollout.service === service) rollout.ended.resolve({ state, revision: 4n, previousRevision: 3n, ...failure });
  }
}

beforeAll(async () => {
  scene = await openAutomationScene();
  const handlers = {
    deploy: begun("Deploy"),
    rollback: begun("Rollback"),
    stop: begun("Stop"),
    getService: () => ({ service: { revision: 4n } }),
    watchRollout: ({ rolloutId }, context) => follow(rolloutId, context),
    abort: ({ service, rolloutId }) => {
      asked.push(`Abort ${service}`);
      if (!rollouts.has(rolloutId)) throw new HmsError("NOT_FOUND", "There is none.");
      end(service, RolloutState.ROLLED_BACK);
      return { rolloutId };
    },
  } satisfies Partial<Handlers>;
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const all = Object.fromEntries(DeploymentService.methods.map(({ localName }) => [localName, unused]));
  scene.kernel.register(implement(DeploymentService, { ...all, ...handlers } as never) as ServiceRegistration);
});
beforeEach(() => {
  asked = [];
  rollouts = new Map();
});
afterAll(async () => {
  expect(scene.failures).toEqual([]);
  await scene[Symbol.asyncDispose]();
});

const deploy = (service: string, more: object = {}) => ({
  uses: "rollout/Deploy",
  with: { manifest: service, manifestPath: "/x" },
  ...more,
});
const SETTLE = {
  uses: "rollout/settle",
  finally: true,
  with: { rollouts: [{ node: "a", state: "${{ nodes.a.state }}" }] },
};
const start = async (nodes: object) =>
  (await scene.runs().startRun({ graph: { nodes } as never })).run as automationRuns.Run;
const ended = async (runId: string) => {
  await scene.durable.ended(runId, 20_000);
  return (await scene.runs().getRun({ runId })).run as automationRuns.Run;
};
const nodeOf = (run: automationRuns.Run, node: string) => run.nodes.find((one) => one.node === node);
const isUnderWay = () => waitFor(() => rollouts.size > 0, { describe: "the rollout to be begun" });

test("a rollout that succeeds gives its revision, the one before and its id, which was known beforehand", async () => {
  const run = await start({
    a: deploy("quick"),
    undo: {
      uses: "rollout/undo",
      finally: true,
      with: { service: "a", revision: "${{ nodes.a.output.previous_revision }}" },
    },
    none: { uses: "rollout/undo", finally: true, needs: ["undo"], with: { service: "b", revision: 0 } },
  });
  const done = await ended(run.runId);
  expect(done.state, JSON.stringify(done.nodes.map(({ error }) => error?.message))).toBe(RunState.SUCCEEDED);
  const { output, rolloutId } = nodeOf(done, "a") ?? {};
  expect(output?.kind.value).toMatchObject({
    fields: { rollout_id: { kind: { value: nodeOf(run, "a")?.rolloutId } }, previous_revision: { kind: { value: 3 } } },
  });
  expect(rollouts.has(rolloutId ?? "")).toBe(true);
  expect(asked).toEqual(["Deploy quick by anna", "Rollback a by anna", "Stop b by anna"]);
  const lines: string[] = [];
  for await (const { text } of scene.runs().readRunLogs({ runId: run.runId, node: "a" })) lines.push(text);
  expect(lines.join("")).toMatch(/quick \(default\), rollout \w+\n.*succeeded \(revision 4\)/s);
});

test("what takes a rollout back waits behind nobody's deploy to undo that, and leaves other revisions alone", async () => {
  const undo = (from: number, revision: number) => ({ uses: "rollout/undo", with: { service: "a", revision, from } });
  const run = await start({ back: undo(4, 3), none: undo(4, 0), again: undo(5, 4), other: undo(5, 3) });
  const done = await ended(run.runId);
  expect(nodeOf(done, "other")?.error?.message).toMatch(/^a is at revision 4 by now, which is not the run's/);
  expect(asked.toSorted()).toEqual([
    "Rollback a by anna if at 4",
    "Rollback a by anna if at 4",
    "Stop a by anna if at 4",
  ]);
});

test("a rollout that fails fails its step with its reason, and what is refused never begins", async () => {
  const run = await start({ a: deploy("bad"), b: deploy("refused"), c: deploy("quick", { needs: ["a"] }) });
  await isUnderWay();
  end("bad", RolloutState.ROLLED_BACK);
  const done = await ended(run.runId);
  expect(nodeOf(done, "a")?.error?.message).toMatch(/It was not to be. What served before serves./);
  expect(nodeOf(done, "b")?.error?.message).toBe("There is a freeze.");
  expect(nodeOf(done, "c")?.state).toBe(NodeState.SKIPPED);
});

test("a run that is cancelled has its rollouts undo themselves, and ends when they have", async () => {
  const run = await start({ a: deploy("slow"), b: deploy("quick", { needs: ["a"] }), settle: SETTLE });
  await isUnderWay();
  await scene.runs().cancelRun({ runId: run.runId });
  const done = await ended(run.runId);
  expect(done.nodes.map(({ node, state }) => [node, state])).toEqual([
    ["a", NodeState.CANCELLED],
    ["b", NodeState.CANCELLED],
    ["settle", NodeState.SUCCEEDED],
  ]);
  expect(asked.filter((each) => each !== "Abort slow")).toEqual(["Deploy slow by anna"]);
  expect(asked).toContain("Abort slow");
});

test("what no worker holds as it is cancelled has its rollouts undo themselves, too; none is begun twice", async () => {
  const followed = await start({ a: deploy("slow") });
  await isUnderWay();
  const stopped = await start({ a: deploy("long"), settle: SETTLE });
  await waitFor(() => rollouts.size === 2, { describe: "both to be begun" });
  await scene.closeService();
  await scene.runs().cancelRun({ runId: stopped.runId });
  await using other = scene.another();
  expect(other.registrations).toHaveLength(2);
  await waitFor(() => asked.filter((each) => each === "Deploy slow by anna").length === 2, {
    describe: "the step to be taken up again",
  });
  end("slow", RolloutState.SUCCEEDED);
  expect(nodeOf(await ended(followed.runId), "a")?.state).toBe(NodeState.SUCCEEDED);
  expect((await ended(stopped.runId)).state).toBe(RunState.CANCELLED);
  expect([...rollouts.keys()].toSorted()).toEqual(
    [followed, stopped].map((run) => nodeOf(run, "a")?.rolloutId).toSorted(),
  );
  expect(asked.filter((each) => !each.endsWith("by anna"))).toEqual(["Abort long"]);
});
