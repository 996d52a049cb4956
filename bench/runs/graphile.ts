import { startTestPostgres, tempInstance } from "@hms/testkit";
import { Logger, makeWorkerUtils, run, type TaskList } from "graphile-worker";
import { Pool } from "pg";
import { askFor, Count, timed } from "./callers.ts";
import type { RunContender } from "./contender.ts";

const STEPS_AT_ONCE = 24;
const POOL_SIZE = 20;

/**
 * graphile-worker on the embedded PostgreSQL with our settings of production, with the local queue and the batches of its own
 * page on performance; caller and worker are one process. It knows jobs only: a chain is made by each step asking for the next.
 */
export async function openGraphile(): Promise<RunContender> {
  await using stack = new AsyncDisposableStack();
  const instance = stack.use(tempInstance());
  const postgres = stack.use(await startTestPostgres(instance.paths, { settings: "" }));
  const pgPool = new Pool({ ...(await postgres.source.admin()), max: POOL_SIZE });
  pgPool.on("error", () => {});
  pgPool.on("connect", (client) => client.on("error", () => {}));
  stack.defer(() => pgPool.end());
  const logger = new Logger(() => () => {});
  const count = new Count();
  let began = 0;
  const taskList: TaskList = {
    job: () => {
      began = performance.now();
      count.add();
    },
    link: async (payload, { addJob }) => {
      const { left } = payload as { left: number };
      if (left > 1) await addJob("link", { left: left - 1 });
      else count.add();
    },
  };
  const utils = await makeWorkerUtils({ pgPool, logger });
  stack.defer(() => utils.release());
  await utils.migrate();
  const preset = {
    worker: {
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      concurrentJobs: STEPS_AT_ONCE,
    },
  };
  const runner = await run({ pgPool, taskList, logger, noHandleSignals: true, preset });
  stack.defer(() => runner.stop());
  const owned = stack.move();
  return {
    version: `graphile-worker 0.18.0, ${STEPS_AT_ONCE} steps at once, local queue, batches; PostgreSQL with fsync on; one process`,
    drain: (jobs) =>
      timed(async () => {
        const all = count.next(jobs);
        await askFor(jobs, () => utils.addJob("job", {}));
        await all;
      }),
    startLatencies: async (jobs) => {
      const found: number[] = [];
      for (let n = 0; n < jobs; n += 1) {
        const one = count.next(1);
        const from = performance.now();
        await utils.addJob("job", {});
        await one;
        found.push(began - from);
      }
      return found;
    },
    chain: (steps) =>
      timed(async () => {
        const end = count.next(1);
        await utils.addJob("link", { left: steps });
        await end;
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
