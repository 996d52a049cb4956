import { calls } from "@hms/contracts";
import { Kernel, type MethodEntry } from "@hms/kernel";
import { expositionProblems } from "@hms/testkit";
import { expect, test } from "vitest";
import { createCallMetrics, createCallService, mergeMetrics } from "./index.ts";

function page(...names: string[]): string {
  const metrics = createCallMetrics();
  for (const name of names) metrics.finished({ name } as MethodEntry, "OK", 1);
  return metrics.expose();
}

test("pages of several processes are one well-formed page, in which parts have names and say whether they answer", () => {
  const parts = [
    { part: "registry", text: page("hms.a.v1.A/Do", "hms.b.v1.B/Go") },
    { part: "deployment+mesh", text: undefined },
  ];
  const merged = mergeMetrics(page("hms.a.v1.A/Do"), parts);
  expect(expositionProblems(merged)).toEqual([]);
  const ofA = merged.split("\n").filter((line) => line.startsWith("hms_ffi_calls_total") && line.includes("A"));
  expect(ofA).toEqual([
    'hms_ffi_calls_total{service="hms.a.v1.A",method="Do",code="OK"} 1',
    'hms_ffi_calls_total{part="registry",service="hms.a.v1.A",method="Do",code="OK"} 1',
  ]);
  expect(merged).toContain('hms_ffi_part_up{part="registry"} 1\nhms_ffi_part_up{part="deployment+mesh"} 0\n');
  expect(mergeMetrics(page("hms.a.v1.A/Do"), [])).toBe(page("hms.a.v1.A/Do"));
});

test("a page of any size is told in pieces, with the name of the process", async () => {
  const text = "x".repeat(600_000);
  const kernel = new Kernel({
    identity: { authenticate: () => ({ kind: "operator", id: "operator" }) },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(createCallService({ observer: {}, process: "mesh", metrics: () => text }));
  const pieces: calls.GetMetricsResponse[] = [];
  const client = kernel.client(calls.CallService, { kind: "operator", id: "operator" });
  for await (const piece of client.getMetrics({})) pieces.push(piece);
  expect(pieces.map(({ process }) => process)).toEqual(["mesh", "mesh", "mesh"]);
  expect(pieces.map((piece) => piece.text).join("")).toBe(text);
});
