import { describe, expect, test } from "vitest";
import { checkGraph, type RunGraph } from "./index.ts";

const problemsOf = (graph: unknown): Record<string, string> => {
  try {
    checkGraph(graph);
    return {};
  } catch (error) {
    const { details } = error as { details: { fieldViolations: { field: string; description: string }[] } };
    return Object.fromEntries(details.fieldViolations.map(({ field, description }) => [field, description]));
  }
};

const step = { uses: "x", effect: "idempotent" } as const;

describe("a graph", () => {
  test("that can run is accepted", () => {
    const graph: RunGraph = {
      nodes: {
        a: { ...step, targets: { items: "${{ inputs.hosts }}", batch: "25%", max_fail: 1 } },
        b: { kind: "approval", needs: ["a"], timeout_ms: 1000 },
        c: { ...step, needs: [{ node: "b", on: "failure" }, "a"], join: { n: 1 }, if: "nodes.a.state == 'failed'" },
        d: { ...step, finally: true, with: { text: "${{ nodes['c'].output }} and ${{ {'a': 1}.a }}" } },
      },
    };
    expect(problemsOf(graph)).toEqual({});
  });

  test("tells every problem at once, each with its path", () => {
    const graph = {
      name: "x",
      nodes: {
        "a b": step,
        b: { uses: "", effect: "maybe", join: "any", retry: { backoff: "linear" }, timeout_ms: 0, colour: "red" },
        c: { kind: "wait", uses: "x" },
        d: { ...step, needs: ["x"], join: { n: 2 }, targets: { batch: "200%", max_fail: 3_000_000_000 } },
        e: 5,
      },
    };
    expect(Object.keys(problemsOf(graph)).sort()).toEqual([
      "name",
      "nodes.a b",
      "nodes.b.colour",
      "nodes.b.effect",
      "nodes.b.join",
      "nodes.b.retry.backoff",
      "nodes.b.retry.max",
      "nodes.b.timeout_ms",
      "nodes.b.uses",
      "nodes.c.timeout_ms",
      "nodes.c.uses",
      "nodes.d.join",
      "nodes.d.targets.batch",
      "nodes.d.targets.items",
      "nodes.d.targets.max_fail",
      "nodes.e",
    ]);
  });

  test("is refused with edges to nowhere, to itself, doubled, in circles, or between what runs finally and what does not", () => {
    const edges = problemsOf({
      nodes: { a: { ...step, needs: ["nobody", "b", "b", "f"] }, b: step, f: { ...step, finally: true, needs: ["b"] } },
    });
    expect(Object.keys(edges)).toEqual([
      "nodes.a.needs[0]",
      "nodes.a.needs[2]",
      "nodes.a.needs[3]",
      "nodes.f.needs[0]",
    ]);
    const circle = {
      a: { ...step, needs: ["c"] },
      b: { ...step, needs: ["a"] },
      c: { ...step, needs: ["b"] },
      d: step,
    };
    expect(problemsOf({ nodes: circle }).nodes).toContain("a, b, c");
    expect(problemsOf({ nodes: { a: { ...step, finally: true } } }).nodes).toContain("finally");
    expect(problemsOf({ nodes: {} }).nodes).toContain("empty");
    expect(problemsOf(null).nodes).toContain("map");
  });

  test("is refused with expressions that cannot be read, are too large, or look at what does not come before", () => {
    const long = Array.from({ length: 600 }, () => "1").join(" + ");
    const problems = problemsOf({
      nodes: {
        a: { ...step, if: "1 +" },
        b: { ...step, if: "unknown == 1", with: { list: ["${{ nodes }}", "${{ 1 "] } },
        c: { ...step, if: `${long} == 600` },
        d: { ...step, with: "${{ nodes.a.output }}" },
      },
    });
    expect(Object.keys(problems).sort()).toEqual([
      "nodes.a.if",
      "nodes.b.if",
      "nodes.b.with.list[0]",
      "nodes.b.with.list[1]",
      "nodes.c.if",
      "nodes.d",
    ]);
    expect(problems["nodes.d"]).toContain('add "a" to its needs');
  });
});
