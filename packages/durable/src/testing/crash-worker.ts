import { writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { createInterface } from "node:readline";
import type { InstancePaths } from "@hms/config";
import { type ConnectionSource, connectionSource } from "@hms/postgres";
import { openDurable, type WorkerMoment } from "../index.ts";
import { scriptedStep } from "./scripted-step.ts";

/** What a worker's process of the crash tests does. */
export interface CrashWorkerOrder {
  paths: InstancePaths;
  /** The folder of another socket than the server's. */
  host?: string;
  queue: string;
  leaseMs: number;
  /** Each effect is one line of this file: run node target attempt fence pid failed. */
  effects: string;
  /** Where it breaks, once: at this moment of this node. */
  moment: WorkerMoment;
  node: string;
  /** How: by itself, or it tells its parent ("at") and waits until that says "go". */
  fault: "SIGKILL" | "SIGSTOP" | "tell";
}

/** The same source through another socket. */
function through(source: ConnectionSource, host: string | undefined): ConnectionSource {
  if (host === undefined) return source;
  return {
    ...source,
    admin: async () => ({ ...(await source.admin()), host }),
    as: (role) => ({ ...source.as(role), host }),
  };
}

const order = JSON.parse(process.argv[2] ?? "{}") as CrashWorkerOrder;
const { moment: wanted, node, fault } = order;
// The test's end is ours, however it ends.
const lines = createInterface(process.stdin).on("close", () => process.exit());
let isBroken = false;
const go = new Promise<void>((resolve) => lines.on("line", () => resolve()));
const durable = await openDurable({
  source: through(connectionSource(order.paths), order.host),
  deadlineMs: 60_000,
  statementTimeoutMs: 1500,
});
durable.worker({
  queues: [order.queue],
  leaseMs: order.leaseMs,
  pollMs: 100,
  executors: { scripted: scriptedStep(order.effects) },
  onFailure: ({ message }) => writeSync(1, `failure ${message.replaceAll("\n", " ")}\n`),
  moment: async (moment, tasks) => {
    if (isBroken || moment !== wanted || (node !== "" && !tasks.some((task) => task.node === node))) return;
    isBroken = true;
    writeSync(1, "at\n");
    if (fault === "tell") await go;
    else process.kill(process.pid, fault);
  },
});
writeSync(1, "ready\n");
// Who is killed cannot leave it behind at its end.
flushCompileCache();
