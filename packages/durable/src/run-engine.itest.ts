import { HmsError } from "@hms/kernel/errors";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Durable, RunGraph, StepExecutor } from "./index.ts";
import { brokenInvariants } from "./testing/invariants.ts";
import { openEngine, principal } from "./testing/open-engine.ts";
import { randomCases } from "./testing/random-graph.ts";
import { referenceEnd } from "./testing/reference-scheduler.ts";

let durable: Durable;
const failures: HmsError[] = [];
beforeAll(async () => {
  durable = await openEngine();
});
afterAll(() => durable[Symbol.asyncDispose]());

/** Fails as often as it is told. */
const scripted: StepExecutor = ({ input, attempt, failures: before, node }) => {
  const { fails } = input as { fails: number };
  if (before < fails) throw new HmsError("UNAVAILABLE", `${node} was told to fail`);
  return { node, attempt };
};

const work = (executors: Record<string, StepExecutor>, more: { concurrency?: number } = {}) =>
  durable.worker({ executors, onFailure: (failure) => failures.push(failure), ...more });

const run = async (graph: RunGraph, inputs = {}) => {
  const { id } = await durable.start({ environment: "test", graph, inputs, principal });
  const state = await durable.ended(id, 20_000);
  const { nodes } = await durable.get("test", id);
  return { id, state, nodes: Object.fromEntries(nodes.map(({ node, state: end }) => [node, end])), views: nodes };
};

describe("a graph", () => {
  test("of any shape, with any outcomes, ends as the reference scheduler says", async () => {
    await using _worker = work({ scripted });
    await using _other = work({ scripted }, { concurrency: 2 });
    const property = fc.asyncProperty(randomCases(), async ({ graph, script }) => {
      const expected = referenceEnd(graph, (node) => script[node] as { fails: number });
      const { state, nodes, views } = await run(graph, { word: "yes" });
      expect({ state, nodes }).toEqual({ state: expected.state, nodes: expected.nodes });
      expect(Object.fromEntries(views.map(({ node, attempt }) => [node, attempt]))).toMatchObject(
        Object.fromEntries(Object.entries(expected.attempts).filter(([node]) => expected.nodes[node] !== "skipped")),
      );
    });
    await fc.assert(property, { numRuns: 60 });
    expect(failures).toEqual([]);
    expect(await brokenInvariants(durable.database)).toEqual([]);
  });

  test("hands on what nodes give, and tells conditions what came of them", async () => {
    await using _worker = work({
      add: ({ input }) => {
        const { a, b } = input as { a: number; b: number };
        return { sum: a + b };
      },
    });
    const step = { uses: "add", effect: "idempotent" } as const;
    const graph: RunGraph = {
      nodes: {
        first: { ...step, with: { a: "${{ inputs.n }}", b: 1 } },
        second: { ...step, needs: ["first"], with: { a: "${{ nodes.first.output.sum * 2 }}", b: 0.5 } },
        large: { ...step, needs: ["first"], if: "nodes.first.output.sum > 100", with: { a: 0, b: 0 } },
        last: {
          ...step,
          needs: [{ node: "large", on: "always" }],
          with: { a: 0, b: 0 },
          if: "nodes.large.state == 'skipped'",
        },
      },
    };
    const { state, views } = await run(graph, { n: 4 });
    expect(state).toBe("succeeded");
    expect(views.map(({ node, state: end, output }) => [node, end, output])).toEqual([
      ["first", "succeeded", { sum: 5 }],
      ["large", "skipped", null],
      ["last", "succeeded", { sum: 0 }],
      ["second", "succeeded", { sum: 10.5 }],
    ]);
  });
});
