import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import type { Failure } from "../rollout-state.ts";
import type { RevisionRecord } from "../service-record.ts";
import type { EffectParts } from "./effect-scene.ts";

const LAST_LINES = 20;
const LOG_PATIENCE_MS = 5000;

/** How a process ended, in words. */
export function exitWords(exit: agent.ExitStatus | undefined): string {
  if (exit === undefined) return "an unknown status";
  if (exit.launchError) return `the message: ${exit.launchError}`;
  if (exit.outOfMemory) return "its memory limit";
  return exit.signal ? exit.signal : `exit code ${exit.code}`;
}

/** What a person needs to mend a replica that did not do what it should. */
export async function replicaFailure(
  { id, reason, revision }: { id: string; reason: string; revision: RevisionRecord | undefined },
  { health, observed, runtime }: Pick<EffectParts, "health" | "observed" | "runtime">,
): Promise<Failure> {
  const exit = observed.get(id)?.lastExit;
  const lastProbe = health.of(id).lastProbe;
  return {
    reason,
    remedy: remedyFor(exit, revision),
    replicaId: id,
    ...(lastProbe ? { lastProbe } : {}),
    ...(exit ? { exit: toJson(agent.ExitStatusSchema, exit) as JsonObject } : {}),
    lastLogLines: await lastLines(id, runtime),
  };
}

function remedyFor(exit: agent.ExitStatus | undefined, revision: RevisionRecord | undefined): string {
  if (exit?.outOfMemory) return "Give it more under resources.memory, or let it use less, then deploy again.";
  if (exit) return "Mend the program, or the command under run.command, then deploy again.";
  const path = revision?.manifest.health.http;
  const check = path === undefined ? "accepts connections there" : `answers GET ${path} there with 2xx or 3xx`;
  return `Make sure that the program listens on 127.0.0.1 at $PORT and ${check}. If it only needs longer, raise health.start_timeout.`;
}

async function lastLines(replicaId: string, runtime: Pick<EffectParts["runtime"], "readLogs">): Promise<JsonObject[]> {
  const [environment = "", service = ""] = replicaId.split("/");
  const lines: agent.LogLine[] = [];
  try {
    const query = { environment, service, replicaId, tail: LAST_LINES };
    for await (const batch of runtime.readLogs(query, AbortSignal.timeout(LOG_PATIENCE_MS))) lines.push(...batch.lines);
  } catch {
    // The failure is told without its log rather than not at all.
  }
  return lines.slice(-LAST_LINES).map((line) => toJson(agent.LogLineSchema, line) as JsonObject);
}
