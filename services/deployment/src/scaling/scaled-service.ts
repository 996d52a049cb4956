import type { LoadSample, ScalingDecision } from "@hms/scaling";
import { ReplicaScaler } from "@hms/scaling";
import type { ScalingNote } from "../tables.ts";
import { averageConcurrency, type LoadReading } from "./load-reading.ts";
import type { ReplicaLoad } from "./replica-load.ts";
import { RetryPause } from "./retry-pause.ts";
import type { Remembered } from "./scaling-memory.ts";
import { policyOf, type ScalingRule } from "./scaling-rule.ts";

/** What one service's load has said so far, in this server's memory. */
export class ScaledService {
  /** After a change that failed. */
  readonly pause = new RetryPause();
  /** The change that was begun last, until it is known how it ended. */
  begun: string | undefined;
  /** Newest first. */
  decisions: ScalingNote[];
  useNotedAt = 0;
  /** The last look; undefined before the second reading. */
  sample: LoadSample | undefined;
  decision: ScalingDecision | undefined;
  #rule: ScalingRule;
  #scaler: ReplicaScaler;
  #reading: LoadReading | undefined;

  constructor(rule: ScalingRule, { use, decisions }: Remembered) {
    this.#rule = rule;
    this.#scaler = new ReplicaScaler(policyOf(rule), rule, use);
    this.decisions = decisions;
  }

  get rule(): ScalingRule {
    return this.#rule;
  }

  /** What today has cost; undefined without a cap. */
  get use() {
    return this.#scaler.use;
  }

  /** Another manifest: what was seen by another rule is forgotten, so nothing is let go before a whole window. */
  follow(rule: ScalingRule): void {
    if (JSON.stringify(rule) === JSON.stringify(this.#rule)) return;
    this.#scaler = new ReplicaScaler(policyOf(rule), rule, this.#scaler.use);
    this.#rule = rule;
  }

  /** Takes a look; undefined if it says nothing yet. */
  look(reading: LoadReading, { ready, cpu }: ReplicaLoad, replicas: number): ScalingDecision | undefined {
    const before = this.#reading;
    this.#reading = reading;
    const concurrency = before && averageConcurrency(before, reading);
    if (concurrency === undefined) return undefined;
    this.sample = { atMs: reading.atMs, concurrency, cpu, ready, replicas };
    this.decision = this.#scaler.decide(this.sample);
    return this.decision;
  }
}
