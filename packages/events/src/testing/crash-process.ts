import { writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import type { InstancePaths } from "@hms/config";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { type CloudEvent, openEventLog, openOutbox, outboxTables } from "../index.ts";

/** What a process of the crash tests does until it is killed. */
export interface CrashOrder {
  paths: InstancePaths;
  role: "publisher" | "relay" | "consumer" | "worker";
  /** Another database than the installation's. */
  database?: string;
  /** The process kills itself when it is handed this number. */
  poison?: number;
  /** The service's migrations folder. */
  migrations: string;
  /** The first number to publish, by key. */
  next: Record<string, number>;
  leaseMs: number;
}

/** How the consumers of the crash tests subscribe: one group for each ordering. */
export const crashGroups = { consumer: "key", worker: "none" } as const;

/** One line to the test, whole or not at all, before anything else happens. */
function say(...words: (string | number)[]): void {
  writeSync(1, `${words.join(" ")}\n`);
}

const now = () => process.hrtime.bigint().toString();

async function publish(order: CrashOrder, outbox: Awaited<ReturnType<typeof openOutbox>>): Promise<void> {
  const keyed = async ([key, first]: [string, number]) => {
    for (let n = first; ; n += 1) {
      const event: CloudEvent = {
        specversion: "1.0",
        id: `${key}-${n}`,
        source: "/crash",
        type: "crash.test",
        partitionkey: key,
        data: { n },
      };
      await outbox.publish([event]);
      say("ack", key, n);
    }
  };
  await Promise.all(Object.entries(order.next).map(keyed));
}

// The test's end is ours, however it ends.
process.stdin.resume().on("close", () => process.exit());
const order = JSON.parse(process.argv[2] ?? "{}") as CrashOrder;
const { role, leaseMs } = order;
const whole = connectionSource(order.paths);
const source = order.database ? whole.withDatabase(order.database) : whole;
const onFailure = (failure: Error) => say("failure", JSON.stringify(`${role}: ${failure.message}`));
const log = await openEventLog({ source, relay: role === "relay", onFailure, deadlineMs: 60_000 });
say("ready");
// Who is killed cannot leave it behind at its end.
flushCompileCache();
if (role === "publisher") {
  const migrations = new URL(order.migrations);
  const database = await openServiceDatabase({
    source,
    service: "crash",
    migrations,
    components: [outboxTables],
    deadlineMs: 60_000,
  });
  await publish(order, await openOutbox({ log, database }));
} else if (role !== "relay") {
  const limits = order.poison === undefined ? { ackWaitMs: 2000, maxDeliver: 20 } : { ackWaitMs: 300, maxDeliver: 2 };
  const options = { topics: ["crash.**"], group: `crash-${role}`, from: "start", leaseMs, ...limits } as const;
  await log.subscribe({ ...options, ordering: crashGroups[role] }, (event, { attempt }) => {
    const { n } = event.data as { n: number };
    say("got", event.partitionkey ?? "", n, event.hmsposition ?? "", attempt, now());
    if (n === order.poison) process.kill(process.pid, "SIGKILL");
  });
}
