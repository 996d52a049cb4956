import { expect, test } from "vitest";
import { carryOn } from "./carry-on.ts";
import type { GraphNode, RunGraph } from "./index.ts";

const step = (more: Partial<GraphNode> = {}): GraphNode => ({ uses: "x", effect: "idempotent", ...more });

test("what is done lets its successors begin, wait for others, or be skipped, with all that follows", () => {
  const graph: RunGraph = {
    nodes: {
      a: step(),
      b: step(),
      both: step({ needs: ["a", "b"] }),
      either: step({ needs: ["a", "b"], join: "any" }),
      undo: step({ needs: [{ node: "a", on: "failure" }] }),
      after: step({ needs: ["undo"] }),
      always: step({ needs: [{ node: "after", on: "always" }] }),
      last: step({ finally: true }),
    },
  };
  const states = (done: string[]) =>
    Object.fromEntries(
      carryOn(graph, new Map(done.map((name) => [name, null]))).map(({ node, state }) => [node, state]),
    );
  expect(states(["a", "last"])).toEqual({
    a: "succeeded",
    b: "ready",
    both: "blocked",
    either: "ready",
    undo: "skipped",
    after: "skipped",
    always: "ready",
    last: "held",
  });
  expect(states(["a", "b", "either"])).toMatchObject({ both: "ready", either: "succeeded" });
});
