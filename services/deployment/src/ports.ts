import type { MessageInitShape } from "@bufbuild/protobuf";
import type { agent } from "@hms/contracts";

/** One service of one environment. */
export interface ServiceKey {
  environment: string;
  service: string;
}

/** What preparing a release tells: lines of the build as they come, the sealed release last. */
export type PrepareEvent = { outputLine: string } | { release: agent.Release };

/** What a watch tells: a replica as it is now, that one was forgotten, or once that all current ones have been sent. */
export type ReplicaChange = { replica: agent.Replica; removed: boolean } | "synced";

/** What a task tells: its output as it comes, how it ended last. */
export type TaskEvent = { output: agent.OutputChunk } | { exit: agent.ExitStatus };

/** Which log lines are wanted. */
export interface LogQuery extends ServiceKey {
  /** Empty: of all replicas. */
  replicaId?: string;
  /** The last N; 0: all. */
  tail?: number;
  /** Epoch milliseconds. */
  sinceMs?: number;
  follow?: boolean;
  contains?: string;
}

/**
 * What a runtime must do: keep programs running on some target. Every method may be called again with the same request
 * and then leads to the same outcome; all reject with HmsError, UNAVAILABLE if calling again later may help.
 */
export interface ReplicaRuntime {
  /** Makes an immutable copy of a program, built; the same source and build give the same release. */
  prepareRelease(
    request: MessageInitShape<typeof agent.PrepareReleaseRequestSchema>,
    signal: AbortSignal,
  ): AsyncIterable<PrepareEvent>;
  /** True if a release can still be run. */
  hasRelease(release: ServiceKey & { digest: string }, signal: AbortSignal): Promise<boolean>;
  /** Deletes the service's releases that no replica uses, but for those to keep. */
  pruneReleases(keep: ServiceKey & { digests: readonly string[] }, signal: AbortSignal): Promise<void>;
  /** Starts a replica and keeps it running until it is stopped; an id that runs already is left as it is. */
  startReplica(
    spec: MessageInitShape<typeof agent.ReplicaSpecSchema>,
    signal: AbortSignal,
  ): Promise<agent.Replica | undefined>;
  /** Ends a replica and all it started; resolves when nothing is left, also if there was nothing. */
  stopReplica(replica: { replicaId: string; deleteLogs: boolean }, signal: AbortSignal): Promise<void>;
  /** Sends every replica, "synced", then every change; ends or throws when the connection does. */
  watchReplicas(signal: AbortSignal): AsyncIterable<ReplicaChange>;
  /** Runs a command to its end in a release, with a replica's environment. Leaving the iteration ends the command. */
  runTask(task: MessageInitShape<typeof agent.RunTaskRequestSchema>, signal: AbortSignal): AsyncIterable<TaskEvent>;
  /** Sends stored log lines, oldest first, and follows them if asked. */
  readLogs(query: LogQuery, signal: AbortSignal): AsyncIterable<agent.LogLine[]>;
}
