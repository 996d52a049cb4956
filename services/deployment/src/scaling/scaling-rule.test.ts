import { parseManifest } from "@hms/manifest";
import { expect, test } from "vitest";
import { RetryPause } from "./retry-pause.ts";
import { scalingRule } from "./scaling-rule.ts";

const ruleOf = (scaling: string) =>
  scalingRule(parseManifest(`name: a\nrun: {command: b}\nscaling: ${scaling}\n`).scaling);

test("the load decides where the manifest says so, with defaults by what decides", () => {
  const shared = { min: 2, max: 10, concurrency: 50, idleMs: 300_000, maxReplicaHours: undefined };
  expect(ruleOf("{min: 2, max: 10}")).toEqual({ ...shared, by: "concurrency", stabilizationMs: 120_000 });
  expect(ruleOf("{min: 2, max: 10, by: cpu}")).toEqual({ ...shared, by: "cpu", stabilizationMs: 0 });
  expect(ruleOf("{min: 2}")).toBeUndefined();
  expect(ruleOf("{min: 2, max: 10, by: none}")).toBeUndefined();
});

test("manifests that versions before have stored, and that lack the keys, are left alone", () => {
  expect(scalingRule({ min: 2, max: 10 })).toBeUndefined();
});

test("a change that failed waits ten seconds, then twice as long, ten minutes at most, until one succeeds", () => {
  const pause = new RetryPause();
  const waits = Array.from({ length: 9 }, () => {
    pause.failed(0);
    return [10, 20, 40, 80, 160, 320, 600].find((seconds) => pause.isOver(seconds * 1000));
  });
  expect(waits).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600]);
  pause.succeeded();
  expect(pause.isOver(0)).toBe(true);
});
