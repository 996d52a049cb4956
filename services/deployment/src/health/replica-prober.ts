import type { HealthRule } from "../replica-spec.ts";
import { probe } from "./probe.ts";
import { observeProbe, observeProcess, type ReplicaHealth, unknownHealth } from "./replica-health.ts";

/** Looks this often at a process that has not passed yet, so that nobody waits for a long interval to begin. */
const FIRST_LOOK_MS = 25;
const YOUNG_LOOK_MS = 250;

/** Looks at one replica from outside, again and again. */
export class ReplicaProber {
  readonly #rule: HealthRule;
  readonly #changed: (health: ReplicaHealth) => void;
  #health: ReplicaHealth = unknownHealth;
  #port = 0;
  #timer: NodeJS.Timeout | undefined;
  #looks = 0;
  #isClosed = false;

  /** `changed` is called whenever the verdict changes. */
  constructor(rule: HealthRule, changed: (health: ReplicaHealth) => void) {
    this.#rule = rule;
    this.#changed = changed;
  }

  get health(): ReplicaHealth {
    return this.#health;
  }

  /** Takes note of the process that runs now. */
  observe({ instance, port, proven }: { instance: string; port: number; proven: string }): void {
    this.#port = port;
    const before = this.#health;
    this.#take(observeProcess(before, { instance, proven, now: Date.now() }));
    if (before.instance === instance) return;
    this.#looks = 0;
    clearTimeout(this.#timer);
    if (instance !== "") this.#schedule(Math.random() * FIRST_LOOK_MS);
  }

  #take(health: ReplicaHealth): void {
    const before = this.#health;
    this.#health = health;
    if (before.state !== health.state || before.instance !== health.instance) this.#changed(health);
  }

  #schedule(inMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#health.instance === "") return;
    this.#timer = setTimeout(() => void this.#look(), inMs).unref();
  }

  async #look(): Promise<void> {
    const { instance } = this.#health;
    const { intervalMs, timeoutMs, http, rise, fall } = this.#rule;
    const { ok, answer } = await probe({ host: "127.0.0.1", port: this.#port, http, timeoutMs });
    // The answer is about a process that is there no more.
    if (this.#isClosed || this.#health.instance !== instance) return;
    this.#looks += 1;
    this.#take(observeProbe(this.#health, { ok, text: answer }, { thresholds: { rise, fall }, now: Date.now() }));
    const young = this.#health.state === "unproven";
    const waitMs = young ? Math.min(intervalMs, YOUNG_LOOK_MS, FIRST_LOOK_MS * 2 ** this.#looks) : intervalMs;
    // A tenth of jitter keeps many replicas from being looked at in the same instant.
    this.#schedule(waitMs * (0.95 + Math.random() / 10));
  }

  /** Stops looking. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
}
