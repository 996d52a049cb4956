import { automationRuns } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AutomationScene, anna, openAutomationScene, otto } from "./testing/automation-scene.ts";

const { NodeState, RunDecision, RunState } = automationRuns;

const LIST = "call/hms.ffi.v1.RegistryService/List";

let scene: AutomationScene;
let lookups: string[] = [];
let answering: (environment: string) => Promise<void> | void = () => {};

beforeAll(async () => {
  scene = await openAutomationScene({
    list: async ({ environment }, context) => {
      lookups.push(
        `${context.principal.id} ${context.metadata["x-hms-idempotency-key"]?.split("/").slice(1).join("/")}`,
      );
      await answering(environment);
      return { services: [] };
    },
  });
});
afterAll(async () => {
  expect(scene.failures).toEqual([]);
  await scene[Symbol.asyncDispose]();
});

type Graph = Parameters<ReturnType<AutomationScene["runs"]>["startRun"]>[0]["graph"];
const start = async (graph: Graph, more: object = {}) =>
  (await scene.runs().startRun({ graph: graph as never, ...more })).run as automationRuns.Run;
const ended = async (runId: string, environment = "default") => {
  await scene.durable.ended(runId, 20_000);
  return (await scene.runs().getRun({ runId, environment })).run as automationRuns.Run;
};
const nodeOf = (run: automationRuns.Run, node: string) => run.nodes.find((one) => one.node === node);
const failure = (work: Promise<unknown>) => work.then(() => undefined, HmsError.from);

test("a step calls a method as its run's principal, with a key that is the same at each attempt", async () => {
  lookups = [];
  let calls = 0;
  answering = () => {
    calls += 1;
    if (calls === 1) throw new HmsError("UNAVAILABLE", "Not yet.");
  };
  const run = await start(
    {
      nodes: {
        look: { uses: LIST, with: { environment: "${{ inputs.where }}" }, retry: { max: 2, initial_ms: 1 } },
        again: { needs: ["look"], uses: LIST, if: "nodes.look.state == 'succeeded'" },
      },
    },
    { inputs: { where: "staging" }, labels: { team: "sre" } },
  );
  expect(run).toMatchObject({ principal: "user:anna", labels: { team: "sre" }, environment: "default" });
  const end = await ended(run.runId);
  expect(end.state, JSON.stringify(end.nodes.map((node) => node.error?.message))).toBe(RunState.SUCCEEDED);
  expect(lookups).toEqual(["anna look", "anna look", "anna again"]);
  expect(nodeOf(end, "look")).toMatchObject({ state: NodeState.SUCCEEDED, attempt: 2, uses: LIST });
  answering = () => {};
});

describe("a step whose principal", () => {
  test("has lost the permission meanwhile fails PERMISSION_DENIED and is not tried again", async () => {
    scene.rights.denied.add("anna registry:read");
    const run = await start({ nodes: { look: { uses: LIST, retry: { max: 5, initial_ms: 1 } } } });
    const end = await ended(run.runId);
    scene.rights.denied.clear();
    expect(end.state).toBe(RunState.FAILED);
    expect(nodeOf(end, "look")).toMatchObject({ attempt: 1, error: { code: 7 } });
  });

  test("may not come in any more fails PERMISSION_DENIED, after what it did before", async () => {
    answering = () => void scene.rights.gone.add("anna");
    const run = await start({ nodes: { one: { uses: LIST }, two: { needs: ["one"], uses: LIST, retry: { max: 3 } } } });
    const end = await ended(run.runId);
    scene.rights.gone.clear();
    answering = () => {};
    expect(nodeOf(end, "one")).toMatchObject({ state: NodeState.SUCCEEDED });
    expect(nodeOf(end, "two")).toMatchObject({ state: NodeState.FAILED, attempt: 1, error: { code: 7 } });
  });
});

describe("starting", () => {
  test("tells every problem of a graph at once, with its path", async () => {
    const error = await failure(
      start({
        nodes: {
          "a b": { uses: LIST },
          b: { uses: "ssh/script", effect: "idempotent", retry: {} },
          c: { uses: "call/nonsense", effect: "idempotent" },
          d: { uses: "call/hms.nobody.v1.X/Y" },
          e: { uses: "call/hms.ffi.v1.RegistryService/Watch" },
          f: { uses: LIST, queue: "gpu" },
          g: { kind: "approval", queue: "gpu" },
          h: { uses: LIST, retries: 3 },
        },
      }),
    );
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", details: { reason: "INVALID_GRAPH" } });
    expect(error?.details.fieldViolations?.map(({ field }) => field).sort()).toEqual([
      "graph.nodes.a b",
      "graph.nodes.b.retry.max",
      "graph.nodes.b.uses",
      "graph.nodes.c.uses",
      "graph.nodes.d.effect",
      "graph.nodes.e.uses",
      "graph.nodes.f.effect",
      "graph.nodes.f.queue",
      "graph.nodes.g.queue",
      "graph.nodes.h.retries",
    ]);
  });

  test("refuses an effect that is looser than the contract's word, and takes the contract's where none is given", async () => {
    const { desc } = scene.kernel.find("hms.automation.v1.RunService", "StartRun") ?? {};
    expect(desc).toBeDefined();
    const uses = "call/hms.automation.v1.RunService/StartRun";
    const error = await failure(start({ nodes: { a: { uses, effect: "idempotent" } } }));
    expect(error?.details.fieldViolations).toMatchObject([{ field: "graph.nodes.a.effect" }]);
    const inner = { graph: { nodes: { a: { uses: LIST, effect: "idempotent" } } } };
    const run = await start({ nodes: { a: { uses, with: inner } } });
    const end = await ended(run.runId);
    expect(end.state, nodeOf(end, "a")?.error?.message).toBe(RunState.SUCCEEDED);
  });

  test("twice with one idempotency key is one run, whatever roles its principal has by then", async () => {
    const graph = { nodes: { a: { uses: LIST } } } as never;
    const first = await scene.runs().startRun({ graph, idempotencyKey: "once" });
    const again = await scene
      .runs({ ...anna, roles: [], methods: ["otp"] })
      .startRun({ graph, idempotencyKey: "once" });
    expect([first.isNew, again.isNew, again.run?.runId]).toEqual([true, false, first.run?.runId]);
    const other = await failure(scene.runs(otto).startRun({ graph, idempotencyKey: "once" }));
    expect(other).toMatchObject({ code: "ALREADY_EXISTS" });
  });
});

test("a start cancels the runs with its concurrency key only for who may control each of them", async () => {
  const graph = { nodes: { ok: { kind: "approval" } } } as never;
  const concurrency = { key: "site", limit: 1, onLimit: automationRuns.OnLimit.CANCEL_RUNNING };
  const { runId } = await start(graph, { concurrency });
  scene.rights.denied.add(`otto runs:control ${runId}`);
  const error = await failure(scene.runs(otto).startRun({ graph, concurrency }));
  scene.rights.denied.clear();
  expect(error).toMatchObject({ code: "PERMISSION_DENIED", details: { reason: "CANCEL_NOT_ALLOWED" } });
  const { runs } = await scene.runs().listRuns({ pageSize: 1 });
  expect(runs).toMatchObject([{ runId, state: RunState.RUNNING }]);
  const { run: next } = await scene.runs(otto).startRun({ graph, concurrency });
  expect((await ended(runId)).state).toBe(RunState.CANCELLED);
  await scene.runs().cancelRun({ runId: next?.runId ?? "" });
});

test("a method that may not be called twice, whose answer was lost, waits for a decision", async () => {
  const registering = scene.kernel.find("hms.automation.v1.RunService", "RetryRun");
  const uses = "call/hms.automation.v1.RunService/RetryRun";
  const original = registering?.handler;
  let calls = 0;
  Object.assign(registering as object, {
    handler: () => {
      calls += 1;
      throw new HmsError("UNAVAILABLE", "The answer got lost.");
    },
  });
  const run = await start({
    nodes: { a: { uses, with: { runId: crypto.randomUUID() }, retry: { max: 5, initial_ms: 1 } } },
  });
  const { runId } = run;
  const stateNow = async () => nodeOf((await scene.runs().getRun({ runId })).run as automationRuns.Run, "a")?.state;
  await waitFor(async () => (await stateNow()) === NodeState.NEEDS_DECISION, { describe: "the lease to run out" });
  Object.assign(registering as object, { handler: original });
  const output = { kind: { case: "numberValue", value: 7 } } as never;
  await scene.runs().decideRun({ runId, node: "a", decision: RunDecision.SUCCEED, output });
  const end = await ended(runId);
  expect([calls, end.state, nodeOf(end, "a")?.output?.kind.value]).toEqual([1, RunState.SUCCEEDED, 7]);
}, 30_000);

describe("operating a run", () => {
  const approval = { nodes: { ok: { kind: "approval" }, after: { needs: ["ok"], uses: LIST } } };

  test("it is approved, rejected, paused, resumed, cancelled, and carried on by a new run", async () => {
    const [yes, no, stopped] = await Promise.all([start(approval), start(approval), start(approval)]);
    const decide = (runId: string, decision: automationRuns.RunDecision) =>
      waitFor(async () => (await failure(scene.runs(otto).decideRun({ runId, node: "ok", decision }))) === undefined, {
        describe: "the approval to be asked for",
      });
    await decide(yes.runId, RunDecision.SUCCEED);
    await decide(no.runId, RunDecision.FAIL);
    expect((await ended(yes.runId)).state).toBe(RunState.SUCCEEDED);
    expect((await ended(no.runId)).state).toBe(RunState.FAILED);
    const { runId } = stopped;
    expect((await scene.runs().pauseRun({ runId })).run).toMatchObject({ paused: true });
    expect(await scene.runs().pauseRun({ runId })).toMatchObject({ changed: false });
    expect(await scene.runs().resumeRun({ runId })).toMatchObject({ changed: true });
    expect(await scene.runs().cancelRun({ runId })).toMatchObject({ changed: true });
    expect((await ended(runId)).state).toBe(RunState.CANCELLED);
    const retried = await scene.runs(otto).retryRun({ runId, inputs: { n: 1 } });
    expect(retried.run).toMatchObject({ retryOf: runId, principal: "user:otto", inputs: { n: 1 } });
    await scene.runs().cancelRun({ runId: retried.run?.runId ?? "" });
  });

  test("it is not there in another environment", async () => {
    const { runId } = await start(approval);
    const asked = { runId, environment: "staging" };
    const runs = scene.runs();
    const answers = [runs.getRun(asked), runs.cancelRun(asked), runs.retryRun(asked), runs.pauseRun(asked)];
    for (const error of await Promise.all(answers.map(failure))) expect(error).toMatchObject({ code: "NOT_FOUND" });
    await scene.runs().cancelRun({ runId });
  });

  test("lists go by state and labels, page by page", async () => {
    const labels = { batch: "b1" };
    const runs = [];
    for (let n = 0; n < 5; n += 1)
      runs.push(await start({ nodes: { a: { uses: LIST } } }, { labels: { ...labels, n: `${n}` } }));
    for (const { runId } of runs) await ended(runId);
    const listed: string[] = [];
    for (let pageToken = ""; ; ) {
      const page = await scene.runs().listRuns({ labels: ["batch=b1"], pageSize: 2, pageToken });
      listed.push(...page.runs.map(({ runId }) => runId));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(listed).toEqual(runs.map(({ runId }) => runId).reverse());
    const some = await scene.runs().listRuns({ labels: ["batch", "n=3"], state: RunState.SUCCEEDED });
    expect(some.runs.map(({ runId }) => runId)).toEqual([runs[3]?.runId]);
    expect((await scene.runs().listRuns({ labels: ["batch=b1"], state: RunState.FAILED })).runs).toEqual([]);
    expect((await scene.runs().listRuns({ labels: ["batch=b1"], environment: "staging" })).runs).toEqual([]);
    expect(await failure(scene.runs().listRuns({ pageToken: "x" }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("watching a run", () => {
  test("shows how it stands, then every event once and what runs, to the end, also after an interruption", async () => {
    const gate = Promise.withResolvers<void>();
    answering = () => gate.promise;
    const { runId } = await start({ nodes: { a: { uses: LIST }, b: { needs: ["a"], uses: LIST } } });
    const seen: string[] = [];
    const running: string[][] = [];
    const show = ({ update }: automationRuns.WatchRunResponse) => {
      if (update.case === "snapshot") seen.push(`snapshot ${update.value.lastEvent}`);
      if (update.case === "event") seen.push(`${update.value.seq} ${update.value.type} ${update.value.node}`.trim());
      if (update.case !== "running") return;
      running.push(update.value.nodes.map(({ node }) => node));
      gate.resolve();
    };
    const follow = async (after: string, last?: string) => {
      for await (const answer of scene.runs().watchRun({ runId, after })) {
        show(answer);
        if (answer.update.case === "event" && answer.update.value.seq === last) return;
      }
    };
    await follow("", "2");
    await follow("2");
    answering = () => {};
    expect(seen).toEqual(["snapshot 1", "2 node.succeeded a", "3 node.succeeded b", "4 run.succeeded"]);
    expect(running.flat()).toContain("a");
    // After its end there is nothing to wait for.
    for await (const { update } of scene.runs().watchRun({ runId, after: "4" })) expect(update).toBeUndefined();
    const last = [];
    for await (const { update } of scene.runs().watchRun({ runId })) last.push(update.case);
    expect(last).toEqual(["snapshot"]);
  });
});
