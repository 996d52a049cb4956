import { DBOS, type WorkflowHandle } from "@dbos-inc/dbos-sdk";
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { Pool } from "pg";
import { askFor, timed } from "./callers.ts";
import type { RunContender } from "./contender.ts";

const POOL_SIZE = 20;
const silent = { info: () => {}, debug: () => {}, warn: () => {}, error: () => {} };
let began = 0;
const noop = async () => {
  began = performance.now();
};
const step = (name: string) => DBOS.runStep(noop, { name });
const job = DBOS.registerWorkflow(() => step("job"), { name: "job" });
const chain = DBOS.registerWorkflow(
  async (steps: number) => {
    for (let n = 0; n < steps; n += 1) await step(`s${n}`);
  },
  { name: "chain" },
);
const fanOut = DBOS.registerWorkflow(
  async (steps: number) => {
    await Promise.all(Array.from({ length: steps }, (_, n) => step(`t${n}`)));
    await step("join");
  },
  { name: "fan-out" },
);

/**
 * DBOS on the embedded PostgreSQL with our settings of production, without a queue: workflows begin in the process that asks
 * for them, which is also what runs their steps.
 */
export async function openDbos(): Promise<RunContender> {
  await using stack = new AsyncDisposableStack();
  const instance = stack.use(tempInstance());
  const postgres = stack.use(await startTestPostgres(instance.paths, { settings: "" }));
  const admin = await postgres.source.admin();
  const pool = new Pool({ ...admin, max: POOL_SIZE });
  pool.on("error", () => {});
  stack.defer(() => pool.end());
  const secret = `${admin.user}:${encodeURIComponent(String(admin.password))}`;
  // The host is in the parameter; a URL has to name one nonetheless.
  const place = `localhost/${admin.database}?host=${encodeURIComponent(String(admin.host))}`;
  DBOS.setConfig({
    name: "bench",
    systemDatabaseUrl: `postgresql://${secret}@${place}`,
    systemDatabasePool: pool,
    runAdminServer: false,
    logger: silent,
  });
  await DBOS.launch();
  stack.defer(() => DBOS.shutdown());
  const whole = (started: Promise<WorkflowHandle<void>>) => timed(async () => (await started).getResult());
  const owned = stack.move();
  return {
    version: "DBOS 5.3.0, PostgreSQL with fsync on; one process, workflows begin where they are asked for",
    drain: (jobs) =>
      timed(async () => {
        const handles: WorkflowHandle<void>[] = [];
        await askFor(jobs, async () => handles.push(await DBOS.startWorkflow(job)()));
        await Promise.all(handles.map((handle) => handle.getResult()));
      }),
    startLatencies: async (jobs) => {
      const found: number[] = [];
      for (let n = 0; n < jobs; n += 1) {
        const from = performance.now();
        await (await DBOS.startWorkflow(job)()).getResult();
        found.push(began - from);
      }
      return found;
    },
    chain: (steps) => whole(DBOS.startWorkflow(chain)(steps)),
    fanOut: (steps) => whole(DBOS.startWorkflow(fanOut)(steps)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
