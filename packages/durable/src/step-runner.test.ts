import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { ClaimedTask } from "./claimed-task.ts";
import { StepRunner } from "./step-runner.ts";

test("a step whose time is over before its effect begins is not executed, and gives its slot back", async () => {
  let executions = 0;
  const deaf = () => {
    executions += 1;
    return new Promise<never>(() => {});
  };
  const runner = new StepRunner({
    executors: { deaf },
    authorize: () => delay(50),
    startRun: async () => {},
    graceMs: 10,
    holds: () => true,
    results: async () => ({}),
  });
  const task: ClaimedTask = {
    runId: "r",
    node: "a",
    target: "",
    item: null,
    attempt: 1,
    failures: 0,
    fence: "1",
    spec: { uses: "deaf", timeout_ms: 5 },
    followers: 0,
  };
  const run = { id: "r", environment: "e", inputs: {}, principal: { kind: "service", id: "s" } };
  const outcome = await runner.run(task, run, new AbortController().signal);
  expect(outcome).toMatchObject({ outcome: "failed", error: { code: "DEADLINE_EXCEEDED", reason: "STEP_TIMEOUT" } });
  expect(executions).toBe(0);
});
