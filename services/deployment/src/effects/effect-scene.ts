import type { mesh } from "@hms/contracts";
import type { Client } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import type { HealthKeeper } from "../health/health-keeper.ts";
import type { ObservedReplicas } from "../observed-replicas.ts";
import type { DeploymentRuntime, ReplicaMethods } from "../ports.ts";
import type { ReplicaKeeper } from "../replica-keeper.ts";
import type { Effect, EffectResult, Failure, RolloutState } from "../rollout-state.ts";
import type { SecretVault } from "../secrets/secret-vault.ts";
import type { ServiceBook } from "../service-book.ts";
import type { RevisionRecord, ServiceKey } from "../service-record.ts";
import type { TrafficKeeper } from "../traffic-keeper.ts";

/** What effects act on. */
export interface EffectParts {
  book: ServiceBook;
  observed: ObservedReplicas;
  health: HealthKeeper;
  traffic: TrafficKeeper;
  replicas: ReplicaKeeper;
  runtime: DeploymentRuntime;
  methods: ReplicaMethods;
  vault: SecretVault;
  mesh: Client<typeof mesh.MeshService>;
  log: Logger;
  /** Every replica id a service ever had whose logs may be there. */
  replicaIds(key: ServiceKey): Promise<string[]>;
}

/** One effect that is to be done. */
export interface EffectScene {
  parts: EffectParts;
  state: RolloutState;
  effect: Effect;
  /** Aborts at the effect's deadline, and when the rollout is not ours any more. */
  signal: AbortSignal;
  /** Says something to those who watch. */
  say(message: string): void;
  /** Passes a line of a command on to them. */
  output(text: string): void;
}

/** Does one kind of effect; what it throws is transient unless it is an EffectFailedError or says otherwise. */
export type EffectHandler = (scene: EffectScene) => Promise<EffectResult>;

/** Trying again would not help; carries what a person needs to mend it. */
export class EffectFailedError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.reason);
    this.failure = failure;
  }
}

/** The revision that a rollout leads to. */
export function targetRevision({ parts, state }: Pick<EffectScene, "parts" | "state">): RevisionRecord {
  const revision = parts.book.get(state)?.revisions.get(state.revision);
  if (revision) return revision;
  throw new EffectFailedError({
    reason: `Revision ${state.revision} is not on record any more.`,
    remedy: "Deploy the manifest again.",
  });
}
