import { flushCompileCache } from "node:module";
import type { InstancePaths } from "@hms/config";
import { connectionSource } from "@hms/postgres";
import { openDurable } from "../index.ts";
import { scriptedStep } from "./scripted-step.ts";

/** What a worker does until it is killed. */
export interface RandomWorkerOrder {
  paths: InstancePaths;
  queue: string;
  leaseMs: number;
  effects: string;
}

// The test's end is ours, however it ends.
process.stdin.resume().on("close", () => process.exit());
const order = JSON.parse(process.argv[2] ?? "{}") as RandomWorkerOrder;
const durable = await openDurable({
  source: connectionSource(order.paths),
  deadlineMs: 60_000,
  statementTimeoutMs: 1500,
});
durable.worker({
  queues: [order.queue],
  leaseMs: order.leaseMs,
  pollMs: 50,
  concurrency: 50,
  executors: { scripted: scriptedStep(order.effects) },
});
process.stdout.write("ready\n");
// Who is killed cannot leave it behind at its end.
flushCompileCache();
