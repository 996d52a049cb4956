import { setTimeout as delay } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { ChangeSignal } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import type { DeploymentRuntime } from "./ports.ts";

const AGAIN_MS = 500;

/** One replica as the runtime reports it. */
interface Observed {
  replica: agent.Replica;
  /** Times it has ended by itself. */
  exits: number;
}

/** What the runtime has: followed from the first report on, never asked for. */
export class ObservedReplicas {
  /** Notified after each report. */
  readonly changes = new ChangeSignal();
  readonly #replicas = new Map<string, Observed>();
  readonly #listeners = new Set<(id: string) => void>();

  /** Follows the runtime until the signal aborts; `synced` is called once everything that runs is known. */
  async follow(runtime: DeploymentRuntime, { signal, synced, log }: FollowOptions): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const message of runtime.watchReplicas(signal)) {
          if (message.replica) this.observe(message.replica, message.removed);
          if (message.synced) synced();
        }
      } catch (error) {
        if (!signal.aborted) log.warn("the runtime's replicas are not known; asking again", { error });
      }
      await delay(AGAIN_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** Takes one report. */
  observe(replica: agent.Replica, removed = false): void {
    const id = replica.spec?.replicaId ?? "";
    const before = this.#replicas.get(id);
    if (removed) this.#replicas.delete(id);
    else this.#replicas.set(id, { replica, exits: countExits(before, replica) });
    for (const listener of this.#listeners) listener(id);
    this.changes.notify();
  }

  get(id: string): agent.Replica | undefined {
    return this.#replicas.get(id)?.replica;
  }

  /** How often the replica has ended by itself. */
  exits(id: string): number {
    return this.#replicas.get(id)?.exits ?? 0;
  }

  /** The ids of everything that is there and not ended for good. */
  ids(): string[] {
    return [...this.#replicas.keys()].filter((id) => this.isThere(id));
  }

  /** True if the runtime has the replica and means to keep it, or is about to end it. */
  isThere(id: string): boolean {
    const state = this.get(id)?.state;
    return state !== undefined && state !== agent.ReplicaState.STOPPED;
  }

  /** Calls back after each report. */
  onChange(listener: (id: string) => void): void {
    this.#listeners.add(listener);
  }
}

interface FollowOptions {
  signal: AbortSignal;
  synced: () => void;
  log: Logger;
}

function exitedAt(replica: agent.Replica | undefined): number {
  const at = replica?.lastExit?.exitedAt;
  return at ? timestampMs(at) : 0;
}

function countExits(before: Observed | undefined, replica: agent.Replica): number {
  if (before === undefined) return Math.max(replica.restarts, exitedAt(replica) > 0 ? 1 : 0);
  const ended = exitedAt(replica) > exitedAt(before.replica) ? 1 : 0;
  return Math.max(before.exits + ended, replica.restarts);
}

/** Tells one process of a replica from the next: "pid.restarts", empty if none runs. */
export function instanceOf(replica: agent.Replica | undefined): string {
  if (replica === undefined || replica.state !== agent.ReplicaState.RUNNING) return "";
  return `${replica.pid}.${replica.restarts}`;
}
