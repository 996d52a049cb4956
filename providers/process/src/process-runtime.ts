import { setTimeout as delay } from "node:timers/promises";
import type { agent } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import type { DeploymentRuntime } from "@hms/service-deployment/ports";

/** The agent restarts within a second; a call that may be repeated waits for it. */
const PATIENCE_MS = 30_000;
const AGAIN_MS = 100;
const STATUS_PATIENCE_MS = 1000;

/** Runs programs as processes of this machine, by the agent's contract; waits while the agent is away. */
export function createProcessRuntime(client: Client<typeof agent.AgentService>): DeploymentRuntime {
  return {
    prepareRelease: (request, signal) => client.prepareRelease(request, { signal }),
    compareRelease: (request, signal) => client.compareRelease(request, { signal }),
    hasRelease: (release, signal) => hasRelease(client, release, signal),
    pruneReleases: async (request) => {
      await whilePatient(() => client.pruneReleases(request));
    },
    startReplica: async (spec) => {
      const { replica } = await whilePatient(() => client.startReplica({ spec }));
      if (replica === undefined) throw new HmsError("INTERNAL", "The agent started a replica and did not say which.");
      return replica;
    },
    freeBytes: async () => {
      const { freeBytes } = await client.getStatus({}, { timeoutMs: STATUS_PATIENCE_MS });
      return freeBytes === undefined ? undefined : Number(freeBytes);
    },
    stopReplica: async (replicaId, { deleteLogs = false } = {}) => {
      await whilePatient(() => client.stopReplica({ replicaId, deleteLogs }));
    },
    watchReplicas: (signal) => watchForEver(client, signal),
    resealSecrets: async () => (await whilePatient(() => client.resealReplicas({}))).resealed,
    runTask: (request, signal) => client.runTask(request, { signal }),
    readLogs: (request, signal) => client.readLogs(request, { signal }),
  };
}

/** Running nothing in the release tells whether it is there; the agent's contract has no question of its own for it. */
async function hasRelease(
  client: Client<typeof agent.AgentService>,
  { environment, service, digest }: { environment: string; service: string; digest: string },
  signal: AbortSignal,
): Promise<boolean> {
  const task = { taskId: `check-${digest.slice(7, 19)}`, environment, service, releaseDigest: digest, command: ":" };
  try {
    for await (const { event } of client.runTask(task, { signal })) {
      if (event.case === "exit") return event.value.launchError === "";
    }
    throw new HmsError("UNAVAILABLE", "The agent did not say whether the release is there.");
  } catch (error) {
    if (HmsError.from(error).details.reason === "RELEASE_MISSING") return false;
    throw error;
  }
}

async function whilePatient<T>(call: () => Promise<T>): Promise<T> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (HmsError.from(error).code !== "UNAVAILABLE" || performance.now() > until) throw error;
      await delay(AGAIN_MS);
    }
  }
}

/** The agent's watch, begun again when it breaks; what vanished in between is reported as removed. */
async function* watchForEver(
  client: Client<typeof agent.AgentService>,
  signal: AbortSignal,
): AsyncGenerator<agent.WatchReplicasResponse> {
  const known = new Map<string, agent.Replica>();
  while (!signal.aborted) {
    try {
      yield* watchOnce(client.watchReplicas({}, { signal }), known);
    } catch (error) {
      if (signal.aborted) return;
      if (HmsError.from(error).code !== "UNAVAILABLE") throw error;
    }
    await delay(AGAIN_MS, undefined, { signal }).catch(() => {});
  }
}

/** One watch of the agent; keeps `known` up to date. */
async function* watchOnce(
  messages: AsyncIterable<agent.WatchReplicasResponse>,
  known: Map<string, agent.Replica>,
): AsyncGenerator<agent.WatchReplicasResponse> {
  const unseen = new Map(known);
  for await (const message of messages) {
    const { replica, removed, synced } = message;
    const id = replica?.spec?.replicaId ?? "";
    unseen.delete(id);
    if (removed) known.delete(id);
    else if (replica) known.set(id, replica);
    if (synced) {
      for (const [gone, last] of unseen) {
        known.delete(gone);
        yield { ...message, synced: false, replica: last, removed: true };
      }
    }
    yield message;
  }
}
