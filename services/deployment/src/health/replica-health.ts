import { timestampMs } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { probe } from "./probe.ts";

/** How a replica is looked at; from the manifest. */
export interface HealthRule {
  http: string | undefined;
  intervalMs: number;
  timeoutMs: number;
  rise: number;
  fall: number;
}

/** Exits that the agent reported since this server looks, and the last one. */
export interface ExitRecord {
  count: number;
  last: agent.ExitStatus | undefined;
}

/** A process younger than this is not assumed to be well because the one before it was. */
const YOUNG_MS = 10_000;

/** Follows one replica: its process as the runtime reports it, its answers as probes find them. */
export class ReplicaHealth {
  readonly id: string;
  readonly #rule: HealthRule;
  readonly #changed: () => void;
  #replica: agent.Replica | undefined;
  #isHealthy: boolean;
  #healthySince: number | undefined;
  #streak = 0;
  #exits = 0;
  #lastProbe = "";
  #lastProbeAt: Date | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `assumed`: it had traffic before this server started, so it counts as healthy until probes say otherwise. */
  constructor(id: string, rule: HealthRule, options: { assumed: boolean; changed: () => void }) {
    this.id = id;
    this.#rule = rule;
    this.#changed = options.changed;
    this.#isHealthy = options.assumed;
    this.#healthySince = options.assumed ? performance.now() : undefined;
    this.#schedule(Math.random() * Math.min(100, rule.intervalMs));
  }

  /** The process as the runtime reported it last. */
  get replica(): agent.Replica | undefined {
    return this.#replica;
  }

  get isHealthy(): boolean {
    return this.#isHealthy;
  }

  /** How long it has been healthy without a break, 0 if it is not. */
  get healthyForMs(): number {
    return this.#healthySince === undefined ? 0 : performance.now() - this.#healthySince;
  }

  /** What the last probe found. */
  get lastProbe(): { answer: string; at: Date | undefined } {
    return { answer: this.#lastProbe, at: this.#lastProbeAt };
  }

  /** How often it has ended by itself since this server looks. */
  get exits(): ExitRecord {
    return { count: this.#exits, last: this.#replica?.lastExit };
  }

  /** Takes the runtime's word: a process that is not running is not healthy, and a new one must rise again. */
  observe(replica: agent.Replica): void {
    const before = this.#replica;
    this.#replica = replica;
    const ended = exitedAt(replica) !== exitedAt(before);
    if (ended && replica.lastExit && before !== undefined) this.#exits += 1;
    else if (before === undefined && replica.restarts > 0) this.#exits = replica.restarts;
    const runs = replica.state === agent.ReplicaState.RUNNING;
    const isSame = before === undefined ? ageMs(replica) > YOUNG_MS : before.pid === replica.pid;
    if (!runs || !isSame) this.#become(false, 0);
    else if (before?.state !== replica.state) this.#schedule(0);
    this.#changed();
  }

  #schedule(inMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => void this.#look(), inMs).unref();
  }

  async #look(): Promise<void> {
    const replica = this.#replica;
    const { intervalMs } = this.#rule;
    if (replica === undefined || replica.state !== agent.ReplicaState.RUNNING || replica.port === 0) {
      return this.#schedule(intervalMs);
    }
    const { ok, answer } = await probe({ host: "127.0.0.1", port: replica.port, ...this.#rule });
    if (this.#isClosed) return;
    this.#lastProbe = answer;
    this.#lastProbeAt = new Date();
    if (this.#replica?.pid === replica.pid) this.#count(ok);
    // A tenth of jitter keeps many replicas from being looked at in the same instant.
    const waitMs = this.#isHealthy || ok ? intervalMs : Math.min(intervalMs, 250);
    this.#schedule(waitMs * (0.95 + Math.random() / 10));
  }

  #count(ok: boolean): void {
    this.#streak = ok === this.#isHealthy ? 0 : this.#streak + 1;
    if (ok && !this.#isHealthy && this.#streak >= this.#rule.rise) this.#become(true, 0);
    if (!ok && this.#isHealthy && this.#streak >= this.#rule.fall) this.#become(false, 0);
  }

  #become(isHealthy: boolean, streak: number): void {
    this.#streak = streak;
    if (isHealthy === this.#isHealthy) return;
    this.#isHealthy = isHealthy;
    this.#healthySince = isHealthy ? performance.now() : undefined;
    this.#changed();
  }

  /** Stops looking. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
}

/** How long the process has run. */
function ageMs({ startedAt }: agent.Replica): number {
  return startedAt ? Date.now() - timestampMs(startedAt) : 0;
}

function exitedAt(replica: agent.Replica | undefined): number {
  const at = replica?.lastExit?.exitedAt;
  return at ? timestampMs(at) : 0;
}
