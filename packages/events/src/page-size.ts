import type { LogRow } from "./event-row.ts";

const FIRST_ROWS = 64;
const MOST_ROWS = 1000;
const MOST_BYTES = 2 * 1024 * 1024;

/** How many events to ask for at once, so that an answer stays near 2 MiB whatever the events hold. */
export class PageSize {
  #rows = FIRST_ROWS;

  /** From 8 to 1000. */
  get rows(): number {
    return this.#rows;
  }

  /** Learns from an answer. */
  learn(rows: readonly LogRow[]): void {
    if (rows.length === 0) return;
    const bytes = rows.reduce((sum, { data }) => sum + 100 + (data?.byteLength ?? 0), 0);
    const fitting = Math.floor((MOST_BYTES * rows.length) / bytes);
    this.#rows = Math.max(8, Math.min(this.#rows * 4, fitting, MOST_ROWS));
  }
}
