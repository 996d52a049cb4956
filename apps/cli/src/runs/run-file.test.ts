import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { HmsError } from "@hms/kernel/errors";
import { tempFolder } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readInputs, readLabelOptions, repeated } from "./named-values.ts";
import { readRunFile } from "./run-file.ts";

let folder: ReturnType<typeof tempFolder>;
beforeAll(() => {
  folder = tempFolder({});
});
afterAll(() => folder[Symbol.dispose]());

function file(text: string): string {
  const path = fileURLToPath(new URL("run.yml", folder.url));
  writeFileSync(path, text);
  return path;
}
const refused = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    return HmsError.from(error);
  }
  return undefined;
};

describe("the file of a run", () => {
  test("has a graph, and what else a run can have", () => {
    const text = `
labels: { team: sre, tier: 1 }
inputs: { hosts: [a, b] }
timeout: 1h30m
priority: 5
concurrency: { key: patch, limit: 2, on_limit: reject }
nodes:
  a: { uses: x, queue: q, effect: idempotent }
`;
    const { placed: _, ...read } = readRunFile(file(text));
    expect(read).toEqual({
      graph: { nodes: { a: { uses: "x", queue: "q", effect: "idempotent" } } },
      labels: { team: "sre", tier: "1" },
      inputs: { hosts: ["a", "b"] },
      timeoutMs: 5_400_000,
      priority: 5,
      concurrency: { key: "patch", limit: 2, onLimit: "reject" },
    });
  });

  test("is refused with every problem and its place", () => {
    const text =
      "node: {}\nlabels: [a]\ntimeout: soon\nconcurrency: { limit: 0, on_limit: wait, more: 1 }\npriority: high\n";
    expect(refused(() => readRunFile(file(text)))?.details.fieldViolations).toEqual([
      { field: "node", description: "is not known here; did you mean nodes?", line: 1, column: 1 },
      { field: "nodes", description: "is missing: a map of the run's nodes by their names", line: 1, column: 1 },
      { field: "labels", description: "must be a map of texts", line: 2, column: 1 },
      { field: "timeout", description: 'is "soon", which is no time: write 90s, 10m, 2h or 1h30m', line: 3, column: 1 },
      { field: "priority", description: "must be a whole number from -100 to 100", line: 5, column: 1 },
      {
        field: "concurrency.more",
        description: "is not known here; known are key, limit, on_limit",
        line: 4,
        column: 42,
      },
      { field: "concurrency.key", description: "is missing: say which runs count together", line: 4, column: 1 },
      { field: "concurrency.limit", description: "must be a whole number from 1 on", line: 4, column: 16 },
      {
        field: "concurrency.on_limit",
        description: "must be one of queue, cancel_running, reject",
        line: 4,
        column: 26,
      },
    ]);
    expect(refused(() => readRunFile(file("nodes: [\n")))?.details.fieldViolations?.[0]).toMatchObject({ line: 2 });
    expect(refused(() => readRunFile("/nowhere.yml"))).toMatchObject({ code: "NOT_FOUND" });
  });

  test("shows where in it the problems are that the platform has found", () => {
    const { placed } = readRunFile(file("nodes:\n  a:\n    needs: [b, c]\n    retry:\n      max: x\n"));
    const found = ["graph.nodes.a.retry.max", "graph.nodes.a.needs[1]", "graph.nodes.a.effect", "graph.nodes.z.uses"];
    const fieldViolations = found.map((field) => ({ field, description: "is wrong" }));
    const error = placed(new HmsError("INVALID_ARGUMENT", "The graph cannot run.", { fieldViolations }));
    expect(error.details.fieldViolations?.map(({ field, line, column }) => `${line}:${column} ${field}`)).toEqual([
      "5:7 nodes.a.retry.max",
      "3:16 nodes.a.needs[1]",
      "2:3 nodes.a.effect",
      "1:1 nodes.z.uses",
    ]);
    const other = new HmsError("UNAVAILABLE", "Away.");
    expect(placed(other)).toBe(other);
  });
});

describe("options that may be repeated", () => {
  test("are texts, or JSON after :=", () => {
    const texts = repeated("a=1.10\nb:=1.10\nc:=[1]\nd=x=y\ne=");
    expect(readInputs(texts)).toEqual({ a: "1.10", b: 1.1, c: [1], d: "x=y", e: "" });
    expect(readLabelOptions(repeated("team=sre\nurl=a=b"))).toEqual({ team: "sre", url: "a=b" });
    expect(readInputs(repeated(undefined))).toEqual({});
  });

  test("are refused all at once", () => {
    const inputs = refused(() => readInputs(["a", "b:=x", "=c", "d=1"]));
    expect(inputs?.details.fieldViolations).toHaveLength(3);
    expect(refused(() => readLabelOptions(["a", "=b", "c=d"]))?.details.fieldViolations).toHaveLength(2);
  });
});
