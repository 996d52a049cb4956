import type { JsonValue, MessageInitShape } from "@bufbuild/protobuf";
import type { agent } from "@hms/contracts";

/** A method of a deployed service, and the replica that is to answer. */
export interface AskedMethod {
  readonly environment: string;
  readonly service: string;
  readonly replicaId: string;
  /** "demo.shop.v1.ShopService/Values". */
  readonly method: string;
}

/** Asks methods that replicas serve with an SDK. */
export interface ReplicaMethods {
  /**
   * Calls the method with nothing at just this replica, as the service itself, so that nobody gains rights by it; waits
   * until the replica has registered. Answers in JSON.
   * @throws HmsError what the call came to; the signal's reason
   */
  ask(asked: AskedMethod, signal: AbortSignal): Promise<JsonValue>;
}

/** What a deployment asks of whatever runs programs. Every call may be repeated. */
export interface DeploymentRuntime {
  /** Makes an immutable, built copy of a program; the last message is the release. */
  prepareRelease(
    request: MessageInitShape<typeof agent.PrepareReleaseRequestSchema>,
    signal?: AbortSignal,
  ): AsyncIterable<agent.PrepareReleaseResponse>;
  /** Compares a program with a release of it, without making one. */
  compareRelease(
    request: MessageInitShape<typeof agent.CompareReleaseRequestSchema>,
    signal: AbortSignal,
  ): Promise<agent.CompareReleaseResponse>;
  /** True if a release can still be run. */
  hasRelease(release: { environment: string; service: string; digest: string }, signal: AbortSignal): Promise<boolean>;
  /** Deletes releases that are neither used nor to be kept. */
  pruneReleases(request: MessageInitShape<typeof agent.PruneReleasesRequestSchema>): Promise<void>;
  /** Starts a replica that is then kept running; answers with it. */
  startReplica(spec: MessageInitShape<typeof agent.ReplicaSpecSchema>): Promise<agent.Replica>;
  /** How many bytes are free where it keeps its data; undefined if unknown. */
  freeBytes(): Promise<number | undefined>;
  /** Ends a replica; answers when nothing of it is left. */
  stopReplica(replicaId: string, options?: { deleteLogs?: boolean }): Promise<void>;
  /** Every replica as it is, a message with `synced`, then every change; goes on over the runtime's own restarts. */
  watchReplicas(signal: AbortSignal): AsyncIterable<agent.WatchReplicasResponse>;
  /** Runs one command in a replica's surroundings; the last message is its exit. */
  runTask(
    request: MessageInitShape<typeof agent.RunTaskRequestSchema>,
    signal?: AbortSignal,
  ): AsyncIterable<agent.RunTaskResponse>;
  /** Seals anew what a replaced key has sealed of the replicas' secrets; answers with how many. */
  resealSecrets(): Promise<number>;
  /** Stored log lines, oldest first. */
  readLogs(
    request: MessageInitShape<typeof agent.ReadLogsRequestSchema>,
    signal?: AbortSignal,
  ): AsyncIterable<agent.ReadLogsResponse>;
}
