import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openAdmin } from "@hms/postgres";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import type { Effect, GraphNode, Json, RunGraph, WorkerMoment } from "../index.ts";
import { rowsOf } from "../run-database.ts";
import { brokenPromises, effectsOf } from "./broken-promises.ts";
import type { CrashArena } from "./crash-arena.ts";
import type { CrashWorkerOrder } from "./crash-worker.ts";
import { openFaultyProxy } from "./faulty-proxy.ts";
import { principal } from "./open-engine.ts";
import { scriptedStep } from "./scripted-step.ts";

/** Where something breaks. "in-settle": within the transaction that stores a result. */
const moments = [
  "before-claim",
  "claimed",
  "before-effect",
  "after-effect",
  "before-settle",
  "in-settle",
  "after-settle",
  "before-heartbeat",
  "before-look",
] as const;
/** What breaks. */
const faults = ["SIGKILL", "SIGSTOP", "database-restart", "half-open", "lost-answer"] as const;

/** One cell of the crash matrix. */
export interface CrashCell {
  readonly moment: (typeof moments)[number];
  readonly fault: (typeof faults)[number];
  /** What the step at which it breaks declares. */
  readonly effect: Effect;
}

export const crashCells: CrashCell[] = moments.flatMap((moment) =>
  faults.flatMap((fault) =>
    (["idempotent", "resumable", "at_most_once"] as const).map((effect) => ({ moment, fault, effect })),
  ),
);

const LEASE_MS = 1500;
const PROGRAM = fileURLToPath(new URL("./crash-worker.ts", import.meta.url));

/** A chain through the victim, an edge for its failure, joins of both kinds, a retry, and what runs finally. */
function graphOf(queue: string, effect: Effect): RunGraph {
  const step = (more: Partial<GraphNode>, input: Json = {}): GraphNode => ({
    uses: "scripted",
    queue,
    effect: "idempotent",
    with: input,
    ...more,
  });
  return {
    nodes: {
      before: step({}),
      victim: step({ needs: ["before"], effect }, { ms: 700 }),
      next: step({ needs: ["victim"], if: "nodes.victim.output.node == 'victim'" }),
      undo: step({ needs: [{ node: "victim", on: "failure" }] }),
      either: step({ needs: ["next", "undo"], join: "any" }),
      again: step(
        { needs: ["victim"], retry: { max: 2, backoff: "fixed", initial_ms: 20 }, effect: "at_most_once" },
        { fails: 1 },
      ),
      both: step({ needs: ["either", "again"], effect: "at_most_once" }),
      last: step({ finally: true, effect: "at_most_once" }),
    },
  };
}

const momentOf = (moment: CrashCell["moment"]): WorkerMoment => {
  if (moment === "before-claim") return "before-settle";
  return moment === "in-settle" ? "before-settle" : moment;
};

/** What came of a cell. */
export interface CellResult {
  readonly state: string;
  readonly nodes: { readonly [name: string]: string };
  /** What contradicts a promise. */
  readonly broken: readonly string[];
  /** From the fault to the end of the run. */
  readonly ms: number;
}

/** Whether the worker does it to itself, at exactly this moment. */
const isByItself = ({ fault, moment }: CrashCell) =>
  (fault === "SIGKILL" || fault === "SIGSTOP") && moment !== "in-settle";

/**
 * Plays one cell: starts a run and a worker that breaks, lets the others take over, and looks at what came of it.
 * `leaseMs`: default 1500.
 */
export async function playCell(arena: CrashArena, cell: CrashCell, leaseMs = LEASE_MS): Promise<CellResult> {
  const queue = `cell-${Math.random().toString(36).slice(2)}`;
  const effects = `${arena.folder}/${queue}.effects`;
  const graph = graphOf(queue, cell.effect);
  await using stack = new AsyncDisposableStack();
  const usesProxy = cell.fault === "half-open" || cell.fault === "lost-answer";
  const proxy = usesProxy ? stack.use(await openFaultyProxy(arena.socketFolder)) : undefined;
  const order: CrashWorkerOrder = {
    paths: arena.paths,
    ...(proxy ? { host: proxy.host } : {}),
    queue,
    leaseMs,
    effects,
    moment: momentOf(cell.moment),
    node: cell.moment === "before-claim" || cell.moment === "before-look" ? "" : "victim",
    fault: isByItself(cell) ? (cell.fault as "SIGKILL" | "SIGSTOP") : "tell",
  };
  const { id } = await arena.durable.start({ environment: "crash", graph, principal });
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(order)], { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  stack.defer(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  await says(child, "at");
  const brokeAt = performance.now();
  await breakIt({ arena, cell, child, runId: id, proxy });
  const survives = cell.fault !== "SIGKILL" && cell.fault !== "SIGSTOP";
  if (!survives) {
    stack.use(
      arena.durable.worker({
        queues: [queue],
        leaseMs,
        pollMs: 50,
        executors: { scripted: scriptedStep(effects) },
      }),
    );
  }
  const { state, repeats } = await endOf(arena, id, effects);
  const ms = performance.now() - brokeAt;
  if (cell.fault === "SIGSTOP") {
    child.kill("SIGCONT");
    // What was thought dead goes on: long enough for its step (700 ms), its result and a heartbeat. Nothing of it is to be seen.
    await delay(1600);
  }
  const { nodes } = await arena.durable.get("crash", id);
  const ends = Object.fromEntries(nodes.map(({ node, state: end }) => [node, end]));
  return {
    state,
    nodes: ends,
    ms,
    broken: brokenPromises({ graph, state, nodes: ends, effects: effectsOf(effects), repeats }),
  };
}

async function says(child: ChildProcess, word: string): Promise<void> {
  const heard: string[] = [];
  const lines = createInterface(child.stdout!).on("line", (line) => heard.push(line));
  const isThere = () => {
    if (child.exitCode !== null) throw new Error(`The worker ended with ${child.exitCode}.`);
    return heard.includes(word);
  };
  await waitFor(isThere, { describe: () => `the worker to say "${word}"; it said: ${heard.join(" · ")}` });
  lines.removeAllListeners("line");
  child.stdout!.resume();
}

interface Breaking {
  arena: CrashArena;
  cell: CrashCell;
  child: ChildProcess;
  runId: string;
  proxy: Awaited<ReturnType<typeof openFaultyProxy>> | undefined;
}

async function breakIt(breaking: Breaking): Promise<void> {
  const { arena, cell, child, runId, proxy } = breaking;
  const go = () => {
    if (!isByItself(cell)) child.stdin?.write("go\n");
  };
  const doIt = async () => {
    if (cell.fault === "half-open") proxy?.halfOpen();
    if (cell.fault === "lost-answer") proxy?.loseAnswers();
    if (cell.fault === "database-restart") await arena.restartDatabase(go);
  };
  if (cell.moment !== "in-settle") {
    await doIt();
    go();
    return;
  }
  // Its statement waits for this lock in the middle of its transaction.
  const admin = await openAdmin(arena.source());
  try {
    await admin.query("begin");
    await admin.query("select from durable.run where id = $1 for update", [runId]);
    go();
    const isStuck = async () =>
      (await admin.query("select from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid))")).length >
      0;
    await waitFor(isStuck, { intervalMs: 10, describe: "the result to be on its way" });
    if (cell.fault === "SIGKILL" || cell.fault === "SIGSTOP") child.kill(cell.fault);
    await doIt();
  } finally {
    await admin.query("commit").catch(() => {});
    await admin[Symbol.asyncDispose]();
  }
}

/** Waits for the run's end, and decides like an operator who looks whether the effect is there. */
async function endOf({ durable }: CrashArena, runId: string, effects: string) {
  let state: string | undefined;
  const repeats: string[] = [];
  const look = async () => {
    const waiting = await rowsOf(
      durable.database,
      sql<{ node: string }>`select node from task where run_id = ${runId}::uuid and state = 'needs_decision'`,
    );
    for (const { node } of waiting) {
      const isDone = effectsOf(effects).some((effect) => effect.node === node && !effect.isFailing);
      const decision = isDone ? ({ decision: "succeed", output: { node } } as const) : ({ decision: "retry" } as const);
      await durable.decide({ environment: "crash", runId, node, by: principal, ...decision });
      if (!isDone && effectsOf(effects).some((effect) => effect.node === node)) repeats.push(node);
    }
    const [run] = await rowsOf(
      durable.database,
      sql<{ state: string }>`select state from run where id = ${runId}::uuid and ended_at is not null`,
    );
    state = run?.state;
    return state !== undefined;
  };
  const describe = () => `the run ${runId} to end`;
  await waitFor(look, { deadlineMs: 30_000, describe, intervalMs: 50 }).catch(async (late: Error) => {
    const rows = await rowsOf(
      durable.database,
      sql`select node, state, attempt, worker, lease_until, error from task where run_id = ${runId}::uuid`,
    );
    throw new Error(`${late.message} ${JSON.stringify(rows)}`);
  });
  return { state: state as unknown as string, repeats };
}
