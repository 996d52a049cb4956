import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import { andAfter, carryOn } from "./carry-on.ts";
import type { RunPrincipal } from "./claimed-task.ts";
import type { RunGraph } from "./graph.ts";
import type { Json } from "./json.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";
import { type StartedRun, startRuns } from "./start-run.ts";

/** How an ended run is carried on by a new one. */
export interface RetryRequest {
  readonly environment: string;
  readonly runId: string;
  /** Do this node and all after it, even if they have succeeded. Default: only what has not succeeded. */
  readonly from?: string;
  /** Of a node with targets, only those that have not succeeded. */
  readonly onlyFailedTargets?: boolean;
  /** Other inputs; what is done stays as it was. Default: the same. */
  readonly inputs?: { readonly [name: string]: Json };
  /** On whose behalf. */
  readonly principal: RunPrincipal;
  readonly idempotencyKey?: string;
}

interface OldRun {
  graph: RunGraph;
  inputs: { readonly [name: string]: Json };
  labels: { readonly [name: string]: string };
  has_ended: boolean;
}

interface OldNode {
  node: string;
  state: string;
  output: Json;
}

/**
 * Starts a run of the same graph in which what has succeeded is done.
 * @throws HmsError NOT_FOUND; FAILED_PRECONDITION if it has not ended; INVALID_ARGUMENT if there is no such node.
 */
export async function retryRun(database: RunDatabase, request: RetryRequest): Promise<StartedRun> {
  const { environment, runId, from, inputs, principal, idempotencyKey, onlyFailedTargets = false } = request;
  const [old] = await rowsOf(
    database,
    sql<OldRun>`select graph, inputs, labels, ended_at is not null as has_ended from run where id = ${runId}::uuid and environment = ${environment}`,
  );
  if (!old) throw new HmsError("NOT_FOUND", `There is no run ${runId} in ${environment}.`, { reason: "NO_RUN" });
  if (!old.has_ended) {
    throw new HmsError("FAILED_PRECONDITION", `The run ${runId} has not ended. Cancel it first, or wait.`, {
      reason: "RUN_OPEN",
    });
  }
  if (from !== undefined && !Object.hasOwn(old.graph.nodes, from)) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `The run has no node "${from}"; it has ${Object.keys(old.graph.nodes).join(", ")}.`,
      {
        reason: "NO_NODE",
      },
    );
  }
  const nodes = await rowsOf(
    database,
    sql<OldNode>`select node, state, output from task where run_id = ${runId}::uuid and target = ''`,
  );
  const done = new Map(nodes.filter(({ state }) => state === "succeeded").map(({ node, output }) => [node, output]));
  // What stands for another end than the one that comes now is not done: it is judged again.
  for (const name of handlersOf(old.graph, nodes)) done.delete(name);
  for (const name of from === undefined ? [] : andAfter(old.graph, from)) done.delete(name);
  const tasks = carryOn(old.graph, done);
  const [started] = await startRuns(
    database,
    [
      {
        environment,
        graph: old.graph,
        inputs: inputs ?? old.inputs,
        labels: old.labels,
        principal: principal,
        ...(idempotencyKey ? { idempotencyKey } : {}),
      },
    ],
    { retryOf: runId, onlyFailedTargets, tasks },
  );
  return started as StartedRun;
}

/** What has failed or was cancelled, with all after it: what began because of that has no reason to now. */
function handlersOf(graph: RunGraph, nodes: readonly OldNode[]): Set<string> {
  const open = new Set(
    nodes.filter(({ state }) => state === "failed" || state === "cancelled").map(({ node }) => node),
  );
  return new Set([...open].flatMap((name) => [...andAfter(graph, name)]));
}
