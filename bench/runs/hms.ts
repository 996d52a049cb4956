import { openDurable, type RunGraph } from "@hms/durable";
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import type { RunContender } from "./contender.ts";

const principal = { kind: "component", id: "bench" } as const;
const step = { uses: "noop", effect: "idempotent" } as const;
const JOB: RunGraph = { nodes: { job: step } };
/** Callers that each wait for their run to be stored, as many as a busy server has. */
const CALLERS = 500;

/** Ours, on the embedded PostgreSQL with its settings of production; caller and worker are one process. */
export async function openHms(): Promise<RunContender> {
  await using stack = new AsyncDisposableStack();
  const instance = stack.use(tempInstance());
  const postgres = stack.use(await startTestPostgres(instance.paths, { settings: "" }));
  const durable = stack.use(await openDurable({ source: postgres.source }));
  let done = 0;
  let wanted = Number.POSITIVE_INFINITY;
  let all = Promise.withResolvers<void>();
  let began = 0;
  stack.use(
    durable.worker({
      concurrency: 400,
      executors: {
        noop: () => {
          began = performance.now();
          done += 1;
          if (done === wanted) all.resolve();
        },
      },
      onFailure: (failure) => process.stderr.write(`${failure.message}\n`),
    }),
  );
  const start = (graph: RunGraph) => durable.start({ environment: "bench", graph, principal });
  const play = async (graph: RunGraph) => {
    const from = performance.now();
    const { id } = await start(graph);
    await durable.ended(id, 60_000);
    return performance.now() - from;
  };
  const open = async () => {
    const { rows } = await sql<{ open: number }>`select count(*)::int as open from run where ended_at is null`.execute(
      durable.database.db,
    );
    return rows[0]?.open ?? 0;
  };
  const { rows } = await sql<{ version: string }>`select current_setting('server_version') as version`.execute(
    durable.database.db,
  );
  const owned = stack.move();
  return {
    version: `PostgreSQL ${rows[0]?.version}, fsync on; one process, 400 steps at once`,
    drain: async (jobs) => {
      done = 0;
      wanted = jobs;
      all = Promise.withResolvers();
      const from = performance.now();
      let asked = 0;
      const caller = async () => {
        while (asked < jobs) {
          asked += 1;
          await start(JOB);
        }
      };
      await Promise.all(Array.from({ length: CALLERS }, caller));
      await all.promise;
      // Done is what is stored as done.
      while ((await open()) > 0);
      return performance.now() - from;
    },
    startLatencies: async (jobs) => {
      const found: number[] = [];
      for (let n = 0; n < jobs; n += 1) {
        const from = performance.now();
        const { id } = await start(JOB);
        await durable.ended(id, 60_000);
        found.push(began - from);
      }
      return found;
    },
    chain: (steps) =>
      play({
        nodes: Object.fromEntries(
          Array.from({ length: steps }, (_, n) => [`s${n}`, { ...step, needs: n === 0 ? [] : [`s${n - 1}`] }]),
        ),
      }),
    fanOut: (steps) =>
      play({
        nodes: {
          wide: { ...step, targets: { items: Array.from({ length: steps }, (_, n) => `t${n}`) } },
          join: { ...step, needs: ["wide"] },
        },
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
