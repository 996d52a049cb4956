import { deployment } from "@hms/contracts";
import { type CloudEvent, contractEvent } from "@hms/events";
import type { Transaction } from "kysely";
import { hasEnded, type RolloutState } from "./rollout-state.ts";
import type { DeploymentTables } from "./tables.ts";

/** Where the steps of rollouts are published: an outbox of the event log. */
export interface NewsOutbox {
  publish(events: readonly CloudEvent[], options: { transaction: Transaction<DeploymentTables> }): Promise<void>;
}

/** One step of a rollout. */
export interface RolloutStep {
  state: RolloutState;
  turn: number;
  principal: string;
  reason: string;
}

/** Publishes the steps of rollouts. */
export class RolloutNews {
  readonly #outbox: NewsOutbox | undefined;

  /** Without an outbox nobody hears of them. */
  constructor(outbox: NewsOutbox | undefined) {
    this.#outbox = outbox;
  }

  /** Publishes a step as a part of the transaction that it is true in. */
  async tell(transaction: Transaction<DeploymentTables>, step: RolloutStep): Promise<void> {
    await this.#outbox?.publish([eventOf(step)], { transaction });
  }
}

/** The event of a step; the same step has the same id, however often it is written. */
function eventOf({ state, turn, principal, reason }: RolloutStep): CloudEvent {
  const { environment, service, rolloutId, kind, phase, revision, previousRevision, doing, split, failure } = state;
  const message = {
    environment,
    service,
    rolloutId,
    kind: deployment.RolloutKind[kind.toUpperCase() as keyof typeof deployment.RolloutKind],
    state: deployment.RolloutState[phase.toUpperCase() as keyof typeof deployment.RolloutState],
    revision: BigInt(revision),
    previousRevision: BigInt(previousRevision),
    turn: BigInt(turn),
    title: doing?.title ?? "",
    share: split?.share ?? 0,
    waiting: waits(state),
    failureReason: failure?.reason ?? "",
    principal,
    reason,
  };
  return contractEvent(deployment.RolloutChangedSchema, message, {
    id: `${rolloutId}-${turn}`,
    source: "/hms/deployment",
    type: `hms.sys.deployment.rollout.${phase}`,
    subject: `${environment}/${service}`,
    partitionkey: `${environment}/${service}`,
    hmsenvironment: environment,
  });
}

/** Whether it goes on only if somebody does something. */
function waits(state: RolloutState): boolean {
  const { doing, holds, policy, step = 0 } = state;
  if (hasEnded(state) || doing?.kind !== "hold") return false;
  if (holds === "pause" || holds === "verdict") return true;
  return holds === "step" && policy.sideBySide?.steps[step]?.holdMs === undefined;
}
