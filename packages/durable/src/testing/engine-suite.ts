import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, expect } from "vitest";
import type { Durable, GraphNode, RunGraph, StartRequest, StepExecutor, WorkerOptions } from "../index.ts";
import { brokenInvariants } from "./invariants.ts";
import { openEngine, principal } from "./open-engine.ts";

/** Where the runs of a suite belong. */
export const environment = "test";

/** A step that does "x" and may be repeated. */
export const step = (more: Partial<GraphNode> = {}): GraphNode => ({ uses: "x", effect: "idempotent", ...more });

/** The run engine of a test file, on a database of its own; after its tests every invariant must hold of all rows. */
export function engineSuite() {
  let durable: Durable | undefined;
  const opened = (): Durable => {
    if (!durable) throw new Error("The engine is there within tests only.");
    return durable;
  };
  beforeAll(async () => {
    durable = await openEngine();
  });
  afterAll(async () => {
    expect(await brokenInvariants(opened().database)).toEqual([]);
    await opened()[Symbol.asyncDispose]();
  });
  /** {node or node/target: state} of a run. */
  const states = async (runId: string) => {
    const { nodes } = await opened().get(environment, runId);
    return Object.fromEntries(
      nodes.map(({ node, target, state }) => [target === "" ? node : `${node}/${target}`, state]),
    );
  };
  return {
    get durable() {
      return opened();
    },
    states,
    /** A worker with short leases. */
    work: (executors: Record<string, StepExecutor>, more: Partial<WorkerOptions> = {}) =>
      opened().worker({ executors, leaseMs: 2000, ...more }),
    /** Starts a run and gives its id. */
    start: async (graph: RunGraph, more: Partial<StartRequest> = {}) =>
      (await opened().start({ environment, graph, principal, ...more })).id,
    /** Waits until a node is in a state. */
    reaches: (runId: string, node: string, state: string) =>
      waitFor(async () => (await states(runId))[node] === state, { describe: () => `${node} to be ${state}` }),
  };
}
