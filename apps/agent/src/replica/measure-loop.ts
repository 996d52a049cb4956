import { listProcesses } from "../launcher/process-table.ts";
import type { Replica } from "./replica.ts";

const EVERY_MS = 5000;
/** Memory that no kernel limits grows fast. */
const EVERY_MS_WITH_MEASURED_LIMITS = 500;

/** Measures all replicas together, with one look at the machine's processes; rests while there are none. */
export class MeasureLoop {
  readonly #replicas: () => Iterable<Replica>;
  #timer: NodeJS.Timeout | undefined;
  #stopped = true;
  #fullRoundAt = 0;
  #measuring = false;

  constructor(replicas: () => Iterable<Replica>) {
    this.#replicas = replicas;
  }

  /** Begins; the first measurement comes after one interval. */
  start(): void {
    this.#stopped = false;
    this.#fullRoundAt = performance.now() + EVERY_MS;
    this.#next();
  }

  /** Looks again when to measure next; call it when a replica was added. */
  reschedule(): void {
    clearTimeout(this.#timer);
    if (!this.#measuring) this.#next();
  }

  /** Ends. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #next(): void {
    if (this.#stopped) return;
    const limited = [...this.#replicas()].some((replica) => replica.measuredMemoryLimit > 0);
    const delay = limited ? EVERY_MS_WITH_MEASURED_LIMITS : Math.max(0, this.#fullRoundAt - performance.now());
    this.#timer = setTimeout(() => void this.#measure(), Math.min(EVERY_MS, delay));
    this.#timer.unref();
  }

  async #measure(): Promise<void> {
    this.#measuring = true;
    await this.#round().finally(() => {
      this.#measuring = false;
      this.#next();
    });
  }

  async #round(): Promise<void> {
    const full = performance.now() >= this.#fullRoundAt;
    if (full) this.#fullRoundAt = performance.now() + EVERY_MS;
    const due = [...this.#replicas()].filter((replica) => full || replica.measuredMemoryLimit > 0);
    if (due.length === 0) return;
    const list = listProcesses();
    for (const replica of due) {
      await replica.measure(list, full);
      if (full) await replica.retrySave();
    }
  }
}
