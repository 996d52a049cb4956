import type { Kernel } from "@hms/kernel";
import { type RouteConflict, RouteTable } from "./route-table.ts";

/** Environments come from requests, so only so many tables are kept. */
const MOST_TABLES = 64;
/** A table that takes longer than this to build is built anew only after a rest. */
const QUICK_MS = 5;
/** How long the rest is, in times of the building: while what is asked for is found, and while it is not. */
const REST = { found: 10, missing: 1 } as const;

interface KeptTable {
  table: RouteTable;
  isStale: boolean;
  /** In `performance.now()` milliseconds. */
  builtAt: number;
  tookMs: number;
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

  /** The routes of an environment; large ones may be a moment old. */
  of(environment: string): RouteTable {
    return this.#atRest(environment, REST.found);
  }

  /** The routes of an environment as they are now, unless they change all the time. */
  fresh(environment: string): RouteTable {
    return this.#atRest(environment, REST.missing);
  }

  #atRest(environment: string, times: number): RouteTable {
    const kept = this.#tables.get(environment);
    if (kept === undefined) return this.#build(environment, undefined);
    const isResting = kept.tookMs > QUICK_MS && performance.now() < kept.builtAt + kept.tookMs * times;
    return kept.isStale && !isResting ? this.#build(environment, kept.table) : kept.table;
  }

  #build(environment: string, before: RouteTable | undefined): RouteTable {
    const started = performance.now();
    const table = new RouteTable(this.#kernel.services(environment));
    const builtAt = performance.now();
    this.#tables.delete(environment);
    this.#tables.set(environment, { table, isStale: false, builtAt, tookMs: builtAt - started });
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
