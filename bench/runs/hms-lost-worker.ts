import type { InstancePaths } from "@hms/config";
import { openDurable } from "@hms/durable";
import { connectionSource } from "@hms/postgres";

/** A worker whose steps never end: it says a line as each begins, and is killed. Its arguments: paths as JSON, queue. */
const [paths = "{}", queue = ""] = process.argv.slice(2);
// The bench's end is ours, however it ends.
process.stdin.resume().on("close", () => process.exit());
const durable = await openDurable({ source: connectionSource(JSON.parse(paths) as InstancePaths) });
durable.worker({
  queues: [queue],
  concurrency: 100,
  executors: {
    held: () => {
      process.stdout.write("began\n");
      return new Promise(() => {});
    },
  },
});
