import type { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { manifestDiff } from "@hms/manifest";
import { RolloutFailedError } from "./errors.ts";
import type { HealthMonitor } from "./health/health-monitor.ts";
import type { DeploymentRuntime } from "./ports.ts";
import type { RevisionRecord } from "./records.ts";
import type { StepReport } from "./rollout-report.ts";

/** A program that ends this often while it should become healthy will not become so. */
const MOST_EXITS = 3;
const LAST_LINES = 20;

/** What is needed to judge new replicas. */
export interface VerifyParts {
  health: HealthMonitor;
  runtime: DeploymentRuntime;
  revision: RevisionRecord;
  /** The last revision that served well, to say what changed. */
  before: RevisionRecord | undefined;
  signal: AbortSignal;
}

/**
 * Resolves when every replica has been healthy without a break for the manifest's `min_healthy_time`.
 * @throws RolloutFailedError with the reason if one cannot become so.
 */
export async function verifyReplicas(ids: readonly string[], parts: VerifyParts, step: StepReport): Promise<void> {
  const { health, revision, signal } = parts;
  const rules = revision.manifest.health;
  const began = performance.now();
  const told = new Set<string>();
  let verdict: { id: string; reason: string } | undefined;
  const look = () => {
    for (const id of ids) {
      const reason = hopeless(id, parts, performance.now() - began);
      if (reason !== undefined) {
        verdict = { id, reason };
        return true;
      }
    }
    const ready = ids.filter(
      (id) => (health.get(id)?.healthyForMs ?? 0) >= rules.minHealthyTimeMs && health.get(id)?.isHealthy,
    );
    const news = ready.filter((id) => !told.has(id));
    for (const id of news) told.add(id);
    if (news.length > 0 && ids.length > 1) void step.progress(`${ready.length} of ${ids.length} replicas healthy`);
    return ready.length === ids.length ? true : undefined;
  };
  try {
    await health.until(look, signal);
  } catch (error) {
    if (!signal.aborted || HmsError.from(error).code === "CANCELLED") throw error;
    const id = ids.find((each) => !health.get(each)?.isHealthy) ?? ids[0] ?? "";
    verdict = {
      id,
      reason: `the rollout's deadline of ${revision.manifest.rollout.deadlineMs / 1000} s passed before replica ${id} was healthy`,
    };
  }
  if (verdict) throw await failureOf(verdict, parts);
}

/** Why a replica will not become healthy; undefined while it may. */
function hopeless(id: string, { health, revision }: VerifyParts, waitedMs: number): string | undefined {
  const replica = health.get(id);
  const exits = replica?.exits;
  if (exits?.last?.launchError) return `replica ${id} could not be started: ${exits.last.launchError}`;
  if (exits && exits.count >= MOST_EXITS)
    return `replica ${id} ended ${exits.count} times before it was healthy, the last time with ${exitWords(exits.last)}`;
  const { startTimeoutMs } = revision.manifest.health;
  if (!replica?.isHealthy && waitedMs > startTimeoutMs) {
    const last = exits?.last ? `, and ended with ${exitWords(exits.last)}` : "";
    return `replica ${id} was not healthy within ${startTimeoutMs / 1000} s${last}`;
  }
  return undefined;
}

function exitWords(exit: agent.ExitStatus | undefined): string {
  if (exit === undefined) return "an unknown status";
  if (exit.outOfMemory) return "its memory limit";
  return exit.signal ? exit.signal : `exit code ${exit.code}`;
}

async function failureOf(
  { id, reason }: { id: string; reason: string },
  parts: VerifyParts,
): Promise<RolloutFailedError> {
  const { health, revision, before } = parts;
  const replica = health.get(id);
  return new RolloutFailedError({
    reason: reason.charAt(0).toUpperCase() + reason.slice(1),
    remedy: remedyFor(replica?.exits.last, revision),
    replicaId: id,
    lastProbe: replica?.lastProbe.answer ?? "",
    ...(replica?.exits.last ? { exit: replica.exits.last } : {}),
    lastLogLines: await lastLines(id, parts),
    changes: before ? manifestDiff(before.manifest, revision.manifest) : [],
  });
}

function remedyFor(exit: agent.ExitStatus | undefined, { manifest }: RevisionRecord): string {
  if (exit) return "Mend the program, or the command under run.command, then deploy again.";
  const check =
    manifest.health.http === undefined
      ? "accepts connections on $PORT"
      : `answers 2xx to GET ${manifest.health.http} on $PORT`;
  return `Make sure the program listens on 127.0.0.1:$PORT and ${check}; a slow start needs a longer health.start_timeout.`;
}

async function lastLines(replicaId: string, { runtime, revision }: VerifyParts): Promise<agent.LogLine[]> {
  const { environment, service } = revision;
  const lines: agent.LogLine[] = [];
  try {
    for await (const batch of runtime.readLogs(
      { environment, service, replicaId, tail: LAST_LINES },
      AbortSignal.timeout(5000),
    )) {
      lines.push(...batch.lines);
    }
  } catch {
    // The failure is told without its log rather than not at all.
  }
  return lines.slice(-LAST_LINES);
}
