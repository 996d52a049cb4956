import { HmsError } from "@hms/kernel";
import type { ObservedReplicas } from "./observed-replicas.ts";
import type { DeploymentRuntime } from "./ports.ts";
import { replicaSpec } from "./replica-spec.ts";
import type { SecretVault } from "./secrets/secret-vault.ts";
import { keyOfReplica, type ServiceBook } from "./service-book.ts";
import type { ServiceKey } from "./service-record.ts";
import type { TrafficKeeper } from "./traffic-keeper.ts";

/** What a replica keeper stands on. */
export interface ReplicaParts {
  book: ServiceBook;
  observed: ObservedReplicas;
  runtime: DeploymentRuntime;
  traffic: TrafficKeeper;
  credentials: CredentialsOf;
  vault: SecretVault;
}

/** Environment variables by which a service's replicas call the platform. */
export type CredentialsOf = (service: ServiceKey) => Readonly<Record<string, string>>;

/**
 * Starts and stops replicas, for rollouts and for the reconciler alike: steps for one replica come one after the other,
 * and each looks at what is meant to be when its turn comes, so that nobody starts what somebody else has given up.
 */
export class ReplicaKeeper {
  readonly #parts: ReplicaParts;
  readonly #turns = new Map<string, Promise<void>>();

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
  }

  /** Starts a replica that is meant to run and does not. */
  start(id: string): Promise<void> {
    return this.#inTurn(id, () => this.#start(id));
  }

  /** Ends a replica that is not meant to run; resolves when nothing of it is left. */
  stop(id: string, deleteLogs = false): Promise<void> {
    return this.#inTurn(id, () => this.#stop(id, deleteLogs));
  }

  async #start(id: string): Promise<void> {
    const { book, observed, runtime, traffic, credentials, vault } = this.#parts;
    const { replica, revision } = book.replica(id) ?? {};
    if (replica?.phase !== "running" || observed.isThere(id)) return;
    if (revision === undefined) {
      throw new HmsError("DATA_LOSS", `Revision ${replica.revision} of replica ${id} is not on record any more.`);
    }
    const key = keyOfReplica(id);
    const [mesh, secrets] = [await traffic.access(key.environment), await vault.of(key, revision)];
    const surroundings = { mesh, secrets, credentials: credentials(key) };
    observed.observe(await runtime.startReplica(replicaSpec({ ...key, id }, revision, surroundings)));
  }

  async #stop(id: string, deleteLogs: boolean): Promise<void> {
    const { book, runtime } = this.#parts;
    if (book.replica(id)?.replica.phase === "running") return;
    await runtime.stopReplica(id, { deleteLogs });
  }

  #inTurn(id: string, work: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(id) ?? Promise.resolve()).catch(() => {}).then(work);
    this.#turns.set(id, turn);
    const tidy = () => {
      if (this.#turns.get(id) === turn) this.#turns.delete(id);
    };
    turn.then(tidy, tidy);
    return turn;
  }
}
