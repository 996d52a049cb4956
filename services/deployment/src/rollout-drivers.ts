import type { ServiceCopies } from "./away/service-copies.ts";
import type { DriverParts } from "./rollout-driver.ts";
import { RolloutDriver } from "./rollout-driver.ts";
import type { JournalPosition } from "./rollout-journal.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import type { ServiceBook } from "./service-book.ts";
import type { ServiceKey } from "./service-record.ts";

/** What drivers stand on, and what is done when one is done. */
export interface DriversParts extends Omit<DriverParts, "onTurn"> {
  book: ServiceBook;
  copies: ServiceCopies | undefined;
  /** Deletes what a service does not need any more. */
  prune: (key: ServiceKey) => Promise<void>;
}

/** The rollouts that this server carries on, each once. */
export class RolloutDrivers {
  readonly #parts: DriversParts;
  readonly #drivers = new Map<string, { driver: RolloutDriver; key: ServiceKey; running: Promise<void> }>();
  #isClosed = false;

  constructor(parts: DriversParts) {
    this.#parts = parts;
  }

  /** Begins to carry a rollout of the database's journal on, unless that happens or the database is behind. */
  carryOn(row: RolloutRow): void {
    const { book, copies, prune } = this.#parts;
    if (this.#isClosed || this.#drivers.has(row.rollout_id) || book.isHeld(row)) return;
    const onTurn = async (key: ServiceKey, { record, state }: JournalPosition) => {
      // On disk before anybody acts on it.
      if (!book.isHeld(key)) await copies?.keep(key, record, state);
      book.put(key, record);
    };
    void this.drive(row, { onTurn }).then(async () => {
      if (!this.#isClosed && !book.isHeld(row)) await prune(row);
    });
  }

  /** Carries a rollout on; resolves when it has ended, or is left where it is. */
  drive(row: RolloutRow, own: Pick<DriverParts, "onTurn"> & Partial<DriverParts>): Promise<void> {
    const driver = new RolloutDriver({ ...this.#parts, ...own }, row);
    const running = driver.run().then(() => {
      this.#drivers.delete(row.rollout_id);
      this.#parts.feed.changes.notify();
    });
    this.#drivers.set(row.rollout_id, { driver, key: row, running });
    return running;
  }

  /** Leaves every rollout of a service where it is. */
  quit({ environment, service }: ServiceKey): void {
    for (const { driver, key } of this.#drivers.values()) {
      if (key.environment === environment && key.service === service) driver.close();
    }
  }

  /** Leaves all of them where they are. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const open = [...this.#drivers.values()];
    for (const { driver } of open) driver.close();
    await Promise.allSettled(open.map(({ running }) => running));
  }
}
