import { automationRuns, automationSteps } from "@hms/contracts";
import { HmsError, type Principal } from "@hms/kernel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AutomationScene, etl, openAutomationScene } from "./testing/automation-scene.ts";
import { toWkt } from "./value.ts";

const { RunState } = automationRuns;
const { ClaimStop } = automationSteps;

let scene: AutomationScene;
beforeAll(async () => {
  scene = await openAutomationScene();
});
afterAll(async () => {
  expect(scene.failures).toEqual([]);
  await scene[Symbol.asyncDispose]();
});

let made = 0;
const newQueue = () => {
  made += 1;
  return `gpu${made}`;
};
const failure = (work: Promise<unknown>) => work.then(() => undefined, HmsError.from);
const seconds = (amount: number) => ({ seconds: BigInt(amount), nanos: 0 });

/** A run of one step in a queue of its own, and a worker of it. */
async function runOf(node: object, environment = "default") {
  const queue = newQueue();
  const graph = { nodes: { train: { uses: "ml/train", effect: "idempotent", queue, ...node } } } as never;
  const { run, warnings } = await scene.runs().startRun({ graph, environment });
  return { queue, runId: run?.runId ?? "", warnings };
}
const workerOn = (queue: string, worker = "w1", as: Principal = etl) => {
  const steps = scene.steps(as);
  const me = { queue, worker };
  return {
    me,
    claim: (more: object = {}) =>
      steps.claimSteps({ ...me, wait: seconds(10), ...more }).then((answer) => answer.steps),
    renew: (claims: automationSteps.StepClaim[], more = {}) =>
      steps.renewSteps({ ...me, claims, ...more }).then((answer) => answer.claims),
    complete: (claim: automationSteps.StepClaim, output = toWkt(null)) => steps.completeStep({ ...me, claim, output }),
    fail: (claim: automationSteps.StepClaim, code = 14) =>
      steps.failStep({ ...me, claim, error: { code, message: "no luck" } as never }),
    log: (claim: automationSteps.StepClaim, seq: number, text: string) =>
      steps.appendStepLog({ ...me, claim, seq, text }),
  };
};
const claimOf = ([step]: automationSteps.ClaimedStep[]) => step?.claim as automationSteps.StepClaim;
const stateOf = async (runId: string) => {
  await scene.durable.ended(runId, 20_000);
  return (await scene.runs().getRun({ runId })).run?.state;
};

test("a program waits for a step, says what it does, and completes it once", async () => {
  const queue = newQueue();
  const worker = workerOn(queue);
  const waiting = worker.claim();
  const graph = {
    nodes: {
      train: { uses: "ml/train", effect: "resumable", queue, with: { n: "${{ inputs.n + 1 }}" }, timeout_ms: 60_000 },
    },
  };
  const { run, warnings } = await scene.runs().startRun({ graph: graph as never, inputs: { n: 1 } });
  expect(warnings).toEqual([]);
  const [step] = await waiting;
  expect(step).toMatchObject({ uses: "ml/train", attempt: 1, effect: "resumable", principal: "user:anna" });
  expect([step?.input?.kind.value, step?.timeout?.seconds]).toMatchObject([
    { fields: { n: { kind: { value: 2 } } } },
    60n,
  ]);
  const claim = step?.claim as automationSteps.StepClaim;
  await worker.log(claim, 1, "one");
  await worker.log(claim, 1, "one again");
  await worker.log(claim, 2, "two\nthree\n");
  expect(await failure(worker.log(claim, 4, "five"))).toMatchObject({ code: "OUT_OF_RANGE" });
  await worker.complete(claim, toWkt({ loss: 0.5 }));
  // The answer may have been lost.
  await worker.complete(claim, toWkt({ loss: 0.5 }));
  expect(await failure(worker.fail(claim))).toMatchObject({ code: "FAILED_PRECONDITION" });
  const { runId = "" } = run ?? {};
  expect(await stateOf(runId)).toBe(RunState.SUCCEEDED);
  for (const node of ["train", ""]) {
    const said = [];
    for await (const piece of scene.runs().readRunLogs({ runId, node, follow: true })) said.push(piece.text);
    expect(said.join("")).toBe("one\ntwo\nthree\n");
  }
});

test("who starts a run is told of queues that nobody works on", async () => {
  const { queue, runId, warnings } = await runOf({});
  expect(warnings).toEqual([
    expect.stringContaining(`nodes.train.queue: no worker has asked for steps of the queue "${queue}"`),
  ]);
  await scene.runs().cancelRun({ runId });
});

test("a step that fails is tried again as its graph says, and what cannot pass is not", async () => {
  const { queue, runId } = await runOf({ retry: { max: 3, initial_ms: 1 } });
  const worker = workerOn(queue);
  await worker.fail(claimOf(await worker.claim()));
  const [second] = await worker.claim();
  expect(second).toMatchObject({ attempt: 2, failures: 1 });
  await worker.fail(second?.claim as automationSteps.StepClaim, 3);
  expect(await stateOf(runId)).toBe(RunState.FAILED);
});

describe("a claim that was lost", () => {
  test("is somebody else's by then; whoever had it is told so at every call and has changed nothing", async () => {
    const { queue, runId } = await runOf({});
    const [slow, quick] = [workerOn(queue, "slow"), workerOn(queue, "quick")];
    const lost = claimOf(await slow.claim({ lease: seconds(2) }));
    const [step] = await quick.claim();
    expect(step).toMatchObject({ attempt: 2, failures: 0 });
    const held = step?.claim as automationSteps.StepClaim;
    expect(BigInt(held.fence)).toBeGreaterThan(BigInt(lost.fence));
    const told = [slow.complete(lost, toWkt("zombie")), slow.fail(lost), slow.log(lost, 1, "zombie")];
    for (const error of await Promise.all(told.map(failure))) {
      expect(error).toMatchObject({ code: "FAILED_PRECONDITION", details: { reason: "CLAIM_LOST" } });
    }
    expect(await slow.renew([lost])).toMatchObject([{ holds: false, stop: ClaimStop.LOST }]);
    // Nor with the other's name for it.
    expect(await failure(slow.complete(held))).toMatchObject({ code: "FAILED_PRECONDITION" });
    await quick.complete(held, toWkt("right"));
    expect(await stateOf(runId)).toBe(RunState.SUCCEEDED);
    const { run } = await scene.runs().getRun({ runId });
    expect(run?.nodes[0]?.output).toEqual(toWkt("right"));
  });

  test("of a step that must not be done twice waits for a decision", async () => {
    const { queue, runId } = await runOf({ effect: "at_most_once" });
    const worker = workerOn(queue);
    const claim = claimOf(await worker.claim({ lease: seconds(2) }));
    for await (const { update } of scene.runs().watchRun({ runId })) {
      if (update.case === "event" && update.value.type === "node.lost") break;
    }
    expect(await failure(worker.complete(claim))).toMatchObject({ details: { reason: "CLAIM_LOST" } });
    await scene.runs().decideRun({ runId, node: "train", decision: automationRuns.RunDecision.RETRY });
    await worker.complete(claimOf(await worker.claim()));
    expect(await stateOf(runId)).toBe(RunState.SUCCEEDED);
  });
});

test("leases are renewed, and a cancelled run is told so, then its claim is given up", async () => {
  const { queue, runId } = await runOf({});
  const worker = workerOn(queue);
  const claim = claimOf(await worker.claim({ lease: seconds(2) }));
  expect(await worker.renew([claim], { lease: seconds(60) })).toMatchObject([{ holds: true, stop: 0 }]);
  await scene.runs().cancelRun({ runId });
  expect(await worker.renew([claim])).toMatchObject([{ holds: true, stop: ClaimStop.CANCELLED }]);
  await worker.fail(claim, 1);
  expect(await stateOf(runId)).toBe(RunState.CANCELLED);
});

test("a step whose own time is over fails at the next sign of life", async () => {
  const { queue, runId } = await runOf({ timeout_ms: 300 });
  const worker = workerOn(queue);
  const claim = claimOf(await worker.claim());
  await new Promise((resolve) => setTimeout(resolve, 320));
  expect(await worker.renew([claim])).toMatchObject([{ holds: false, stop: ClaimStop.LOST }]);
  expect(await stateOf(runId)).toBe(RunState.FAILED);
});

describe("authorized", () => {
  test("is each queue by itself", async () => {
    const { queue, runId } = await runOf({});
    scene.rights.denied.add(`default/etl runs:work ${queue}`);
    expect(await failure(workerOn(queue).claim())).toMatchObject({ code: "PERMISSION_DENIED" });
    scene.rights.denied.clear();
    await scene.runs().cancelRun({ runId });
  });

  test("is each step again when it is given out", async () => {
    const [denied, gone] = [await runOf({}), await runOf({})];
    scene.rights.denied.add("anna runs:start");
    expect(await workerOn(denied.queue).claim({ wait: seconds(0) })).toEqual([]);
    scene.rights.denied.clear();
    scene.rights.gone.add("anna");
    expect(await workerOn(gone.queue).claim({ wait: seconds(0) })).toEqual([]);
    scene.rights.gone.clear();
    for (const { runId } of [denied, gone]) {
      expect(await stateOf(runId)).toBe(RunState.FAILED);
      const { run } = await scene.runs().getRun({ runId });
      expect(run?.nodes[0]).toMatchObject({ attempt: 1, error: { code: 7 } });
    }
  });

  test("is who has claimed a step, and nobody else, whatever they call themselves", async () => {
    const { queue, runId } = await runOf({});
    const [own, others] = [workerOn(queue), workerOn(queue, "w1", { kind: "service", id: "default/other" })];
    const claim = claimOf(await own.claim());
    const told = [others.complete(claim), others.fail(claim), others.log(claim, 1, "x")];
    for (const error of await Promise.all(told.map(failure)))
      expect(error).toMatchObject({ code: "PERMISSION_DENIED" });
    expect(await others.renew([claim])).toMatchObject([{ holds: false }]);
    const elsewhere = scene.steps().completeStep({ ...own.me, environment: "staging", claim });
    expect(await failure(elsewhere)).toMatchObject({ code: "FAILED_PRECONDITION" });
    const otherQueue = scene.steps().completeStep({ ...own.me, queue: "q", claim });
    expect(await failure(otherQueue)).toMatchObject({ code: "FAILED_PRECONDITION" });
    await own.complete(claim);
    expect(await stateOf(runId)).toBe(RunState.SUCCEEDED);
  });

  test("are steps of another environment not there, and the platform's own queue is nobody's", async () => {
    const { queue, runId } = await runOf({}, "staging");
    expect(await workerOn(queue).claim({ wait: seconds(0) })).toEqual([]);
    expect(await workerOn(queue).claim({ wait: seconds(0), environment: "staging" })).toHaveLength(1);
    expect(await failure(workerOn("default").claim())).toMatchObject({ code: "INVALID_ARGUMENT" });
    await scene.runs().cancelRun({ runId, environment: "staging" });
  });
});

test("what a caller who has gone was to get goes back at once", async () => {
  const queue = newQueue();
  const call = new AbortController();
  const waiting = scene.steps().claimSteps({ queue, worker: "gone", wait: seconds(30) }, { signal: call.signal });
  waiting.catch(() => {});
  call.abort();
  await failure(waiting);
  const graph = { nodes: { train: { uses: "ml/train", effect: "at_most_once", queue } } } as never;
  const { run } = await scene.runs().startRun({ graph });
  const worker = workerOn(queue);
  await worker.complete(claimOf(await worker.claim()));
  expect(await stateOf(run?.runId ?? "")).toBe(RunState.SUCCEEDED);
});
