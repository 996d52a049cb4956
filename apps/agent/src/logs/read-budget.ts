import { setTimeout as delay } from "node:timers/promises";

/** How fast one program's output is read; the rest waits in its FIFO, and so does the program. */
export interface ReadRate {
  /** Default 8 MiB. */
  bytesPerSecond: number;
  /** What may be read at once after a quiet time; default 4 MiB. */
  burstBytes: number;
}

const DEFAULT_RATE: ReadRate = { bytesPerSecond: 8 * 1024 * 1024, burstBytes: 4 * 1024 * 1024 };
/** What a line costs beside its bytes: short lines are as dear as long ones. */
const LINE_COST = 96;

/** A token bucket over the bytes and lines of one program. */
export class ReadBudget {
  readonly #rate: ReadRate;
  #tokens: number;
  #at = performance.now();

  constructor(rate: Partial<ReadRate> = {}) {
    this.#rate = { ...DEFAULT_RATE, ...rate };
    this.#tokens = this.#rate.burstBytes;
  }

  /** Takes what was just read and waits as long as it was too much. */
  async spend(bytes: number, lines: number): Promise<void> {
    const now = performance.now();
    const { bytesPerSecond, burstBytes } = this.#rate;
    const refilled = this.#tokens + ((now - this.#at) / 1000) * bytesPerSecond;
    this.#tokens = Math.min(burstBytes, refilled) - bytes - lines * LINE_COST;
    this.#at = now;
    if (this.#tokens < 0) await delay((-this.#tokens / bytesPerSecond) * 1000);
  }
}
