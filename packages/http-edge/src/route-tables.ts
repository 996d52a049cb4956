import type { Kernel } from "@hms/kernel";
import { type RouteConflict, RouteTable } from "./route-table.ts";

/** Environments come from requests, so only so many tables are kept. */
const MOST_TABLES = 64;
/** A table that takes longer than this to build is built anew only after a rest, ten times as long as the building. */
const QUICK_MS = 5;
const REST_FACTOR = 10;

interface KeptTable {
  table: RouteTable;
  isStale: boolean;
  /** When it may be built again, in `performance.now()` milliseconds. */
  restUntil: number;
}

/** The route tables of all environments, built when they are first asked for and again after the kernel's change. */
export class RouteTables implements Disposable {
  readonly #kernel: Kernel;
  readonly #onConflicts: ((environment: string, conflicts: readonly RouteConflict[]) => void) | undefined;
  readonly #tables = new Map<string, KeptTable>();
  readonly #closed = new AbortController();

  constructor(kernel: Kernel, onConflicts?: (environment: string, conflicts: readonly RouteConflict[]) => void) {
    this.#kernel = kernel;
    this.#onConflicts = onConflicts;
    void this.#follow();
  }

  /** The routes of an environment as they are now. */
  of(environment: string): RouteTable {
    const kept = this.#tables.get(environment);
    if (kept !== undefined && (!kept.isStale || performance.now() < kept.restUntil)) return kept.table;
    return this.#build(environment, kept?.table);
  }

  #build(environment: string, before: RouteTable | undefined): RouteTable {
    const started = performance.now();
    const table = new RouteTable(this.#kernel.services(environment));
    const now = performance.now();
    const tookMs = now - started;
    this.#tables.delete(environment);
    const restUntil = tookMs > QUICK_MS ? now + tookMs * REST_FACTOR : 0;
    this.#tables.set(environment, { table, isStale: false, restUntil });
    if (this.#tables.size > MOST_TABLES) this.#tables.delete(this.#tables.keys().next().value as string);
    const { conflicts } = table;
    const isNews = conflicts.length > 0 && JSON.stringify(conflicts) !== JSON.stringify(before?.conflicts);
    if (isNews) this.#onConflicts?.(environment, conflicts);
    return table;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        await this.#kernel.changed.next(signal);
      } catch {
        return;
      }
      for (const kept of this.#tables.values()) kept.isStale = true;
    }
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
  }
}
