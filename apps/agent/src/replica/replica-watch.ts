import { create } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";

/** Tells any number of watchers about replicas; each has at most one waiting message per replica. */
export class ReplicaWatch {
  readonly #watchers = new Set<Watcher>();

  /** Tells every watcher how a replica is now, or that it was forgotten. */
  publish(replica: agent.Replica, removed = false): void {
    for (const watcher of this.#watchers) watcher.offer(replica, removed);
  }

  /** Sends all current replicas, the sync mark, then every change; a slow reader gets the newest state, not each one. */
  async *watch(
    request: agent.WatchReplicasRequest,
    current: () => Iterable<agent.Replica>,
    signal?: AbortSignal,
  ): AsyncGenerator<agent.WatchReplicasResponse> {
    const watcher = new Watcher(request);
    this.#watchers.add(watcher);
    try {
      for (const replica of current()) watcher.offer(replica, false);
      yield* watcher.drain();
      yield create(agent.WatchReplicasResponseSchema, { synced: true });
      for (;;) {
        await watcher.wait(signal);
        yield* watcher.drain();
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }
}

class Watcher {
  readonly #request: agent.WatchReplicasRequest;
  readonly #waiting = new Map<string, agent.WatchReplicasResponse>();
  #wake: (() => void) | undefined;

  constructor(request: agent.WatchReplicasRequest) {
    this.#request = request;
  }

  offer(replica: agent.Replica, removed: boolean): void {
    const { environment = "", service = "", replicaId = "" } = replica.spec ?? {};
    if (this.#request.environment && this.#request.environment !== environment) return;
    if (this.#request.service && this.#request.service !== service) return;
    this.#waiting.set(replicaId, create(agent.WatchReplicasResponseSchema, { replica, removed }));
    this.#wake?.();
  }

  *drain(): Generator<agent.WatchReplicasResponse> {
    for (const [replicaId, message] of this.#waiting) {
      this.#waiting.delete(replicaId);
      yield message;
    }
  }

  async wait(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#waiting.size > 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const aborted = () => reject(signal?.reason);
    this.#wake = resolve;
    signal?.addEventListener("abort", aborted, { once: true });
    try {
      await promise;
    } finally {
      this.#wake = undefined;
      signal?.removeEventListener("abort", aborted);
    }
  }
}
