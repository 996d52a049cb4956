import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { waitFor } from "@hms/testkit";
import fc from "fast-check";
import { sql } from "kysely";
import { rowsOf } from "../run-database.ts";
import { brokenPromises, EffectsByRun } from "./broken-promises.ts";
import type { CrashArena } from "./crash-arena.ts";
import { principal } from "./open-engine.ts";
import { randomCases } from "./random-graph.ts";
import type { RandomWorkerOrder } from "./random-worker.ts";

/** What random crashes came to. */
export interface RandomCrashes {
  readonly runs: number;
  readonly kills: number;
  readonly databaseKills: number;
  /** Attempts that were lost with their worker. */
  readonly lost: number;
  /** What contradicts a promise, with the run. */
  readonly broken: readonly string[];
}

/** How many runs, and how often something is killed. */
export interface RandomCrashOptions {
  readonly runs: number;
  readonly seed: number;
  /** How long a worker is at work before it is killed, in the middle; default 1500. */
  readonly killEveryMs?: number;
  /** Runs that are open at once; default 60. Most of the time a run waits for the leases of the dead. */
  readonly open?: number;
  /** The database is killed with every so-manyth kill; default 0: never. */
  readonly databaseEvery?: number;
}

const PROGRAM = fileURLToPath(new URL("./random-worker.ts", import.meta.url));
const WORKERS = 3;
const LEASE_MS = 1000;
/** Runs that are open at once, if not said otherwise. */
const OPEN = 60;

/**
 * Plays random graphs on workers that are killed at random moments, until so many runs have ended; a step that may not be
 * repeated and was lost is decided upon by looking for its effect. Every run is compared with the reference scheduler.
 */
export async function playRandomCrashes(arena: CrashArena, options: RandomCrashOptions): Promise<RandomCrashes> {
  const { runs, seed, killEveryMs = 1500, databaseEvery = 0, open = OPEN } = options;
  const { durable } = arena;
  const file = `${arena.folder}/random-${seed}.effects`;
  const effects = new EffectsByRun(file);
  const queue = `random-${seed}`;
  const cases = fc.sample(randomCases(10), { numRuns: runs, seed });
  const order: RandomWorkerOrder = { paths: arena.paths, queue, leaseMs: LEASE_MS, effects: file };
  let isOver = false;
  let kills = 0;
  let databaseKills = 0;
  const repeats = new Map<string, string[]>();
  const kill = async (child: ChildProcess) => {
    kills += 1;
    if (databaseEvery > 0 && kills % databaseEvery === 0) {
      databaseKills += 1;
      await arena.restartDatabase(() => {});
    }
    await end(child);
  };
  /** One worker after the other, each killed at a random moment once it is at work. */
  const lives = async () => {
    while (!isOver) {
      const child = spawn(process.execPath, [PROGRAM, JSON.stringify(order)], { stdio: ["pipe", "pipe", "inherit"] });
      await Promise.race([once(child.stdout, "data"), over.promise]);
      await Promise.race([delay(killEveryMs * 2 * Math.random()), over.promise]);
      await (isOver ? end(child) : kill(child));
    }
  };
  const decider = async () => {
    while (!isOver) {
      await decideOpen(arena, effects, repeats).catch(() => {});
      await delay(100);
    }
  };
  const over = Promise.withResolvers<void>();
  const background = Promise.all([...Array.from({ length: WORKERS }, lives), decider()]);
  const broken: string[] = [];
  let next = 0;
  const player = async () => {
    while (next < cases.length) {
      const { graph, script } = cases[next++] as (typeof cases)[number];
      const own = {
        nodes: Object.fromEntries(Object.entries(graph.nodes).map(([name, node]) => [name, { ...node, queue }])),
      };
      const { id } = await durable.start({ environment: "crash", graph: own, inputs: { word: "yes" }, principal });
      const state = await patiently(arena, id, () => durable.ended(id, 60_000));
      const { nodes } = await patiently(arena, id, () => durable.get("crash", id));
      const ends = Object.fromEntries(nodes.map(({ node, state: end }) => [node, end]));
      const losses = Math.max(0, ...nodes.map(({ attempt }) => attempt));
      const outcome = {
        graph: own,
        state,
        nodes: ends,
        effects: effects.of(id),
        losses,
        repeats: repeats.get(id) ?? [],
      };
      const problems = brokenPromises({ ...outcome, script: (name) => script[name] ?? { fails: 0 } });
      broken.push(...problems.map((problem) => `${id}: ${problem}`));
    }
  };
  try {
    await Promise.all(Array.from({ length: open }, player));
  } finally {
    isOver = true;
    over.resolve();
    await background;
  }
  const [lost] = await rowsOf(
    durable.database,
    sql<{ lost: number }>`select count(*)::int as lost from attempt where outcome = 'lost'`,
  );
  return { runs: cases.length, kills, databaseKills, lost: lost?.lost ?? 0, broken };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

/** The longest that a run may take: a run that hangs is shown with its rows. */
const LONGEST_RUN_MS = 300_000;

/** The database may be away for the moment. */
async function patiently<T>({ durable }: CrashArena, runId: string, work: () => Promise<T>): Promise<T> {
  let found: { value: T } | undefined;
  const look = async () => {
    found = { value: await work() };
    return true;
  };
  const describe = `the run ${runId} to end`;
  await waitFor(look, { deadlineMs: LONGEST_RUN_MS, intervalMs: 100, describe }).catch(async (late: Error) => {
    const rows = await rowsOf(
      durable.database,
      sql`select node, state, attempt, worker, lease_until, wait_for, due_at, ready_at from task where run_id = ${runId}::uuid`,
    );
    throw new Error(`${late.message} ${JSON.stringify(rows)}`);
  });
  return (found as unknown as { value: T }).value;
}

async function decideOpen(
  { durable }: CrashArena,
  effects: EffectsByRun,
  repeats: Map<string, string[]>,
): Promise<void> {
  const waiting = await rowsOf(
    durable.database,
    sql<{ run_id: string; node: string }>`select run_id, node from task where state = 'needs_decision'`,
  );
  for (const { run_id: runId, node } of waiting) {
    const own = effects.of(runId).filter((effect) => effect.node === node);
    const isDone = own.some((effect) => !effect.isFailing);
    if (!isDone && own.length > 0) repeats.set(runId, [...(repeats.get(runId) ?? []), node]);
    const decision = isDone ? ({ decision: "succeed", output: { node } } as const) : ({ decision: "retry" } as const);
    await durable.decide({ environment: "crash", runId, node, by: principal, ...decision });
  }
}
