import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openDurable, type RunGraph } from "@hms/durable";
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import { askFor, Count, timed } from "./callers.ts";
import type { RunContender } from "./contender.ts";

const principal = { kind: "component", id: "bench" } as const;
const step = { uses: "noop", effect: "idempotent" } as const;
const JOB: RunGraph = { nodes: { job: step } };
const LOST_WORKER = fileURLToPath(new URL("./hms-lost-worker.ts", import.meta.url));
/** Steps that run when their worker is killed. */
const LOST_STEPS = 20;

/** Ours, on the embedded PostgreSQL with its settings of production; caller and worker are one process. */
export async function openHms(): Promise<RunContender> {
  await using stack = new AsyncDisposableStack();
  const instance = stack.use(tempInstance());
  const postgres = stack.use(await startTestPostgres(instance.paths, { settings: "" }));
  const durable = stack.use(await openDurable({ source: postgres.source }));
  const count = new Count();
  let began = 0;
  stack.use(
    durable.worker({
      concurrency: 400,
      executors: {
        noop: () => {
          began = performance.now();
          count.add();
        },
      },
      onFailure: (failure) => process.stderr.write(`${failure.message}\n`),
    }),
  );
  const start = (graph: RunGraph) => durable.start({ environment: "bench", graph, principal });
  const play = (graph: RunGraph) =>
    timed(async () => {
      const { id } = await start(graph);
      await durable.ended(id, 60_000);
    });
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
    drain: (jobs) =>
      timed(async () => {
        const all = count.next(jobs);
        await askFor(jobs, () => start(JOB));
        await all;
        // Done is what is stored as done.
        while ((await open()) > 0);
      }),
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
    recovery: async () => {
      const queue = `lost-${randomUUID()}`;
      const lost = spawn(process.execPath, [LOST_WORKER, JSON.stringify(instance.paths), queue], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      const begun = new Count();
      createInterface(lost.stdout).on("line", () => begun.add());
      const allBegun = begun.next(LOST_STEPS);
      const held = { nodes: { held: { ...step, uses: "held", queue } } };
      await durable.startAll(
        Array.from({ length: LOST_STEPS }, () => ({ environment: "bench", graph: held, principal })),
      );
      await allBegun;
      const again = new Count();
      const allAgain = again.next(LOST_STEPS);
      await using _other = durable.worker({
        queues: [queue],
        concurrency: 100,
        executors: { held: () => again.add() },
      });
      // A heartbeat later: the leases are as long as they get.
      await delay(3500);
      const closed = once(lost, "close");
      lost.kill("SIGKILL");
      const ms = await timed(() => allAgain);
      await closed;
      return ms;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
