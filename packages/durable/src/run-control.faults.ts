import { HmsError } from "@hms/kernel/errors";
import { describe, expect, test } from "vitest";
import type { GraphNode, RunGraph, Step, StepExecutor } from "./index.ts";
import { engineSuite, environment, step } from "./testing/engine-suite.ts";
import { principal } from "./testing/open-engine.ts";

const suite = engineSuite();
const { reaches, start, states, work } = suite;
const order = (runId: string) => ({ environment, runId, by: principal });
/** Waits until it is told to stop. */
const patient: StepExecutor = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

describe("a run that is cancelled", () => {
  test("stops what runs, does not begin the rest, and still does what runs finally", async () => {
    await using _worker = work({ x: () => ({}), patient });
    const graph = {
      nodes: {
        a: step({ uses: "patient" }),
        b: step({ needs: ["a"] }),
        other: { kind: "wait", timeout_ms: 60_000 },
        last: step({ finally: true }),
      },
    } as const;
    const id = await start(graph);
    await reaches(id, "a", "running");
    await reaches(id, "other", "waiting");
    const began = performance.now();
    expect(await suite.durable.cancel(order(id))).toBe(true);
    expect(await suite.durable.ended(id, 10_000)).toBe("cancelled");
    expect(performance.now() - began).toBeLessThan(2000);
    expect(await states(id)).toEqual({ a: "cancelled", b: "cancelled", other: "cancelled", last: "succeeded" });
    expect(await suite.durable.cancel(order(id))).toBe(false);
    await expect(suite.durable.cancel({ ...order(id), environment: "elsewhere" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("does not wait for a step that does not listen, longer than its grace", async () => {
    const over = Promise.withResolvers<void>();
    await using _worker = work({ x: () => over.promise }, { graceMs: 100 });
    const id = await start({ nodes: { a: step() } });
    await reaches(id, "a", "running");
    await suite.durable.cancel(order(id));
    expect(await suite.durable.ended(id, 10_000)).toBe("cancelled");
    const { nodes } = await suite.durable.get(environment, id);
    expect(nodes[0]?.error).toMatchObject({ reason: "STEP_DEAF" });
    over.resolve();
  });
});

test("a run whose time is over ends as timed_out; a step whose time is over fails and is tried again if it may", async () => {
  await using _worker = work({
    patient,
    quick: () => ({}),
    x: ({ failures: before, signal }: Step) => (before > 0 ? {} : patient({ signal } as Step)),
  });
  const late = await start(
    { nodes: { a: step({ uses: "patient" }), b: step({ uses: "quick", finally: true }) } },
    { timeoutMs: 300 },
  );
  const slow = await start({
    nodes: {
      a: step({ timeout_ms: 100, retry: { max: 2, initial_ms: 1 } }),
      b: step({ uses: "patient", timeout_ms: 100 }),
    },
  });
  expect(await suite.durable.ended(late, 10_000)).toBe("timed_out");
  expect(await suite.durable.ended(slow, 10_000)).toBe("failed");
  expect(await states(slow)).toEqual({ a: "succeeded", b: "failed" });
  expect((await suite.durable.get(environment, slow)).nodes[1]?.error).toMatchObject({
    code: "DEADLINE_EXCEEDED",
    reason: "STEP_TIMEOUT",
  });
});

test("a paused run begins nothing until it is resumed; what runs goes on", async () => {
  const going = Promise.withResolvers<void>();
  await using _worker = work({ x: ({ node }) => (node === "a" ? going.promise : undefined) });
  const id = await start({ nodes: { a: step(), b: step({ needs: ["a"] }) } });
  await reaches(id, "a", "running");
  expect(await suite.durable.pause(order(id))).toBe(true);
  going.resolve();
  await reaches(id, "b", "parked");
  expect(await suite.durable.get(environment, id)).toMatchObject({ isPaused: true, state: "running" });
  expect(await suite.durable.resume(order(id))).toBe(true);
  expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
  expect((await suite.durable.events(id)).map(({ type }) => type)).toEqual([
    "run.started",
    "run.paused",
    "node.succeeded",
    "run.resumed",
    "node.succeeded",
    "run.succeeded",
  ]);
});

test("approvals and waits hold no worker; who approves says what the next steps see; nobody in time is a failure", async () => {
  await using _worker = work({ x: ({ input }) => input }, { concurrency: 1 });
  const graph: RunGraph = {
    nodes: {
      ask: { kind: "approval", with: { question: "go to ${{ inputs.where }}?" } },
      late: { kind: "approval", timeout_ms: 200 },
      wait: { kind: "wait", timeout_ms: 150 },
      go: step({ needs: ["ask", "wait"], with: "${{ nodes.ask.output.answer }}" }),
      undo: step({ needs: [{ node: "late", on: "failure" }] }),
    },
  };
  const id = await start(graph, { inputs: { where: "production" } });
  await reaches(id, "ask", "waiting");
  expect((await suite.durable.get(environment, id)).nodes.find(({ node }) => node === "ask")?.output).toEqual({
    question: "go to production?",
  });
  await suite.durable.decide({ ...order(id), node: "ask", decision: "succeed", output: { answer: 42 } });
  await expect(suite.durable.decide({ ...order(id), node: "ask", decision: "fail" })).rejects.toMatchObject({
    details: { reason: "NOT_WAITING" },
  });
  expect(await suite.durable.ended(id, 10_000)).toBe("failed");
  expect(await states(id)).toEqual({
    ask: "succeeded",
    late: "failed",
    wait: "succeeded",
    go: "succeeded",
    undo: "succeeded",
  });
  expect((await suite.durable.get(environment, id)).nodes.find(({ node }) => node === "go")?.output).toBe(42);
});

describe("runs with one concurrency key", () => {
  test("wait for one another, the more important first, or are refused, or cancel those that run", async () => {
    await using _worker = work({ x: patient, y: () => ({}) });
    const key = { key: "web", limit: 1 };
    const first = await suite.durable.start({
      environment,
      graph: { nodes: { a: step() } },
      principal,
      concurrency: key,
    });
    const plain = { environment, graph: { nodes: { a: step({ uses: "y" }) } }, principal } as const;
    const low = await suite.durable.start({ ...plain, concurrency: key });
    const high = await suite.durable.start({ ...plain, concurrency: key, priority: 5 });
    expect([first.state, low.state, high.state]).toEqual(["running", "queued", "queued"]);
    await expect(suite.durable.start({ ...plain, concurrency: { ...key, onLimit: "reject" } })).rejects.toMatchObject({
      details: { reason: "CONCURRENCY_LIMIT" },
    });
    const elsewhere = await suite.durable.start({ ...plain, environment: "other", concurrency: key });
    expect(elsewhere.state).toBe("running");
    await suite.durable.cancel(order(first.id));
    for (const { id } of [low, high]) expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
    const began = async (id: string) =>
      (await suite.durable.events(id)).find(({ type }) => type === "run.started")?.at.getTime() ?? 0;
    expect(await began(high.id)).toBeLessThanOrEqual(await began(low.id));
    const old = await suite.durable.start({
      environment,
      graph: { nodes: { a: step() } },
      principal,
      concurrency: key,
    });
    const next = await suite.durable.start({ ...plain, concurrency: { ...key, onLimit: "cancel_running" } });
    expect([await suite.durable.ended(old.id, 10_000), await suite.durable.ended(next.id, 10_000)]).toEqual([
      "cancelled",
      "succeeded",
    ]);
  });
});

describe("a node with targets", () => {
  const fan = (targets: Partial<NonNullable<GraphNode["targets"]>>, more: Partial<GraphNode> = {}) =>
    step({ targets: { items: "${{ inputs.hosts }}", ...targets }, with: { host: "${{ target }}" }, ...more });
  const hosts = ["h1", "h2", "h3", "h4", "h5"];

  test("does them in batches, the canary first, and says how many there were", async () => {
    const done: string[] = [];
    await using _worker = work({ x: ({ target }) => void done.push(target?.name ?? "") });
    const graph = { nodes: { a: fan({ batch: 2, canary: 1, pause_ms: 30 }), b: step({ needs: ["a"], uses: "x" }) } };
    const id = await start(graph, { inputs: { hosts } });
    expect(await suite.durable.ended(id, 10_000)).toBe("succeeded");
    expect([done[0], done.slice(1, 3).sort(), done.slice(3, 5).sort(), done[5]]).toEqual([
      "h1",
      ["h2", "h3"],
      ["h4", "h5"],
      "",
    ]);
    expect(
      (await suite.durable.get(environment, id)).nodes.find(({ node, target }) => node === "a" && target === "")
        ?.output,
    ).toEqual({ targets: 5, failed: 0 });
  });

  test("begins no further batch when too many have failed; which have can be done again alone", async () => {
    let isBroken = true;
    const done: string[] = [];
    const x: StepExecutor = ({ target }) => {
      done.push(target?.name ?? "");
      if (isBroken && target?.name === "h2") throw new HmsError("UNAVAILABLE", "no answer");
    };
    await using _worker = work({ x });
    const graph = { nodes: { a: fan({ batch: 2 }), b: step({ needs: ["a"] }) } };
    const id = await start(graph, { inputs: { hosts } });
    expect(await suite.durable.ended(id, 10_000)).toBe("failed");
    const ends = await states(id);
    expect(ends).toMatchObject({
      a: "failed",
      "a/h1": "succeeded",
      "a/h2": "failed",
      "a/h3": "skipped",
      "a/h5": "skipped",
      b: "skipped",
    });
    isBroken = false;
    done.length = 0;
    const again = await suite.durable.retry({ environment, runId: id, onlyFailedTargets: true, principal });
    expect(await suite.durable.ended(again.id, 10_000)).toBe("succeeded");
    expect(done.sort()).toEqual(["", "h2", "h3", "h4", "h5"]);
    expect((await states(again.id))["a/h1"]).toBe("succeeded");
  });

  test("waits for a decision at its threshold if it says so, and goes on when told", async () => {
    await using _worker = work({
      x: ({ target }) => {
        if (target?.name === "h1") throw new HmsError("NOT_FOUND", "no such host");
      },
    });
    const graph = { nodes: { a: fan({ batch: 1, on_threshold: "pause" }) } };
    const goOn = await start(graph, { inputs: { hosts: ["h1", "h2"] } });
    const giveUp = await start(graph, { inputs: { hosts: ["h1", "h2"] } });
    for (const id of [goOn, giveUp]) await reaches(id, "a", "needs_decision");
    await suite.durable.decide({ ...order(goOn), node: "a", decision: "retry" });
    await reaches(goOn, "a/h2", "succeeded");
    await reaches(goOn, "a", "needs_decision");
    await suite.durable.decide({ ...order(goOn), node: "a", decision: "succeed" });
    await suite.durable.decide({ ...order(giveUp), node: "a", decision: "fail" });
    expect([await suite.durable.ended(goOn, 10_000), await suite.durable.ended(giveUp, 10_000)]).toEqual([
      "succeeded",
      "failed",
    ]);
    expect(await states(giveUp)).toMatchObject({ "a/h2": "skipped" });
  });

  test("allows as many failures as it says, tries each target again by itself, and can have none or very many", async () => {
    await using _worker = work(
      {
        x: ({ target, failures: before }) => {
          if (target?.name === "h1" || (target?.name === "h2" && before < 1))
            throw new HmsError("UNAVAILABLE", "no answer");
        },
      },
      { concurrency: 100 },
    );
    const some = await start(
      { nodes: { a: fan({ max_fail: "20%" }, { retry: { max: 2, initial_ms: 1 } }) } },
      { inputs: { hosts } },
    );
    const none = await start({ nodes: { a: fan({}), b: step({ needs: ["a"] }) } }, { inputs: { hosts: [] } });
    const many = Array.from({ length: 1000 }, (_, n) => ({ name: `host-${n}` }));
    const wide = await start({ nodes: { a: fan({}), b: step({ needs: ["a"] }) } }, { inputs: { hosts: many } });
    for (const id of [some, none, wide]) expect(await suite.durable.ended(id, 30_000)).toBe("succeeded");
    expect(await states(some)).toMatchObject({ a: "succeeded", "a/h1": "failed", "a/h2": "succeeded" });
    const bad = await start({ nodes: { a: fan({}) } }, { inputs: { hosts: 5 } });
    expect(await suite.durable.ended(bad, 10_000)).toBe("failed");
  });

  test("is cancelled with its run, after what runs of it", async () => {
    await using _worker = work({ x: patient });
    const run = await start({ nodes: { a: fan({ batch: 2 }) } }, { inputs: { hosts } });
    await reaches(run, "a/h2", "running");
    await suite.durable.cancel(order(run));
    expect(await suite.durable.ended(run, 10_000)).toBe("cancelled");
    expect(new Set(Object.values(await states(run)))).toEqual(new Set(["cancelled"]));
  });
});

test("a run within a run: its end is the node's, and stopping the outer one stops it", async () => {
  await using _worker = work({ x: ({ input }) => input, patient });
  const inner = (node: GraphNode): GraphNode => ({
    kind: "run",
    with: { graph: { nodes: { a: node } }, inputs: { n: "${{ inputs.n }}" } } as never,
  });
  const graph = {
    nodes: {
      good: inner(step({ with: 5 })),
      bad: inner(step({ uses: "nobody" })),
      next: step({ needs: ["good"], with: "${{ nodes.good.output.state }}" }),
    },
  };
  const id = await start(graph, { inputs: { n: 7 } });
  expect(await suite.durable.ended(id, 10_000)).toBe("failed");
  expect(await states(id)).toEqual({ good: "succeeded", bad: "failed", next: "succeeded" });
  const outer = await start({ nodes: { a: inner(step({ uses: "patient" })) } }, { inputs: { n: 7 } });
  await reaches(outer, "a", "waiting");
  const [child] = await suite.durable.list(environment, { limit: 1 });
  await reaches(child?.id ?? "", "a", "running");
  await suite.durable.cancel(order(outer));
  expect(await suite.durable.ended(outer, 10_000)).toBe("cancelled");
  expect(await suite.durable.ended(child?.id ?? "", 10_000)).toBe("cancelled");
});

test("an ended run is carried on from what has not succeeded, or from a node on, with other inputs if asked for", async () => {
  const done: string[] = [];
  const x: StepExecutor = ({ node, input }) => {
    done.push(node);
    if (input === "bad") throw new HmsError("NOT_FOUND", "bad input");
    return node;
  };
  await using _worker = work({ x });
  const graph = {
    nodes: {
      a: step(),
      b: step({ needs: ["a"], with: "${{ inputs.word }}" }),
      undo: step({ needs: [{ node: "b", on: "failure" }] }),
      c: step({ needs: ["b"], if: "nodes.b.output == 'b'" }),
      last: step({ finally: true }),
    },
  } as const;
  const id = await start(graph, { inputs: { word: "bad" } });
  expect(await suite.durable.ended(id, 10_000)).toBe("failed");
  expect(done).toEqual(["a", "b", "undo", "last"]);
  done.length = 0;
  const second = await suite.durable.retry({ environment, runId: id, inputs: { word: "good" }, principal });
  expect(await suite.durable.ended(second.id, 10_000)).toBe("succeeded");
  expect([done, await states(second.id)]).toEqual([
    ["b", "c", "last"],
    { a: "succeeded", b: "succeeded", undo: "skipped", c: "succeeded", last: "succeeded" },
  ]);
  done.length = 0;
  const third = await suite.durable.retry({ environment, runId: second.id, from: "c", principal });
  expect(await suite.durable.ended(third.id, 10_000)).toBe("succeeded");
  expect(done).toEqual(["c", "last"]);
  await expect(suite.durable.retry({ environment, runId: id, from: "z", principal })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});
