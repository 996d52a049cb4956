import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { agent } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import type { PrepareEvent, ReplicaChange, ReplicaRuntime, TaskEvent } from "@hms/service-deployment/ports";

/** Starting and stopping take as long as the grace period allows; nobody waits longer for the agent's other answers. */
const ANSWER_MS = 60_000;
const STOP_SLACK_MS = 3_700_000;
/** A release that is there runs this at once. */
const CHECK_COMMAND = ":";

type AgentClient = Client<typeof agent.AgentService>;

/** Runs replicas as processes of this machine: the runtime over the agent's contract. */
export function createProcessRuntime(client: AgentClient): ReplicaRuntime {
  return {
    prepareRelease: (request, signal) => prepare(client.prepareRelease(request, { signal })),
    hasRelease: (release, signal) => hasRelease(client, release, signal),
    async pruneReleases({ environment, service, digests }, signal) {
      const request = { environment, service, keepDigests: [...digests] };
      await client.pruneReleases(request, { signal, timeoutMs: ANSWER_MS });
    },
    async startReplica(spec, signal) {
      const { replica } = await client.startReplica({ spec }, { signal, timeoutMs: ANSWER_MS });
      return replica;
    },
    async stopReplica({ replicaId, deleteLogs }, signal) {
      try {
        await client.stopReplica({ replicaId, deleteLogs }, { signal, timeoutMs: STOP_SLACK_MS });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
    watchReplicas: (signal) => changes(client.watchReplicas({}, { signal })),
    runTask: (task, signal) => taskEvents(client.runTask(task, { signal })),
    readLogs({ sinceMs, ...query }, signal) {
      const since = sinceMs === undefined ? {} : { since: timestampFromMs(sinceMs) };
      return lines(client.readLogs({ ...query, ...since }, { signal }));
    },
  };
}

const isNotFound = (error: unknown) => error instanceof HmsError && error.code === "NOT_FOUND";

async function* prepare(answers: AsyncIterable<agent.PrepareReleaseResponse>): AsyncGenerator<PrepareEvent> {
  for await (const { event } of answers) {
    if (event.case === "outputLine") yield { outputLine: event.value };
    if (event.case === "release") yield { release: event.value };
  }
}

/** The agent's contract has no question for it; running nothing in the release answers it. */
async function hasRelease(
  client: AgentClient,
  { environment, service, digest }: { environment: string; service: string; digest: string },
  signal: AbortSignal,
): Promise<boolean> {
  const task = { taskId: `check-${digest.slice(7, 19)}`, environment, service, releaseDigest: digest };
  try {
    const answers = client.runTask({ ...task, command: CHECK_COMMAND }, { signal, timeoutMs: ANSWER_MS });
    for await (const { event } of answers) if (event.case === "exit") return event.value.code === 0;
    return true;
  } catch (error) {
    if (isNotFound(error) || (error instanceof HmsError && error.code === "FAILED_PRECONDITION")) return false;
    throw error;
  }
}

async function* changes(answers: AsyncIterable<agent.WatchReplicasResponse>): AsyncGenerator<ReplicaChange> {
  for await (const { replica, removed, synced } of answers) {
    if (replica) yield { replica, removed };
    else if (synced) yield "synced";
  }
}

async function* taskEvents(answers: AsyncIterable<agent.RunTaskResponse>): AsyncGenerator<TaskEvent> {
  for await (const { event } of answers) {
    if (event.case === "output") yield { output: event.value };
    if (event.case === "exit") yield { exit: event.value };
  }
}

async function* lines(answers: AsyncIterable<agent.ReadLogsResponse>): AsyncGenerator<agent.LogLine[]> {
  for await (const { lines: some } of answers) if (some.length > 0) yield some;
}
